//! gRPC's client-side method.

pub(crate) mod stride;
