//! The `proxy_*` directives: what a block says, what it inherits, what that comes to.

use std::time::Duration;

use policy::Classes;

use super::replace::Lines;
use super::{ahead, cookie, hints, redirect, socket};
use crate::conf::address::Address;
use crate::conf::{Block, Effect, MANY, Row, Word};
use crate::http::{EVERYWHERE, put};

/// What one block sets; `None` and empty lists ask the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `proxy_pass`, which is not handed on.
    pub target: Option<Target>,
    pub(super) set_headers: Vec<(Word, Word)>,
    pub(super) http_1_0: Option<bool>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) send_timeout: Option<Duration>,
    pub(super) read_timeout: Option<Duration>,
    pub(super) next_upstream: Option<(Classes, bool)>,
    pub(super) next_upstream_tries: Option<u64>,
    pub(super) next_upstream_timeout: Option<Duration>,
    pub(super) buffering: Option<bool>,
    pub(super) request_buffering: Option<bool>,
    pub(super) buffer_size: Option<u64>,
    pub(super) buffers: Option<(u64, u64)>,
    pub(super) busy_buffers_size: Option<u64>,
    /// `early_hints`
    pub hints: hints::Settings,
    /// `proxy_bind` and `proxy_socket_*`
    pub sockets: socket::Settings,
    /// `proxy_max_temp_file_size` and its relatives
    pub ahead: ahead::Settings,
    pub(super) ignore_client_abort: Option<bool>,
    pub(super) hide_headers: Vec<Vec<u8>>,
    pub(super) pass_headers: Vec<Vec<u8>>,
    pub(super) redirects: Lines<redirect::Line>,
    pub(super) cookies: cookie::Settings,
    pub(super) ignore_headers: Option<u64>,
    pub(super) intercept_errors: Option<bool>,
    pub(super) method: Option<Word>,
    pub(super) set_body: Option<Word>,
    pub(super) force_ranges: Option<bool>,
    pub(super) pass_trailers: Option<bool>,
    pub(super) pass_request_headers: Option<bool>,
    pub(super) pass_request_body: Option<bool>,
    /// The path of the location all this is for; not a directive.
    pub place: Vec<u8>,
}

/// A `proxy_pass` as it is written.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host, port and URI part.
    pub address: Address,
    /// What follows `http://`, without the URI part: `$proxy_host`.
    pub authority: String,
    /// The whole URL; one with variables leaves the rest empty.
    pub word: Word,
}

