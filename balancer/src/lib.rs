//! A reverse proxy and load balancer that reads nginx.conf.

pub mod conf;
pub mod engine;
