//! The `proxy_*` directives: what a block says, what it inherits, what that comes to.

use std::sync::Arc;
use std::time::Duration;

use policy::{Class, Classes, Retry};

use super::{Proxy, SetHeader};
use crate::conf::address::{Address, Purpose};
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Row, Word};
use crate::http::variable::{Template, compile};
use crate::http::{EVERYWHERE, put};
use crate::upstream::Upstream;

/// What one block sets; `None` and empty lists ask the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `proxy_pass`, which is not handed on.
    pub target: Option<Target>,
    set_headers: Vec<(Word, Word)>,
    http_1_0: Option<bool>,
    connect_timeout: Option<Duration>,
    send_timeout: Option<Duration>,
    read_timeout: Option<Duration>,
    next_upstream: Option<(Classes, bool)>,
    next_upstream_tries: Option<u64>,
    next_upstream_timeout: Option<Duration>,
    buffering: Option<bool>,
    request_buffering: Option<bool>,
    buffer_size: Option<u64>,
    buffers: Option<(u64, u64)>,
    busy_buffers_size: Option<(u64, Word)>,
    ignore_client_abort: Option<bool>,
    hide_headers: Vec<Vec<u8>>,
    pass_headers: Vec<Vec<u8>>,
}

/// A `proxy_pass` as it is written.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host, port and URI part.
    pub address: Address,
    /// What follows `http://`, without the URI part: `$proxy_host`.
    pub authority: String,
    /// The whole URL.
    pub word: Word,
}

