//! The page: everything of the view, complete without a script.

use std::borrow::Cow;

use askama::Template;
use jiff::Timestamp;

use super::view::{Group, Happening, Server, State, View};

/// Servers of a group that are shown; those that want attention come first.
const MOST: usize = 100;

/// The page around what changes.
#[derive(Debug, Template)]
#[template(path = "status.html")]
pub(super) struct Page<'a> {
    pub(super) version: &'a str,
    pub(super) live: Live<'a>,
}

/// What changes from moment to moment.
#[derive(Debug, Template)]
#[template(path = "live.html")]
pub(super) struct Live<'a> {
    pub(super) view: &'a View,
    /// Whether whoever knows the token may change something.
    pub(super) can_change: bool,
}

impl<'a> Page<'a> {
    /// The page of a view.
    pub(super) fn of(view: &'a View, can_change: bool) -> Self {
        Self { version: view.version, live: Live { view, can_change } }
    }
}

#[expect(
    clippy::ref_option,
    clippy::trivially_copy_pass_by_ref,
    reason = "templates hand over references"
)]
impl Live<'_> {
    /// The servers of a group that are shown: in their order, or those that want attention.
    fn shown(group: &Group) -> Vec<&Server> {
        let mut servers: Vec<&Server> = group.servers.iter().collect();
        if servers.len() > MOST {
            servers.sort_by_key(|it| (it.state == State::Up, std::cmp::Reverse(it.active)));
            servers.truncate(MOST);
        }
        servers
    }

    /// How full a server's bar is, of 100: of its own limit, else of the busiest one of the group.
    fn bar(group: &Group, server: &Server) -> u64 {
        let most = match server.max_conns {
            0 => group.servers.iter().map(|it| it.active).max().unwrap_or_default(),
            limit => limit,
        };
        (server.active * 100).checked_div(most).unwrap_or_default().min(100)
    }

    /// A part of a whole in percent.
    fn percent(share: &f64) -> String {
        format!("{:.0} %", share * 100.0)
    }

    /// So many each second.
    fn rate(per_second: &f64) -> String {
        match *per_second {
            it if it >= 99.95 => format!("{it:.0}"),
            it => format!("{it:.1}"),
        }
    }

    /// A time for people, `–` where there is none.
    fn millis(time: &Option<f64>) -> String {
        match *time {
            Some(millis) if millis < 9.95 => format!("{millis:.1} ms"),
            Some(millis) => format!("{millis:.0} ms"),
            None => "–".to_owned(),
        }
    }

    /// A count in groups of three digits.
    fn count(count: &u64) -> String {
        let digits = count.to_string();
        let mut text = String::with_capacity(digits.len() * 4 / 3);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                // A blank at which no line ends.
                text.push('\u{202f}');
            }
            text.push(digit);
        }
        text
    }

    fn moment(unix_ms: u64) -> Timestamp {
        let moment =
            i64::try_from(unix_ms).ok().and_then(|it| Timestamp::from_millisecond(it).ok());
        moment.unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// A moment of this day.
    fn clock(unix_ms: &u64) -> String {
        Self::moment(*unix_ms).strftime("%H:%M:%S").to_string()
    }

    /// A moment for programs.
    fn iso(unix_ms: &u64) -> String {
        Self::moment(*unix_ms).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// The shape and color of something that happened.
    fn mark(event: &Happening) -> (&'static str, char) {
        if event.is_bad { ("bad", '▲') } else { ("up", '●') }
    }

    /// Where a group is changed.
    fn path(group: &Group) -> String {
        let mut path =
            format!("/api/9/{}/upstreams/", if group.is_stream { "stream" } else { "http" });
        for byte in group.zone.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    path.push(char::from(byte));
                }
                _ => {
                    let digit = |it: u8| char::from(b"0123456789ABCDEF"[usize::from(it & 15)]);
                    path.extend(['%', digit(byte >> 4), digit(byte)]);
                }
            }
        }
        path
    }

    /// A group's name, and that it is one of `stream`.
    fn title(group: &Group) -> Cow<'_, str> {
        if group.is_stream && group.name == group.zone {
            Cow::Owned(format!("{} (stream)", group.name))
        } else {
            Cow::Borrowed(&group.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        let count = |it| Live::count(&it).replace('\u{202f}', " ");
        assert_eq!([count(0), count(999), count(1000)], ["0", "999", "1 000"]);
        assert_eq!(count(1_234_567), "1 234 567");
        assert_eq!([0.0, 12.34, 99.96].map(|it| Live::rate(&it)), ["0.0", "12.3", "100"]);
        let millis = |it| Live::millis(&Some(it));
        assert_eq!([millis(0.04), millis(9.96), millis(1234.5)], ["0.0 ms", "10 ms", "1234 ms"]);
        assert_eq!(Live::clock(&1_656_414_561_602), "11:09:21");
    }
}
