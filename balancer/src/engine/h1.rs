//! HTTP/1 on the wire: heads parsed and checked, bodies framed, nothing sent or received.
//!
//! The parsers work on one buffer and answer with positions in it, so that a plain request costs
//! no allocation. They are our own because nginx's limits, its codes for bad input and its
//! tolerance of bare line feeds have to be decided while the bytes are read.

pub mod body;
pub mod chunked;
pub mod field;
mod hop;
mod name;
pub mod request;
pub mod response;
mod room;
pub mod target;
pub mod write;
