//! A store manager worth balancing: products, users, orders, stock, reports.
//!
//! In reading order: what the store was told (`config`), what it is about (`domain`), where the
//! truth is (`db`), what is remembered (`cache`), what each line of the API does (`route`,
//! `handlers`), how a request gets there and back (`server`, `service`), and how a replica begins
//! (`life`, `seed`).

pub mod api_error;
pub mod app;
pub mod cache;
pub mod command;
pub mod config;
pub mod db;
pub mod domain;
pub mod handlers;
pub mod health;
pub mod json;
pub mod life;
pub mod metrics;
pub mod openapi;
pub mod repair;
pub mod reply;
pub mod route;
pub mod seed;
pub mod server;
pub mod service;
pub mod stage;
