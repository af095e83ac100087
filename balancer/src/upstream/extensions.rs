//! Which policies does an `upstream` block know that nginx does not?
//!
//! Each is asked for by its name in [`policy::CATALOG`], as in the simulator.

use super::rows::{Settings, method};
use crate::conf::{MANY, Row};

/// The rows. What options there are is the policy's to say.
pub const ROWS: &[Row<Settings>] = &[
    method("peak_ewma", 0..=2),
    method("prequal", 0..=MANY),
    method("maglev", 1..=2),
    method("uniform", 0..=0),
    method("p2c", 0..=0),
    method("sq", 0..=3),
    method("jsq", 0..=0),
    method("jsq_weighted", 0..=0),
    method("sed", 0..=0),
    method("jiq", 0..=1),
    method("least_latency", 0..=2),
    method("rendezvous", 1..=1),
    method("aperture_deterministic", 0..=3),
    method("haproxy_roundrobin", 0..=0),
    method("haproxy_static_rr", 0..=0),
    method("haproxy_leastconn", 0..=0),
    method("haproxy_first", 0..=0),
    method("haproxy_hash", 1..=1),
    method("haproxy_chash", 1..=2),
    method("haproxy_random", 0..=1),
    method("envoy_edf", 0..=0),
    method("envoy_least_request", 0..=2),
    method("envoy_ring_hash", 1..=2),
    method("grpc_stride", 0..=0),
    method("grpc_wrr", 0..=4),
    method("pingora_rr", 0..=0),
];
