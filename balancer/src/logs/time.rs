//! The two ways nginx writes a time in a log.

use jiff::Zoned;

/// `22/Nov/2026:11:04:07 +0000`.
pub fn local() -> String {
    Zoned::now().strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
}

/// `2026-11-22T11:04:07+00:00`.
pub fn iso8601() -> String {
    Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}
