//! gRPC's client-side methods.

pub(crate) mod stride;
pub(crate) mod wrr;
