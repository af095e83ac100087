//! A pool of which everything is known, behind the balancer: what each server can do, and what each request asks of
//! it.

pub(crate) mod balancer;
pub(crate) mod clients;
pub(crate) mod server;