/// What `proxy_buffer_size` and each of `proxy_buffers` are unless they are set.
pub(super) const PAGE: u64 = 4096;

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        fn list<T: Clone>(own: Vec<T>, outer: &[T]) -> Vec<T> {
            if own.is_empty() { outer.to_vec() } else { own }
        }
        Self {
            target: self.target,
            set_headers: list(self.set_headers, &outer.set_headers),
            http_1_0: self.http_1_0.or(outer.http_1_0),
            connect_timeout: self.connect_timeout.or(outer.connect_timeout),
            send_timeout: self.send_timeout.or(outer.send_timeout),
            read_timeout: self.read_timeout.or(outer.read_timeout),
            next_upstream: self.next_upstream.or(outer.next_upstream),
            next_upstream_tries: self.next_upstream_tries.or(outer.next_upstream_tries),
            next_upstream_timeout: self.next_upstream_timeout.or(outer.next_upstream_timeout),
            buffering: self.buffering.or(outer.buffering),
            request_buffering: self.request_buffering.or(outer.request_buffering),
            buffer_size: self.buffer_size.or(outer.buffer_size),
            buffers: self.buffers.or(outer.buffers),
            busy_buffers_size: self.busy_buffers_size.or(outer.busy_buffers_size),
            hints: self.hints.within(&outer.hints),
            sockets: self.sockets.within(&outer.sockets),
            ahead: self.ahead.within(&outer.ahead),
            ignore_client_abort: self.ignore_client_abort.or(outer.ignore_client_abort),
            hide_headers: list(self.hide_headers, &outer.hide_headers),
            pass_headers: list(self.pass_headers, &outer.pass_headers),
            redirects: self.redirects.or_else(|| outer.redirects.clone()),
            cookies: self.cookies.within(&outer.cookies),
            ignore_headers: self.ignore_headers.or(outer.ignore_headers),
            intercept_errors: self.intercept_errors.or(outer.intercept_errors),
            method: self.method.or_else(|| outer.method.clone()),
            set_body: self.set_body.or_else(|| outer.set_body.clone()),
            force_ranges: self.force_ranges.or(outer.force_ranges),
            pass_trailers: self.pass_trailers.or(outer.pass_trailers),
            pass_request_headers: self.pass_request_headers.or(outer.pass_request_headers),
            pass_request_body: self.pass_request_body.or(outer.pass_request_body),
            place: if self.place.is_empty() { outer.place.clone() } else { self.place },
        }
    }

    /// The checks nginx makes of values that must fit together, at the end of `http`.
    ///
    /// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_merge_loc_conf`.
    pub fn check_buffers(&self) -> Result<(), String> {
        let (count, each) = self.buffers.unwrap_or((8, PAGE));
        if count < 2 {
            return Err("there must be at least 2 \"proxy_buffers\"".to_owned());
        }
        let largest = self.buffer_size.unwrap_or(PAGE).max(each);
        let least = "equal to or greater than the maximum of the value of \"proxy_buffer_size\" \
                     and one of the \"proxy_buffers\"";
        let busy = self.busy_buffers_size.unwrap_or(2 * largest);
        if busy < largest {
            return Err(format!("\"proxy_busy_buffers_size\" must be {least}"));
        }
        if (count - 1).saturating_mul(each) < busy {
            return Err("\"proxy_busy_buffers_size\" must be less than the size of all \
                        \"proxy_buffers\" minus one buffer"
                .to_owned());
        }
        if self.ahead.write_size().is_some_and(|it| it < largest) {
            return Err(format!("\"proxy_temp_file_write_size\" must be {least}"));
        }
        if self.ahead.largest_file().is_some_and(|it| 0 < it && it < largest) {
            return Err(format!(
                "\"proxy_max_temp_file_size\" must be equal to zero to disable temporary files \
                 usage or must be {least}"
            ));
        }
        Ok(())
    }
}

