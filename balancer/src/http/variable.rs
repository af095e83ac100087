//! `$names`, and the texts they stand in, compiled when the file is read.

use policy::Time;

use crate::conf::{ConfError, Word};
use crate::engine::clock;
use crate::engine::exchange::{Attempt, Exchange};
use crate::engine::h1::field::{self, Name};
use crate::engine::h1::request::Version;
use crate::engine::h1::write;
use crate::http::proxy_pass::escape;
use crate::logs::escape::Escape;
use crate::logs::time;

/// Appends a variable's value; false when it is not set, and then nothing is appended.
type Write = fn(&Exchange, &mut Vec<u8>) -> bool;

/// A variable that has been looked up.
#[derive(Clone, Debug)]
enum Variable {
    Known(Write),
    /// `$http_NAME`: the name with dashes, and its hash.
    Http(Vec<u8>, u32),
    /// `$upstream_http_NAME`.
    UpstreamHttp(Vec<u8>, u32),
    /// `$arg_NAME`.
    Arg(Vec<u8>),
    /// `$cookie_NAME`.
    Cookie(Vec<u8>),
}

#[derive(Clone, Debug)]
enum Part {
    Text(Vec<u8>),
    Variable(Variable),
}

/// What an unset variable is written as.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unset {
    /// As nothing.
    #[default]
    Empty,
    /// As `-`, as in logs.
    Dash,
}

/// A text with variables in it.
#[derive(Clone, Debug, Default)]
pub struct Template {
    parts: Vec<Part>,
}

/// A name that no variable has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unknown(pub String);

/// Looks the names in the value of a directive up.
pub fn compile(word: &Word) -> Result<Template, ConfError> {
    Template::compile(word).map_err(|Unknown(name)| {
        ConfError::unplaced(format!("unknown \"{name}\" variable"))
            .with_help(format!("it stands in {}", word.span))
    })
}

impl Template {
    /// A text without variables, whatever is in it.
    pub fn text(text: &[u8]) -> Self {
        Self { parts: vec![Part::Text(text.to_vec())] }
    }

    /// A path of this server and the query of the request, as a redirect names them.
    pub fn redirect_to(path: &[u8]) -> Self {
        let mut escaped = Vec::new();
        escape(path, &mut escaped);
        let query = Self::compile("$is_args$args").expect("both are known");
        Self { parts: std::iter::once(Part::Text(escaped)).chain(query.parts).collect() }
    }

    /// Looks the names in a text up.
    pub fn compile(text: &str) -> Result<Self, Unknown> {
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            plain.extend_from_slice(&rest.as_bytes()[..dollar]);
            rest = &rest[dollar + 1..];
            let braced = rest.strip_prefix('{');
            let from = braced.unwrap_or(rest);
            let is_name = |it: &u8| it.is_ascii_alphanumeric() || *it == b'_';
            let length = from.bytes().take_while(|it| is_name(it)).count();
            let name = &from[..length];
            if name.is_empty() {
                plain.push(b'$');
                continue;
            }
            rest = &from[length..];
            if braced.is_some() {
                rest = rest.strip_prefix('}').ok_or_else(|| Unknown(name.to_owned()))?;
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            let variable = Variable::named(name).ok_or_else(|| Unknown(name.to_owned()))?;
            parts.push(Part::Variable(variable));
        }
        plain.extend_from_slice(rest.as_bytes());
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// Whether it comes out empty for every request.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Appends the text; unset variables leave nothing.
    pub fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    variable.write(exchange, out);
                }
            }
        }
    }

    /// Appends the text with each variable's value made safe for where it goes.
    pub fn write_escaped(
        &self,
        exchange: &Exchange,
        unset: Unset,
        escape: Escape,
        out: &mut Vec<u8>,
    ) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    let from = out.len();
                    if variable.write(exchange, out) {
                        escape(out, from);
                    } else if unset == Unset::Dash {
                        out.push(b'-');
                    }
                }
            }
        }
    }
}

impl Variable {
    fn named(name: &str) -> Option<Self> {
        let dashed = |it: &str| it.replace('_', "-").to_ascii_lowercase().into_bytes();
        if let Some((_, write)) = TABLE.iter().find(|(known, _)| *known == name) {
            return Some(Self::Known(*write));
        }
        if let Some(name) = name.strip_prefix("upstream_http_") {
            let name = dashed(name);
            let hash = field::hash(&name);
            return Some(Self::UpstreamHttp(name, hash));
        }
        if let Some(name) = name.strip_prefix("http_") {
            let name = dashed(name);
            let hash = field::hash(&name);
            return Some(Self::Http(name, hash));
        }
        if let Some(name) = name.strip_prefix("arg_") {
            return Some(Self::Arg(name.as_bytes().to_vec()));
        }
        name.strip_prefix("cookie_").map(|it| Self::Cookie(it.as_bytes().to_vec()))
    }

    fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Known(write) => write(exchange, out),
            Self::Http(name, hash) => {
                let separator: &[u8] = if name == b"cookie" { b"; " } else { b", " };
                let values = exchange.fields(*hash, name).map(|it| exchange.text(it.value));
                joined(values, separator, out)
            }
            Self::UpstreamHttp(name, hash) => {
                let reply = &exchange.reply.bytes;
                let same = |it: &&field::Field| {
                    it.hash == *hash && it.name.of(reply).eq_ignore_ascii_case(name)
                };
                let fields = exchange.response.fields.iter().filter(same);
                joined(fields.map(|it| it.value.of(reply)), b", ", out)
            }
            Self::Arg(name) => {
                let mut pairs = exchange.text(exchange.args).split(|it| *it == b'&');
                let found = pairs.find_map(|it| {
                    let (key, rest) = it.split_at_checked(name.len())?;
                    let value = rest.strip_prefix(b"=")?;
                    key.eq_ignore_ascii_case(name).then_some(value)
                });
                set(found, out)
            }
            Self::Cookie(name) => {
                let hash = field::hash(b"cookie");
                let lines = exchange.fields(hash, b"cookie").map(|it| exchange.text(it.value));
                let mut pairs = lines.flat_map(|it| it.split(|it| *it == b';'));
                let found = pairs.find_map(|it| {
                    let (key, rest) = it.trim_ascii_start().split_at_checked(name.len())?;
                    let value = rest.strip_prefix(b"=")?;
                    key.eq_ignore_ascii_case(name).then_some(value)
                });
                set(found, out)
            }
        }
    }
}

fn joined<'a>(values: impl Iterator<Item = &'a [u8]>, separator: &[u8], out: &mut Vec<u8>) -> bool {
    let mut any = false;
    for value in values {
        if any {
            out.extend_from_slice(separator);
        }
        out.extend_from_slice(value);
        any = true;
    }
    any
}

fn set(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

/// `S.mmm`, as nginx writes durations.
fn seconds(duration: std::time::Duration, out: &mut Vec<u8>) {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    write::decimal(out, millis / 1000);
    out.push(b'.');
    write::three_digits(out, u16::try_from(millis % 1000).unwrap_or_default());
}

/// One word for each attempt, joined as nginx joins the servers of one pass.
fn attempts(
    exchange: &Exchange,
    out: &mut Vec<u8>,
    word: fn(&Attempt, &mut Vec<u8>) -> bool,
) -> bool {
    for (at, attempt) in exchange.attempts.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        if !word(attempt, out) {
            out.push(b'-');
        }
    }
    !exchange.attempts.is_empty()
}

fn duration(value: Option<std::time::Duration>, out: &mut Vec<u8>) -> bool {
    value.inspect(|it| seconds(*it, out)).is_some()
}

fn known_field(exchange: &Exchange, name: Name, out: &mut Vec<u8>) -> bool {
    let found = exchange.request.fields.iter().find(|it| it.known == name);
    set(found.map(|it| exchange.text(it.value)), out)
}

fn display(value: impl std::fmt::Display, out: &mut Vec<u8>) -> bool {
    use std::io::Write as _;
    // Writing to memory does not fail.
    write!(out, "{value}").is_ok()
}

fn request_time(exchange: &Exchange) -> std::time::Duration {
    clock::now().since(if exchange.started == Time::ZERO { clock::now() } else { exchange.started })
}

