//! The lab against real servers, and the rules of the workspace against its source.

mod acceptance;
mod calibration;
mod completions;
mod data_services;
mod experiment;
mod faults;
mod golden;
mod lints;
mod manifests;
mod overload;
mod package;
mod pages;
mod replay;
mod replicas;
mod tidy;
mod up;
mod validate;
