//! Policies from papers and from libraries that are not proxies.

pub(crate) mod aperture;
pub(crate) mod choices;
pub(crate) mod jiq;
pub(crate) mod least_latency;
pub(crate) mod maglev;
pub(crate) mod peak_ewma;
pub(crate) mod pingora;
pub(crate) mod prequal;
pub(crate) mod rendezvous;
pub(crate) mod shortest;
