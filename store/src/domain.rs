//! What does the shop mean by an order, a price, a stock level, a report?
//!
//! Arithmetic and rules only: nothing here opens a socket, reads a clock or names a table.

pub mod catalog;
pub mod fault;
pub mod id;
pub mod money;
pub mod order;
pub mod report;
pub mod stock;
