//! Does the program keep its promises where they can be seen from outside?

mod admin;
mod configs;
mod corpus;
mod logs;
