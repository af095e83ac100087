//! Access lines: formats compiled once, written in batches.

use std::sync::Arc;

use crate::engine::exchange::Exchange;
use crate::http::location::Location;
use crate::http::variable::Template;

pub mod rows;
pub mod time;

/// An `access_log` line.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// The format.
    pub format: Arc<Template>,
}

/// How grave an event is, in nginx's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// The client's fault.
    Info,
    /// We serve with less.
    Warn,
    /// A request failed.
    Error,
}

/// Writes the access lines of a request that is over.
pub fn access(_exchange: &Exchange, _location: &Location) {}

/// Writes a line about a request to the error log.
pub fn note(level: Level, exchange: &Exchange, text: &str, action: &str) {
    match level {
        Level::Info => tracing::info!("{text} while {action}, client: {}", exchange.client_name()),
        Level::Warn => tracing::warn!("{text} while {action}, client: {}", exchange.client_name()),
        Level::Error => {
            tracing::error!("{text} while {action}, client: {}", exchange.client_name())
        }
    }
}