/// Every variable without a free part in its name.
const TABLE: &[(&str, Write)] = &[
    ("args", |it, out| set((!it.args.is_empty()).then(|| it.text(it.args)), out)),
    ("body_bytes_sent", |it, out| display(it.sent_body(), out)),
    ("bytes_sent", |it, out| display(it.sent, out)),
    ("connection", |it, out| display(it.client_serial(), out)),
    ("connection_requests", |it, out| display(it.serial, out)),
    ("connection_time", |it, out| {
        let age = it.client.as_ref().map(|client| clock::now().since(client.accepted));
        duration(age, out)
    }),
    ("content_length", |it, out| known_field(it, Name::ContentLength, out)),
    ("content_type", |it, out| known_field(it, Name::ContentType, out)),
    ("document_uri", |it, out| set(Some(&it.path), out)),
    ("host", |it, out| {
        let fallback = || it.server.as_ref().map_or(&b""[..], |it| it.name.as_bytes());
        set(Some(if it.host.is_empty() { fallback() } else { &it.host }), out)
    }),
    ("hostname", |_, out| {
        let name = nix::unistd::gethostname().ok();
        set(name.as_ref().map(|it| it.as_encoded_bytes()), out)
    }),
    ("https", |_, _| false),
    ("is_args", |it, out| set((!it.args.is_empty()).then_some(&b"?"[..]), out)),
    ("msec", |_, out| {
        seconds(std::time::Duration::from_millis(clock::unix_millis()), out);
        true
    }),
    ("nginx_version", |_, out| set(Some(crate::NGINX_VERSION.as_bytes()), out)),
    ("pid", |_, out| display(std::process::id(), out)),
    ("pipe", |it, out| set(Some(if it.pipelined { b"p" } else { b"." }), out)),
    ("proxy_add_x_forwarded_for", |it, out| {
        let lines = it.request.fields.iter().filter(|it| it.known == Name::XForwardedFor);
        if joined(lines.map(|line| it.text(line.value)), b", ", out) {
            out.extend_from_slice(b", ");
        }
        set(Some(it.client_name().as_bytes()), out)
    }),
    ("query_string", |it, out| set((!it.args.is_empty()).then(|| it.text(it.args)), out)),
    ("remote_addr", |it, out| set(Some(it.client_name().as_bytes()), out)),
    ("remote_port", |it, out| {
        let port = it.client.as_ref().and_then(|it| it.address).map(|it| it.port());
        port.is_some_and(|it| display(it, out))
    }),
    ("remote_user", |_, _| false),
    ("request", |it, out| set(Some(it.text(it.request.line)), out)),
    ("request_completion", |it, out| set(it.completed.then_some(&b"OK"[..]), out)),
    ("request_length", |it, out| display(it.received, out)),
    ("request_method", |it, out| set(Some(it.text(it.request.method)), out)),
    ("request_time", |it, out| {
        seconds(request_time(it), out);
        true
    }),
    ("request_uri", |it, out| set(Some(it.text(it.request.target)), out)),
    ("scheme", |_, out| set(Some(b"http"), out)),
    ("server_addr", |it, out| {
        let local = it.client.as_ref().and_then(|it| it.local).map(|it| it.ip());
        local.is_some_and(|it| display(it, out))
    }),
    ("server_name", |it, out| set(it.server.as_ref().map(|it| it.name.as_bytes()), out)),
    ("server_port", |it, out| {
        let local = it.client.as_ref().and_then(|it| it.local).map(|it| it.port());
        local.is_some_and(|it| display(it, out))
    }),
    ("server_protocol", |it, out| {
        set(
            Some(match it.request.version {
                Version::Http09 => b"HTTP/0.9",
                Version::Http10 => b"HTTP/1.0",
                Version::Http11 => b"HTTP/1.1",
            }),
            out,
        )
    }),
    ("status", |it, out| {
        write::three_digits(out, it.status);
        true
    }),
    ("time_iso8601", |_, out| time::with_iso8601(|it| set(Some(it.as_bytes()), out))),
    ("time_local", |_, out| time::with_local(|it| set(Some(it.as_bytes()), out))),
    ("upstream_addr", |it, out| {
        attempts(it, out, |it, out| match &it.backend {
            Some(backend) => set(Some(backend.name.as_bytes()), out),
            None => set(Some(it.upstream.as_bytes()), out),
        })
    }),
    ("upstream_connect_time", |it, out| attempts(it, out, |it, out| duration(it.connect, out))),
    ("upstream_header_time", |it, out| attempts(it, out, |it, out| duration(it.header, out))),
    ("upstream_response_length", |it, out| attempts(it, out, |it, out| display(it.length, out))),
    ("upstream_response_time", |it, out| attempts(it, out, |it, out| duration(it.response, out))),
    ("upstream_status", |it, out| {
        attempts(it, out, |it, out| it.status != 0 && display(it.status, out))
    }),
    ("uri", |it, out| set(Some(&it.path), out)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::h1::request::Limits;

    fn exchange(head: &str) -> Exchange {
        let mut exchange = Exchange::default();
        exchange.input.bytes = head.as_bytes().to_vec();
        exchange.request.parse(head.as_bytes(), &Limits::default()).unwrap();
        exchange.split_path(true).unwrap();
        exchange
    }

    #[track_caller]
    fn check(text: &str, head: &str, expected: &str) {
        let mut out = Vec::new();
        Template::compile(text).unwrap().write(&exchange(head), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
    }

    const HEAD: &str = "GET /a%20b?One=1&two=2 HTTP/1.1\r\nHost: Shop:80\r\nX-Y: 1\r\nx-y: 2\r\n\
        Cookie: a=1; b=2\r\n\r\n";

    #[test]
    fn names_end_where_their_letters_end() {
        check("$host", HEAD, "shop");
        check("${host}x $host.", HEAD, "shopx shop.");
        check("100$", HEAD, "100$");
        check("$request_uri|$uri|$args|$is_args", HEAD, "/a%20b?One=1&two=2|/a b|One=1&two=2|?");
    }

    #[test]
    fn headers_cookies_and_arguments_are_found_by_name() {
        check("$http_x_y|$http_host|$http_none|", HEAD, "1, 2|Shop:80||");
        check("$arg_one|$arg_two|$arg_three|", HEAD, "1|2||");
        check("$cookie_b", HEAD, "2");
    }

    #[test]
    fn unknown_names_are_refused() {
        assert_eq!(Template::compile("a $nope b").unwrap_err(), Unknown("nope".to_owned()));
        assert!(Template::compile("${host").is_err());
    }
}
