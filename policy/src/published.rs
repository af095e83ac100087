//! Policies from papers and from libraries that are not proxies.

pub(crate) mod maglev;
pub(crate) mod peak_ewma;
pub(crate) mod prequal;
