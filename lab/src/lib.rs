//! Which policy, and when? The lab runs the whole product to find out.
//!
//! Reading order: [`args`] is what may be asked; [`up`] shows a [`shop`], which is made of
//! [`process`]es, of [`data_services`] and of one of the shipped [`configs`].

pub mod args;
pub mod configs;
pub mod data_services;
pub mod http;
pub mod process;
pub mod shop;
pub mod signals;
pub mod up;