/// What `proxy_buffer_size` and each of `proxy_buffers` are unless they are set.
const PAGE: u64 = 4096;

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
            busy_buffers_size: self.busy_buffers_size.or_else(|| outer.busy_buffers_size.clone()),
            ignore_client_abort: self.ignore_client_abort.or(outer.ignore_client_abort),
            hide_headers: list(self.hide_headers, &outer.hide_headers),
            pass_headers: list(self.pass_headers, &outer.pass_headers),
        }
    }

    /// The checks nginx makes of values that must fit together, at the end of a block.
    ///
    /// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_merge_loc_conf`.
    pub fn check_buffers(&self) -> Result<(), ConfError> {
        let (count, each) = self.buffers.unwrap_or((8, PAGE));
        let refuse = |text: &str| match &self.busy_buffers_size {
            Some((_, word)) => word.refuse(text),
            None => ConfError::unplaced(text),
        };
        if count < 2 {
            return Err(refuse("there must be at least 2 \"proxy_buffers\""));
        }
        let largest = self.buffer_size.unwrap_or(PAGE).max(each);
        let busy = self.busy_buffers_size.as_ref().map_or(2 * largest, |(size, _)| *size);
        if busy < largest {
            return Err(refuse(
                "\"proxy_busy_buffers_size\" must be equal to or greater than the maximum of the \
                 value of \"proxy_buffer_size\" and one of the \"proxy_buffers\"",
            ));
        }
        if (count - 1).saturating_mul(each) < busy {
            return Err(refuse(
                "\"proxy_busy_buffers_size\" must be less than the size of all \
                 \"proxy_buffers\" minus one buffer",
            ));
        }
        Ok(())
    }

    /// What a request needs, with nginx's defaults.
    ///
    /// `location` is the number of the location, `prefix` the length of the path it is written
    /// with.
    pub fn compile(
        &self,
        target: &Target,
        upstream: Arc<Upstream>,
        location: u32,
        prefix: usize,
    ) -> Result<Proxy, ConfError> {
        let (hosts, others): (Vec<_>, Vec<_>) =
            self.set_headers.iter().partition(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host_header = match hosts.first() {
            Some((_, value)) => compile(value)?,
            None => Template::text(target.authority.as_bytes()),
        };
        let set = |(name, value): &(Word, Word)| -> Result<_, ConfError> {
            Ok(SetHeader::new(name.as_bytes(), compile(value)?))
        };
        let minute = Duration::from_mins(1);
        let default = Retry::default();
        let (on, non_idempotent) =
            self.next_upstream.unwrap_or((default.on, default.non_idempotent));
        let tries = self.next_upstream_tries.filter(|it| *it > 0);
        let uri = &target.address.uri;
        Ok(Proxy {
            upstream_name: upstream.name.as_str().into(),
            upstream,
            location,
            host: target.authority.as_bytes().to_vec(),
            uri: (!uri.is_empty()).then(|| (uri.as_bytes().to_vec(), prefix)),
            host_header,
            set_headers: others.into_iter().map(set).collect::<Result<_, _>>()?,
            http_1_0: self.http_1_0.unwrap_or_default(),
            connect_timeout: self.connect_timeout.unwrap_or(minute),
            send_timeout: self.send_timeout.unwrap_or(minute),
            read_timeout: self.read_timeout.unwrap_or(minute),
            retry: Retry {
                on,
                non_idempotent,
                tries: tries.map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
                timeout: self.next_upstream_timeout.filter(|it| !it.is_zero()),
            },
            request_buffering: self.request_buffering.unwrap_or(true),
            buffer_size: usize::try_from(self.buffer_size.unwrap_or(PAGE)).unwrap_or(usize::MAX),
            ignore_client_abort: self.ignore_client_abort.unwrap_or_default(),
            hide_headers: self.hide_headers.clone(),
            pass_headers: self.pass_headers.clone(),
        })
    }

    /// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_pass`.
    fn proxy_pass(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        if word.contains('$') {
            let text = format!("invalid URL \"{word}\"");
            let help = "variables are not looked up here by this version: name an `upstream`";
            return Err(word.refuse(text).with_help(help));
        }
        let lower = word.to_ascii_lowercase();
        if lower.starts_with("https://") {
            let help = "TLS to servers is not part of this version: use `http://`";
            return Err(word.refuse("https protocol requires SSL support").with_help(help));
        }
        if !lower.starts_with("http://") {
            return Err(word.refuse("invalid URL prefix"));
        }
        let rest = &word[SCHEME.len()..];
        let address = Address::parse(rest, Purpose::Url)
            .map_err(|it| word.refuse(format!("{it} in upstream \"{rest}\"")))?;
        let authority = match &address.host {
            crate::conf::address::Host::Unix(_) => "localhost",
            _ => rest[..rest.len() - address.uri.len()].trim_end_matches(":80"),
        };
        self.target = Some(Target { authority: authority.to_owned(), address, word: word.clone() });
        Ok(())
    }

    fn http_version(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        self.http_1_0 = Some(match word.as_str() {
            "1.0" => true,
            "1.1" => false,
            "2" => {
                let help = "HTTP/2 to servers is not part of this version: use 1.1";
                return Err(word.invalid_value().with_help(help));
            }
            _ => return Err(word.invalid_value()),
        });
        Ok(())
    }

    fn next_upstream(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let mut on = Classes::default();
        let mut non_idempotent = false;
        let mut off = false;
        let mut warning = None;
        let mut seen: Vec<&str> = Vec::new();
        for word in directive.arguments() {
            match word.as_str() {
                "off" => off = true,
                // Means the use of a stale cache, and there is none.
                "updating" => {}
                "non_idempotent" => non_idempotent = true,
                other => on = on.with(Class::of_word(other).ok_or_else(|| word.invalid_value())?),
            }
            if seen.contains(&word.as_str()) {
                let text = format!("duplicate value \"{word}\"");
                warning.get_or_insert(word.refuse(text).warning());
            }
            seen.push(word);
        }
        self.next_upstream =
            Some(if off { (Classes::default(), false) } else { (on, non_idempotent) });
        warning.map_or(Ok(()), Err)
    }

    fn redirect(directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        if *word == "off" {
            return Ok(());
        }
        let help = "the Location of an answer is passed on as it is: use `proxy_redirect off`";
        Err(word.invalid_parameter().with_help(help))
    }
}

const SCHEME: &str = "http://";

const fn row(name: &'static str, count: usize, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: count..=count, effect }
}

const STREAMED: &str = "answers are streamed through bounded memory and never meet a file";

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "proxy_pass",
        within: &[Block::Location],
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
        Effect::Set(|it, directive| {
            let word = directive.text().clone();
            put(&mut it.busy_buffers_size, directive.size().map(|size| (size, word)))
        }),
    ),
    row("proxy_max_temp_file_size", 1, Effect::Checked(|it| it.size().map(drop), STREAMED)),
    row("proxy_temp_file_write_size", 1, Effect::Checked(|it| it.size().map(drop), STREAMED)),
    Row {
        name: "proxy_temp_path",
        within: EVERYWHERE,
        arguments: 1..=4,
        effect: Effect::Nothing(STREAMED),
    },
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
        effect: Effect::CheckedEach(Settings::redirect, "answers are passed on as they are"),
    },
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
        let actual = settings.check_buffers().map_err(|it| it.reason);
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
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
