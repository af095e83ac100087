//! `$names` of sessions, and the texts they stand in, compiled when the file is read.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use crate::conf::{ConfError, Word};
use crate::engine::clock;
use crate::logs::escape::Escape;
use crate::logs::time;
use crate::proxy_protocol::Tlv;
use crate::stream::session::{Attempt, Session, name};

/// Appends a variable's value; false when it is not set, and then nothing is appended.
type Write = fn(&Session, &mut Vec<u8>) -> bool;

#[derive(Clone, Debug)]
enum Part {
    Text(Vec<u8>),
    Known(Write),
    /// `$proxy_protocol_tlv_NAME`
    Tlv(Option<Tlv>),
}

/// A text with variables in it.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Looks the names in a text up; `word` is where it stands.
    pub fn compile(text: &str, word: &Word) -> Result<Self, ConfError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            parts.push(Part::Text(rest.as_bytes()[..dollar].to_vec()));
            rest = &rest[dollar + 1..];
            let braced = rest.strip_prefix('{');
            let from = braced.unwrap_or(rest);
            let is_name = |it: &u8| it.is_ascii_alphanumeric() || *it == b'_';
            let length = from.bytes().take_while(is_name).count();
            let (name, after) = from.split_at(length);
            let after = if braced.is_some() { after.strip_prefix('}') } else { Some(after) };
            let (false, Some(after)) = (name.is_empty(), after) else {
                return Err(word.refuse("invalid variable name"));
            };
            rest = after;
            parts.push(named(name).ok_or_else(|| {
                ConfError::unplaced(format!("unknown \"{name}\" variable"))
                    .with_help(format!("it stands in {}", word.span))
            })?);
        }
        parts.push(Part::Text(rest.as_bytes().to_vec()));
        Ok(Self { parts })
    }

    /// Appends the text; unset variables leave nothing.
    pub fn write(&self, session: &Session, out: &mut Vec<u8>) {
        self.write_escaped(session, false, |_, _| {}, out);
    }

    /// Appends the text with each value made safe, and `-` for unset ones where `dash` says so.
    pub fn write_escaped(&self, session: &Session, dash: bool, escape: Escape, out: &mut Vec<u8>) {
        for part in &self.parts {
            let from = out.len();
            let is_set = match part {
                Part::Text(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Part::Known(write) => write(session, out),
                Part::Tlv(tlv) => match (tlv, &session.header) {
                    (Some(tlv), Some(header)) => tlv.write(header, out),
                    _ => false,
                },
            };
            if is_set {
                escape(out, from);
            } else if dash {
                out.push(b'-');
            }
        }
    }
}

fn named(name: &str) -> Option<Part> {
    if let Some(tlv) = name.strip_prefix("proxy_protocol_tlv_") {
        return Some(Part::Tlv(Tlv::named(tlv)));
    }
    TABLE.iter().find(|(known, _)| *known == name).map(|(_, write)| Part::Known(*write))
}

fn display(value: impl std::fmt::Display, out: &mut Vec<u8>) -> bool {
    // Writing to memory does not fail.
    write!(out, "{value}").is_ok()
}

fn seconds(value: Duration, out: &mut Vec<u8>) -> bool {
    let millis = value.as_millis();
    display(format_args!("{}.{:03}", millis / 1000, millis % 1000), out)
}

/// One word for each attempt.
fn attempts(
    session: &Session,
    out: &mut Vec<u8>,
    word: fn(&Attempt, &mut Vec<u8>) -> bool,
) -> bool {
    for (at, attempt) in session.attempts.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        if !word(attempt, out) {
            out.push(b'-');
        }
    }
    !session.attempts.is_empty()
}

fn duration(value: Option<Duration>, out: &mut Vec<u8>) -> bool {
    value.is_some_and(|it| seconds(it, out))
}

/// Every variable without a free part in its name.
///
/// Source: nginx `ngx_stream_variables.c` and `ngx_stream_upstream.c`.
const TABLE: &[(&str, Write)] = &[
    ("binary_remote_addr", |it, out| match it.client.map(|it| it.ip()) {
        Some(IpAddr::V4(ip)) => {
            out.extend_from_slice(&ip.octets());
            true
        }
        Some(IpAddr::V6(ip)) => {
            out.extend_from_slice(&ip.octets());
            true
        }
        None => display("unix:", out),
    }),
    ("bytes_received", |it, out| display(it.received, out)),
    ("bytes_sent", |it, out| display(it.sent, out)),
    ("connection", |it, out| display(it.serial, out)),
    ("hostname", |_, out| {
        let name = nix::unistd::gethostname().unwrap_or_default();
        display(name.to_string_lossy().to_lowercase(), out)
    }),
    ("msec", |_, out| seconds(Duration::from_millis(clock::unix_millis()), out)),
    ("nginx_version", |_, out| display(crate::NGINX_VERSION, out)),
    ("pid", |_, out| display(std::process::id(), out)),
    ("protocol", |_, out| display("TCP", out)),
    ("proxy_protocol_addr", |it, out| {
        it.header.as_ref().is_some_and(|it| display(&it.source, out))
    }),
    ("proxy_protocol_port", |it, out| {
        it.header.as_ref().is_some_and(|it| display(it.source_port, out))
    }),
    ("proxy_protocol_server_addr", |it, out| {
        it.header.as_ref().is_some_and(|it| display(&it.destination, out))
    }),
    ("proxy_protocol_server_port", |it, out| {
        it.header.as_ref().is_some_and(|it| display(it.destination_port, out))
    }),
    ("realip_remote_addr", |it, out| display(name(it.peer), out)),
    ("realip_remote_port", |it, out| it.peer.is_some_and(|it| display(it.port(), out))),
    ("remote_addr", |it, out| display(&it.name, out)),
    ("remote_port", |it, out| it.client.is_some_and(|it| display(it.port(), out))),
    ("server_addr", |it, out| match it.local {
        Some(local) => display(local.ip(), out),
        None => display(&it.bind, out),
    }),
    ("server_port", |it, out| it.local.is_some_and(|it| display(it.port(), out))),
    ("session_time", |it, out| seconds(clock::now().since(it.started), out)),
    ("status", |it, out| display(format_args!("{:03}", it.status), out)),
    ("time_iso8601", |_, out| time::with_iso8601(|it| display(it, out))),
    ("time_local", |_, out| time::with_local(|it| display(it, out))),
    ("upstream_addr", |it, out| {
        attempts(it, out, |it, out| match &it.backend {
            Some(backend) => display(&backend.name, out),
            None => display(&it.upstream, out),
        })
    }),
    ("upstream_bytes_received", |it, out| attempts(it, out, |it, out| display(it.received, out))),
    ("upstream_bytes_sent", |it, out| attempts(it, out, |it, out| display(it.sent, out))),
    ("upstream_connect_time", |it, out| attempts(it, out, |it, out| duration(it.connect, out))),
    ("upstream_first_byte_time", |it, out| {
        attempts(it, out, |it, out| duration(it.first_byte, out))
    }),
    ("upstream_session_time", |it, out| attempts(it, out, |it, out| duration(it.session, out))),
];
