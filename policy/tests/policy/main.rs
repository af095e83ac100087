//! What every policy owes its caller, and what exactly each one answers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod contract;
mod golden;
mod pool;
mod purity;
mod spread;
mod traps;
