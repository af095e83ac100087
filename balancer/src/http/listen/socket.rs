//! Parameters of `listen` that are options of the socket, alike in `http` and `stream`.
//!
//! Source: nginx `ngx_http_core_module.c`, `ngx_http_core_listen`, and `ngx_stream_core_module.c`,
//! `ngx_stream_core_listen`.

use std::time::Duration;

use crate::conf::value::{Unit, number, size, time};
use crate::conf::{ConfError, Word};
use crate::snapshot::ListenOptions;
use crate::snapshot::listen::Keepalive;

const BOUND: &str = "every address has a socket of its own on every worker";
const ACCEPTED: &str = "connections are accepted as soon as they are open";
const LATER: &str = "data is not taken before the handshake is over";

/// What became of a parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Became {
    /// It is none of these.
    Foreign,
    /// It is kept.
    Set,
    /// It does nothing, for this reason.
    Nothing(&'static str),
}

/// Reads a parameter into the options of its line, which has some as soon as one is given.
pub fn option(options: &mut Option<ListenOptions>, word: &Word) -> Result<Became, ConfError> {
    let mut given = options.unwrap_or_default();
    let (name, value) = word.split_once('=').map_or((&**word, None), |(a, b)| (a, Some(b)));
    let refuse = || word.refuse(format!("invalid {name} \"{word}\""));
    let bytes = |it| size(it).and_then(|it| usize::try_from(it).ok()).ok_or_else(refuse);
    let mut became = Became::Set;
    match (name, value) {
        ("backlog", Some(value)) => {
            let backlog = number(value).and_then(|it| i32::try_from(it).ok());
            given.backlog = backlog.filter(|it| *it > 0).ok_or_else(refuse)?;
        }
        ("rcvbuf", Some(value)) => given.receive_buffer = Some(bytes(value)?),
        ("sndbuf", Some(value)) => given.send_buffer = Some(bytes(value)?),
        ("ipv6only", Some("on")) => given.only_v6 = true,
        ("ipv6only", Some("off")) => given.only_v6 = false,
        ("ipv6only", Some(value)) if value.starts_with('o') => {
            return Err(word.refuse(format!("invalid ipv6only flags \"{value}\"")));
        }
        ("so_keepalive", Some(value)) => {
            let text = format!("invalid so_keepalive value: \"{value}\"");
            given.keepalive = Some(keepalive(value).ok_or_else(|| word.refuse(text))?);
        }
        ("multipath", None) => given.is_multipath = true,
        ("bind" | "reuseport", None) => became = Became::Nothing(BOUND),
        ("deferred", None) => became = Became::Nothing(ACCEPTED),
        ("fastopen", Some(value)) => {
            number(value).ok_or_else(refuse)?;
            became = Became::Nothing(LATER);
        }
        _ => return Ok(Became::Foreign),
    }
    *options = Some(given);
    Ok(became)
}

/// `on`, `off`, or `[IDLE]:[INTERVAL]:[COUNT]`, of which one at least is given.
fn keepalive(value: &str) -> Option<Keepalive> {
    let mut keepalive = Keepalive { is_on: value != "off", ..Keepalive::default() };
    if matches!(value, "on" | "off") {
        return Some(keepalive);
    }
    let mut words = value.splitn(3, ':');
    let mut next = || words.next().filter(|it| !it.is_empty());
    let seconds = |it: Option<&str>| match it {
        None => Some(Duration::ZERO),
        Some(word) => time(word, Unit::Seconds),
    };
    let given = |it: Duration| (!it.is_zero()).then_some(it);
    keepalive.idle = given(seconds(next())?);
    keepalive.interval = given(seconds(next())?);
    if let Some(word) = next() {
        let count = number(word).and_then(|it| u32::try_from(it).ok())?;
        keepalive.count = (0 < count).then_some(count);
    }
    let is_empty =
        keepalive.idle.is_none() && keepalive.interval.is_none() && keepalive.count.is_none();
    (!is_empty).then_some(keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(text: &str, expected: Result<(bool, u64, u64, u32), &str>) {
        let line = directive(&format!("listen {text};"));
        let mut options = None;
        let read = option(&mut options, &line.words[1]).map_err(|it| it.reason);
        let actual = read.map(|_| {
            let it = options.and_then(|it| it.keepalive).unwrap_or_default();
            let seconds = |it: Option<Duration>| it.unwrap_or_default().as_secs();
            (it.is_on, seconds(it.idle), seconds(it.interval), it.count.unwrap_or_default())
        });
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn keepalive_is_on_off_or_tuned() {
        check("so_keepalive=on", Ok((true, 0, 0, 0)));
        check("so_keepalive=off", Ok((false, 0, 0, 0)));
        check("so_keepalive=30m::10", Ok((true, 1800, 0, 10)));
        check("so_keepalive=:5:", Ok((true, 0, 5, 0)));
        check("so_keepalive=7", Ok((true, 7, 0, 0)));
        check("so_keepalive=::", Err("invalid so_keepalive value: \"::\""));
        check("so_keepalive=x:1:1", Err("invalid so_keepalive value: \"x:1:1\""));
        check("so_keepalive=1:1:1:1", Err("invalid so_keepalive value: \"1:1:1:1\""));
        check("so_keepalive=", Err("invalid so_keepalive value: \"\""));
    }

    #[test]
    fn what_is_no_option_of_a_socket_leaves_none() {
        let mut options = None;
        let line = directive("listen ssl;");
        assert_eq!(option(&mut options, &line.words[1]).ok(), Some(Became::Foreign));
        assert_eq!(options, None);
    }
}
