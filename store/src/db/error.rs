//! What did the database say, in terms of what can be done about it?

use std::time::Duration;

use thiserror::Error;

use crate::domain::fault::Fault;

/// Why a unit of work did not happen.
#[derive(Debug, Error)]
pub enum DbError {
    /// The request itself is at fault; nothing was changed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The request names a row that does not exist.
    #[error("no such row")]
    Absent,
    /// A unique key holds this value already.
    #[error("a unique key is taken")]
    Taken(#[source] sqlx::Error),
    /// A row is missing that this one names, or one exists that names it.
    #[error("a foreign key does not hold")]
    Reference(#[source] sqlx::Error),
    /// A number does not fit its column.
    #[error("a number is out of range")]
    Range(#[source] sqlx::Error),
    /// Locks could not be had; the whole transaction may be repeated.
    #[error("locks were not granted")]
    Busy {
        /// `deadlock`, `lock_wait` or `busy`.
        reason: &'static str,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The first request with this key is still running.
    #[error("the key is in use")]
    KeyBusy,
    /// The key belongs to another request.
    #[error("the key was used for another request")]
    KeyReused,
    /// Every connection of the pool was in use.
    #[error("Database pool exhausted: all {max} connections were busy for {}", seconds(*.waited))]
    PoolExhausted {
        /// Size of the pool.
        max: u32,
        /// How long was waited.
        waited: Duration,
    },
    /// The server has no connection left for anybody.
    #[error("too many connections")]
    TooManyConnections(#[source] sqlx::Error),
    /// The server refused the login or does not have the database.
    #[error("access denied")]
    Refused(#[source] sqlx::Error),
    /// The database cannot be reached, or is not set up yet.
    #[error("database unavailable")]
    Unavailable(#[source] Option<sqlx::Error>),
    /// The connection broke before the commit, so that nothing has happened.
    #[error("the connection to the database was lost")]
    Lost(#[source] sqlx::Error),
    /// The connection broke while the commit was under way: it may or may not have happened.
    #[error("the outcome of the commit is unknown")]
    CommitUnknown(#[source] sqlx::Error),
    /// Anything else.
    #[error("statement failed")]
    Other(#[source] sqlx::Error),
}

impl DbError {
    /// Why the same transaction may be tried again at once, `None` when it may not.
    pub fn retry_reason(&self) -> Option<&'static str> {
        match self {
            Self::Busy { reason, .. } => Some(reason),
            Self::Lost(_) => Some("connection"),
            _ => None,
        }
    }

    /// Whether the database itself is out of reach, so that a remembered answer may stand in.
    pub fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_)
                | Self::Lost(_)
                | Self::Refused(_)
                | Self::TooManyConnections(_)
                | Self::PoolExhausted { .. }
        )
    }

    /// The label under which this is counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TooManyConnections(_) => "too_many_connections",
            Self::Unavailable(_) | Self::Lost(_) | Self::Refused(_) => "unavailable",
            _ => "other",
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(inner) = &error else {
            return match error {
                sqlx::Error::RowNotFound => Self::Absent,
                sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                    Self::Lost(error)
                }
                sqlx::Error::PoolClosed
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::WorkerCrashed => Self::Unavailable(Some(error)),
                _ => Self::Other(error),
            };
        };
        if let Some(mysql) = inner.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
            return match mysql.number() {
                1213 => Self::Busy { reason: "deadlock", source: error },
                1205 => Self::Busy { reason: "lock_wait", source: error },
                1040 | 1203 | 1226 => Self::TooManyConnections(error),
                1044 | 1045 | 1049 => Self::Refused(error),
                1264 | 1690 => Self::Range(error),
                1062 => Self::Taken(error),
                1216 | 1217 | 1451 | 1452 => Self::Reference(error),
                // Killed by hand, or while the server shuts down.
                1053 | 1317 | 1927 => Self::Lost(error),
                // Read-only, outside its cluster; a column or a table missing.
                1290 | 1836 | 1047 | 1054 | 1146 => Self::Unavailable(Some(error)),
                _ => Self::Other(error),
            };
        }
        if inner.is_unique_violation() {
            Self::Taken(error)
        } else if inner.is_foreign_key_violation() {
            Self::Reference(error)
        } else if inner.is_check_violation() {
            Self::Range(error)
        } else {
            let code = inner.code().and_then(|it| it.parse::<u32>().ok());
            // How RESTRICT is reported; there are no triggers of ours.
            if code == Some(1811) {
                return Self::Reference(error);
            }
            match code.map(|it| it & 0xff) {
                // SQLITE_BUSY, SQLITE_LOCKED
                Some(5 | 6) => Self::Busy { reason: "busy", source: error },
                // SQLITE_READONLY, IOERR, CORRUPT, FULL, CANTOPEN, NOTADB
                Some(8 | 10 | 11 | 13 | 14 | 26) => Self::Unavailable(Some(error)),
                _ => Self::Other(error),
            }
        }
    }
}

/// A duration as the variables write it.
pub(crate) fn seconds(duration: Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{}s", duration.as_secs())
    } else {
        format!("{}ms", duration.as_millis())
    }
}