const fn row(name: &'static str, count: usize, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: count..=count, effect }
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "proxy_pass",
        within: &[Block::Location, Block::IfInLocation, Block::LimitExcept],
        arguments: 1..=1,
        effect: Effect::Set(Settings::proxy_pass),
    },
    row(
        "proxy_set_header",
        2,
        Effect::Add(|it, directive| {
            it.set_headers.push((directive.words[1].clone(), directive.words[2].clone()));
            Ok(())
        }),
    ),
    row("proxy_http_version", 1, Effect::Set(Settings::http_version)),
    row(
        "proxy_connect_timeout",
        1,
        Effect::Set(|it, directive| put(&mut it.connect_timeout, directive.milliseconds())),
    ),
    row(
        "proxy_send_timeout",
        1,
        Effect::Set(|it, directive| put(&mut it.send_timeout, directive.milliseconds())),
    ),
    row(
        "proxy_read_timeout",
        1,
        Effect::Set(|it, directive| put(&mut it.read_timeout, directive.milliseconds())),
    ),
    Row {
        name: "proxy_next_upstream",
        within: EVERYWHERE,
        arguments: 1..=MANY,
        effect: Effect::Set(Settings::next_upstream),
    },
    row(
        "proxy_next_upstream_tries",
        1,
        Effect::Set(|it, directive| put(&mut it.next_upstream_tries, directive.number())),
    ),
    row(
        "proxy_next_upstream_timeout",
        1,
        Effect::Set(|it, directive| put(&mut it.next_upstream_timeout, directive.milliseconds())),
    ),
    row(
        "proxy_buffering",
        1,
        Effect::Set(|it, directive| put(&mut it.buffering, directive.flag())),
    ),
    row(
        "proxy_request_buffering",
        1,
        Effect::Set(|it, directive| put(&mut it.request_buffering, directive.flag())),
    ),
    row(
        "proxy_buffer_size",
        1,
        Effect::Set(|it, directive| put(&mut it.buffer_size, directive.size())),
    ),
    row("proxy_buffers", 2, Effect::Set(|it, directive| put(&mut it.buffers, directive.buffers()))),
    row(
        "proxy_busy_buffers_size",
        1,
        Effect::Set(|it, directive| put(&mut it.busy_buffers_size, directive.size())),
    ),
    row(
        "proxy_ignore_client_abort",
        1,
        Effect::Set(|it, directive| put(&mut it.ignore_client_abort, directive.flag())),
    ),
    row(
        "proxy_hide_header",
        1,
        Effect::Add(|it, directive| {
            it.hide_headers.push(directive.text().as_bytes().to_ascii_lowercase());
            Ok(())
        }),
    ),
    row(
        "proxy_pass_header",
        1,
        Effect::Add(|it, directive| {
            it.pass_headers.push(directive.text().as_bytes().to_ascii_lowercase());
            Ok(())
        }),
    ),
    Row {
        name: "proxy_redirect",
        within: EVERYWHERE,
        arguments: 1..=2,
        effect: Effect::Read(|it, directive, reading| {
            let target = it.target.as_ref().map(|it| &it.word);
            redirect::read(&mut it.redirects, target, directive, reading)
        }),
    },
    Row {
        name: "proxy_cookie_domain",
        within: EVERYWHERE,
        arguments: 1..=2,
        effect: Effect::Read(|it, directive, reading| it.cookies.domain(directive, reading)),
    },
    Row {
        name: "proxy_cookie_path",
        within: EVERYWHERE,
        arguments: 1..=2,
        effect: Effect::Read(|it, directive, reading| it.cookies.path(directive, reading)),
    },
    Row {
        name: "proxy_cookie_flags",
        within: EVERYWHERE,
        arguments: 1..=4,
        effect: Effect::Read(|it, directive, reading| it.cookies.flags(directive, reading)),
    },
    Row {
        name: "proxy_ignore_headers",
        within: EVERYWHERE,
        arguments: 1..=MANY,
        effect: Effect::Set(Settings::ignore_headers),
    },
    row(
        "proxy_intercept_errors",
        1,
        Effect::Set(|it, directive| put(&mut it.intercept_errors, directive.flag())),
    ),
    row(
        "proxy_method",
        1,
        Effect::Set(|it, directive| put(&mut it.method, Ok(directive.text().clone()))),
    ),
    row(
        "proxy_set_body",
        1,
        Effect::Set(|it, directive| put(&mut it.set_body, Ok(directive.text().clone()))),
    ),
    row(
        "proxy_force_ranges",
        1,
        Effect::Set(|it, directive| put(&mut it.force_ranges, directive.flag())),
    ),
    row(
        "proxy_pass_trailers",
        1,
        Effect::Set(|it, directive| put(&mut it.pass_trailers, directive.flag())),
    ),
    row(
        "proxy_pass_request_headers",
        1,
        Effect::Set(|it, directive| put(&mut it.pass_request_headers, directive.flag())),
    ),
    row(
        "proxy_pass_request_body",
        1,
        Effect::Set(|it, directive| put(&mut it.pass_request_body, directive.flag())),
    ),
    row(
        "proxy_headers_hash_max_size",
        1,
        Effect::Checked(crate::http::core::number, crate::http::core::HASH),
    ),
    row(
        "proxy_headers_hash_bucket_size",
        1,
        Effect::Checked(crate::http::core::number, crate::http::core::HASH),
    ),
];

