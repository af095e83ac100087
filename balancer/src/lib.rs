//! A reverse proxy and load balancer that reads nginx.conf.

pub mod admin;
pub mod args;
pub mod client;
pub mod conf;
pub mod engine;
pub mod explain;
pub mod http;
pub mod listen;
pub mod logs;
pub mod metrics;
pub mod modules;
pub mod otel;
pub mod process;
pub mod proxy_protocol;
pub mod regex;
pub mod snapshot;
pub mod stream;
pub mod subcommand;
pub mod upstream;
pub mod variable;

/// The version of nginx whose behaviour this is.
pub const NGINX_VERSION: &str = "1.31.4";

/// What answers and error pages call us, unless `server_tokens` says otherwise.
pub const NGINX: &str = "nginx/1.31.4";
