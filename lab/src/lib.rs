//! Which policy, and when? The lab runs the whole product to find out.
//!
//! Reading order: [`process`] runs other programs, [`data_services`] the servers they need.

pub mod data_services;
pub mod process;
