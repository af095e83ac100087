//! `open_log_file_cache`: which of the files stay open whose names have variables?

use std::time::Duration;

use crate::conf::value::{Unit, number, time};
use crate::conf::{ConfError, Directive};
use crate::logs::writer::Keeping;

/// Source: nginx `ngx_http_log_module.c`, `ngx_http_log_open_file_cache`.
pub(super) fn keeping(directive: &Directive) -> Result<Keeping, ConfError> {
    let name = directive.name();
    let second = Duration::from_secs(1);
    let mut keeping = Keeping { max: 0, inactive: 10 * second, valid: 60 * second, min_uses: 1 };
    let mut is_off = false;
    for word in directive.arguments() {
        let refuse = || word.refuse(format!("invalid \"{name}\" parameter \"{word}\""));
        let count = |it: &str| number(it).ok_or_else(refuse);
        let seconds = |it: &str| time(it, Unit::Seconds).ok_or_else(refuse);
        match word.split_once('=') {
            Some(("max", value)) => {
                keeping.max = usize::try_from(count(value)?).unwrap_or(usize::MAX);
            }
            Some(("min_uses", value)) => keeping.min_uses = count(value)?,
            Some(("inactive", value)) => keeping.inactive = seconds(value)?,
            Some(("valid", value)) => keeping.valid = seconds(value)?,
            _ if *word == "off" => is_off = true,
            _ => return Err(refuse()),
        }
    }
    match (is_off, keeping.max) {
        (true, _) => Ok(Keeping { max: 0, ..keeping }),
        (false, 0) => Err(name.refuse(format!("\"{name}\" must have \"max\" parameter"))),
        (false, _) => Ok(keeping),
    }
}
