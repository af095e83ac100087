//! Which backend serves the next request?
