//! Does the program keep its promises where they can be seen from outside?

#![expect(
    clippy::format_collect,
    clippy::format_push_string,
    reason = "a configuration of some lines is made once"
)]

mod access;
mod admin;
mod admin_api;
mod admin_changes;
mod catalog;
mod checks;
mod command;
mod configs;
mod connections;
mod corpus;
mod dashboard;
mod differential;
mod error_log;
mod explain;
mod files;
mod filters;
mod kubernetes;
mod lab;
mod leases;
mod logs;
mod manual;
mod mistakes;
mod observe;
mod picks;
mod privilege;
mod probes;
mod protect;
mod proxy;
mod proxy_answers;
mod proxy_bodies;
mod proxy_edges;
mod refused_bodies;
mod reload;
mod resolver;
mod retry;
mod rewrite;
mod scale;
mod service;
mod signal;
mod silence;
mod sinkhole;
mod smuggle;
mod sockets;
mod state;
mod sticky;
mod stream;
mod stream_phases;
mod support;
mod tracing;
mod truth;
mod upgrade;
