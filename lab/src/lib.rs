//! Which policy, and when? The lab runs the whole product to find out.
//!
//! Reading order: [`args`] is what may be asked; [`up`] shows a [`shop`], which is made of [`process`]es on
//! [`ports`] of their own, of [`data_services`] and of one of the shipped [`configs`]; [`load`] sends it
//! users and reads its [`metrics`]. [`experiment`] measures policies with it, [`capacity`] asks how much it
//! carries, [`faults`] has its parts fail, and the [`wire`]s between them; [`overload`] asks ten times too
//! much of a server, one of a pool that is `known`, and [`validate`] asks whether the model foretells such a pool. [`simulate`] compares policies in a model, [`sim`], by a [`scenario`]; [`stats`] says
//! how sure it is and [`record`] keeps what was seen, of which [`report`] makes a page. [`questions`] runs
//! and answers the nine questions of the lab; [`whatif`] predicts what another policy would have done with
//! what was seen, and [`cost`] measures what a pick takes.

pub mod args;
pub mod capacity;
pub mod configs;
pub mod cost;
pub mod csv;
pub mod data_services;
pub mod experiment;
pub mod faults;
pub mod http;
mod known;
pub mod load;
pub mod metrics;
pub mod overload;
pub mod ports;
pub mod process;
pub mod questions;
pub mod record;
pub mod report;
pub mod scenario;
pub mod shop;
pub mod signals;
pub mod sim;
pub mod simulate;
pub mod stats;
pub mod up;
pub mod validate;
pub mod whatif;
pub mod wire;
pub mod with_data;
