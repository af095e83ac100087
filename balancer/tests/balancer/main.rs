//! Does the program keep its promises where they can be seen from outside?

mod admin;
mod configs;
mod corpus;
mod leases;
mod logs;
mod proxy;
mod reload;
mod retry;
mod signal;
mod smuggle;
mod support;