#[cfg(test)]
mod tests {
    use policy::Class;

    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check_pass(text: &str, expected: Result<(&str, &str), &str>) {
        let mut settings = Settings::default();
        let result = settings.proxy_pass(&directive(text)).map_err(|it| it.reason);
        let target = settings.target.as_ref();
        let actual = result.map(|()| {
            let target = target.unwrap();
            (target.authority.as_str(), target.address.uri.as_str())
        });
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_url_has_a_host_and_perhaps_a_uri() {
        check_pass("proxy_pass http://store;", Ok(("store", "")));
        check_pass("proxy_pass HTTP://store/;", Ok(("store", "/")));
        check_pass("proxy_pass http://127.0.0.1:5000/a/b;", Ok(("127.0.0.1:5000", "/a/b")));
        check_pass("proxy_pass http://[::1]:80;", Ok(("[::1]", "")));
        check_pass("proxy_pass http://unix:/run/a:/b;", Ok(("localhost", "/b")));
    }

    #[test]
    fn other_schemes_and_bad_ports_are_refused() {
        check_pass("proxy_pass ftp://store;", Err("invalid URL prefix"));
        check_pass("proxy_pass store;", Err("invalid URL prefix"));
        check_pass("proxy_pass https://store;", Err("https protocol requires SSL support"));
        check_pass("proxy_pass http://a:x/y;", Err("invalid port in upstream \"a:x/y\""));
        check_pass("proxy_pass http://;", Err("no host in upstream \"\""));
    }

    #[track_caller]
    fn check_buffers(text: &str, expected: Result<(), &str>) {
        let mut settings = Settings::default();
        for text in text.split_inclusive(';') {
            let directive = directive(text);
            let row = ROWS.iter().find(|it| *directive.name() == *it.name).unwrap();
            let Effect::Set(set) = row.effect else { unreachable!() };
            set(&mut settings, &directive).unwrap();
        }
        let actual = settings.check_buffers();
        assert_eq!(actual.as_ref().map_err(String::as_str), expected.as_ref().map_err(|it| *it));
    }

    #[test]
    fn buffers_must_fit_together() {
        let busy_low = "\"proxy_busy_buffers_size\" must be equal to or greater than the maximum \
                        of the value of \"proxy_buffer_size\" and one of the \"proxy_buffers\"";
        let busy_high = "\"proxy_busy_buffers_size\" must be less than the size of all \
                         \"proxy_buffers\" minus one buffer";
        check_buffers("", Ok(()));
        check_buffers("proxy_buffer_size 16k; proxy_buffers 4 16k;", Ok(()));
        check_buffers("proxy_buffers 1 4k;", Err("there must be at least 2 \"proxy_buffers\""));
        check_buffers("proxy_busy_buffers_size 1k;", Err(busy_low));
        check_buffers("proxy_buffer_size 128k;", Err(busy_high));
        check_buffers("proxy_buffers 4 8k; proxy_busy_buffers_size 24k;", Ok(()));
        check_buffers("proxy_buffers 4 8k; proxy_busy_buffers_size 25k;", Err(busy_high));
    }

    #[test]
    fn off_ends_all_retries_and_unknown_words_are_refused() {
        let mut settings = Settings::default();
        settings.next_upstream(&directive("proxy_next_upstream error http_503;")).unwrap();
        let (on, non_idempotent) = settings.next_upstream.unwrap();
        assert!(on.contains(Class::Error) && on.contains(Class::Http503));
        assert!(!on.contains(Class::Timeout) && !non_idempotent);
        settings.next_upstream(&directive("proxy_next_upstream error off;")).unwrap();
        assert_eq!(settings.next_upstream, Some((Classes::default(), false)));
        let refused = settings.next_upstream(&directive("proxy_next_upstream http_501;"));
        assert_eq!(refused.unwrap_err().reason, "invalid value \"http_501\"");
    }
}
