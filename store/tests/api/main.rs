//! Does the API hold what its contract promises, on real sockets and on both databases?

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod admin;
mod chaos;
mod commands;
mod description;
mod fuzz;
mod galera;
mod graphql;
mod harness;
mod lessons;
mod limits;
mod orders;
mod protocol;
mod reports;
mod stages;
mod tls;
mod topologies;
