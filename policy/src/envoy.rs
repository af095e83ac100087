//! Envoy's methods that nginx has no like of.

pub(crate) mod edf;
pub(crate) mod least_request;
pub(crate) mod ring_hash;
