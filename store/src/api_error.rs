//! What is a client told when it is not served?
//!
//! One type with two messages: the sentence that is sent, and the cause that is logged.

use std::time::Duration;

use anyhow::Error;
use http::StatusCode;

use crate::db::DbError;
use crate::domain::fault::Fault;

/// A failure, as the client sees it and as the log keeps it.
#[derive(Debug)]
pub struct ApiError {
    /// Sent.
    pub status: StatusCode,
    /// Sent. Names no host, table or statement.
    pub message: String,
    /// Sent: when to come again.
    pub retry_after: Option<Duration>,
    /// Logged once, where the response is written. Never sent.
    pub cause: Option<Error>,
    /// Whether an edition of the lab answered 500 here, with the same sentence.
    pub lab_failure: bool,
    /// What was lacking, for the counter of refused requests.
    pub shed: Option<&'static str>,
}

impl ApiError {
    /// A refusal that is nobody's failure.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_after: None,
            cause: None,
            lab_failure: false,
            shed: None,
        }
    }

    /// A request that came while something it needs was not to be had.
    pub fn shed(reason: &'static str, wait: u64, message: impl Into<String>) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(wait)),
            shed: Some(reason),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
        }
    }

    /// The server itself is at fault.
    pub fn internal(cause: impl Into<Error>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error.")
        }
    }

    /// The request is no JSON object the store can read.
    pub fn bad_body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        let (status, lab_failure) = match fault {
            Fault::InsufficientStock { .. } => (StatusCode::CONFLICT, false),
            Fault::EmailTaken | Fault::ProductReferenced(_) => (StatusCode::CONFLICT, true),
            Fault::UnknownProduct(_) | Fault::UnknownUser(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, true)
            }
            _ => (StatusCode::BAD_REQUEST, true),
        };
        Self { lab_failure, ..Self::new(status, fault.to_string()) }
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        const WAIT: u64 = 2;
        match error {
            DbError::Fault(fault) => fault.into(),
            DbError::KeyBusy => Self {
                retry_after: Some(Duration::from_secs(1)),
                ..Self::new(
                    StatusCode::CONFLICT,
                    "A request with this Idempotency-Key is still running.",
                )
            },
            DbError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "This Idempotency-Key was used for another request.",
            ),
            DbError::PoolExhausted { .. } => Self::shed(
                "pool",
                WAIT,
                format!("{error} (STORE_DB_POOL_MAX, STORE_DB_ACQUIRE_TIMEOUT)."),
            ),
            DbError::TooManyConnections(_) => Self::shed(
                "database",
                WAIT,
                "MySQL refused a connection: too many connections (max_connections).",
            ),
            DbError::Busy { .. } => Self {
                cause: Some(error.into()),
                ..Self::shed(
                    "database",
                    WAIT,
                    "Database busy: locks were not granted (STORE_DB_LOCK_WAIT).",
                )
            },
            DbError::CommitUnknown(_) => Self {
                cause: Some(error.into()),
                ..Self::shed(
                    "database",
                    WAIT,
                    "Database connection lost during commit: the outcome is unknown. Read before you repeat, or use an Idempotency-Key.",
                )
            },
            DbError::Unavailable(None) => Self::shed("database", WAIT, "Database unavailable."),
            DbError::Unavailable(Some(_)) | DbError::Lost(_) | DbError::Refused(_) => Self {
                cause: Some(error.into()),
                ..Self::shed("database", WAIT, "Database unavailable.")
            },
            DbError::Absent => Self::new(StatusCode::NOT_FOUND, "Not found."),
            DbError::Taken(_) | DbError::Reference(_) | DbError::Range(_) | DbError::Other(_) => {
                Self::internal(error)
            }
        }
    }
}
