//! The lab against real servers, and the rules of the workspace against its source.

mod data_services;
mod tidy;
mod up;
