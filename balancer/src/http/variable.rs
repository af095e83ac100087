//! The variables of a request.

use policy::Time;

use crate::conf::value::size;
use crate::engine::clock;
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::{self, Name};
use crate::engine::h1::write;
use crate::engine::head;
use crate::engine::look;
use crate::http::{auth_basic, referer};
use crate::logs::{self, Level, time};
use crate::proxy_protocol::Tlv;
use crate::variable::{Builtin, Definitions, Part, Scratch, Subject, Write, WriteNamed};

pub use crate::variable::{Template, Unset, compile};

impl Subject for Exchange {
    const FORWARDED: Option<&'static str> = Some("$http_x_forwarded_for");

    fn builtin(name: &str) -> Option<Write<Self>> {
        let tables = [TABLE, request::TABLE, upstream::TABLE];
        let mut known = tables.into_iter().flatten();
        known.find(|(known, _)| *known == name).map(|(_, write)| *write)
    }

    fn family(name: &str) -> Option<Builtin<Self>> {
        let (write, rest, is_header) = FAMILIES.iter().find_map(|(prefix, write, is_header)| {
            name.strip_prefix(prefix).map(|rest| (*write, rest, *is_header))
        })?;
        let name = if is_header { rest.replace('_', "-") } else { rest.to_owned() }.into_bytes();
        let hash = field::hash(&name);
        Some(Builtin::Named(write, Part { name, hash }))
    }

    fn setter(name: &str) -> Option<fn(&mut Self, &[u8])> {
        SETTERS.iter().find(|(known, _)| *known == name).map(|(_, set)| *set)
    }

    fn is_changeable(name: &str) -> bool {
        let is_free = || Self::builtin(name).is_none() && !NAMED.contains(&name);
        Self::setter(name).is_some() || CHANGEABLE.contains(&name) || is_free()
    }

    fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    fn definitions(&self) -> Option<&Definitions<Self>> {
        self.server.as_ref().map(|it| &*it.definitions)
    }
}

mod request;
mod upstream;

/// Changes a variable of the request itself.
type Setter = fn(&mut Exchange, &[u8]);

/// Built-in variables that `set` may change.
const SETTERS: &[(&str, Setter)] = &[
    ("args", |it, value| {
        it.args.clear();
        it.args.extend_from_slice(value);
        it.has_own_target = true;
    }),
    ("limit_rate", |it, value| {
        let rate = str::from_utf8(value).ok().and_then(size);
        if rate.is_none() {
            let text = format!("invalid $limit_rate \"{}\"", String::from_utf8_lossy(value));
            logs::note(Level::Error, it, &text, "");
        }
        it.limit_rate = rate.or(it.limit_rate);
    }),
];

/// Built-in variables that a configuration may define anew.
///
/// Source: nginx `NGX_HTTP_VAR_CHANGEABLE`.
const CHANGEABLE: &[&str] = &["invalid_referer", "proxy_host", "proxy_port"];

/// Members of families that nginx knows by name: no configuration defines them.
///
/// Source: nginx `ngx_http_variables.c`, `ngx_http_core_variables`.
const NAMED: &[&str] = &[
    "http_cookie",
    "http_host",
    "http_referer",
    "http_user_agent",
    "http_via",
    "http_x_forwarded_for",
    "sent_http_cache_control",
    "sent_http_connection",
    "sent_http_content_length",
    "sent_http_content_type",
    "sent_http_keep_alive",
    "sent_http_last_modified",
    "sent_http_link",
    "sent_http_location",
    "sent_http_transfer_encoding",
];

/// Beginnings of names, and whether the rest names a header; longer ones come first.
const FAMILIES: &[(&str, WriteNamed<Exchange>, bool)] = &[
    ("upstream_http_", upstream::header, true),
    ("upstream_cookie_", upstream::cookie, false),
    (
        "upstream_trailer_",
        |it, part, out| head::joined(head::values(&it.reply_trailers, &part.name), out),
        true,
    ),
    (
        "sent_trailer_",
        |it, part, out| head::joined(head::values(&it.trailers, &part.name), out),
        true,
    ),
    ("sent_http_", |it, part, out| it.head.value(&part.name, out), true),
    (
        "proxy_protocol_tlv_",
        |it, part, out| request::header(it).is_some_and(|it| Tlv::write_named(it, &part.name, out)),
        false,
    ),
    ("http_", http, true),
    ("arg_", arg, false),
    ("cookie_", cookie, false),
];

fn http(exchange: &Exchange, part: &Part, out: &mut Vec<u8>) -> bool {
    if let Some(value) = exchange.trace.get().and_then(|it| it.injected(&part.name)) {
        return set(Some(value).filter(|it| !it.is_empty()), out);
    }
    let separator: &[u8] = if part.name == b"cookie" { b"; " } else { b", " };
    let fields = exchange.request.fields.iter().filter(|it| {
        let name = exchange.text(it.name);
        // An underscore, where names may have one, stands for itself and for a hyphen.
        it.hash == part.hash && name.eq_ignore_ascii_case(&part.name)
            || name.contains(&b'_') && is_alike(name, &part.name)
    });
    joined(fields.map(|it| exchange.text(it.value)), separator, out)
}

fn is_alike(name: &[u8], wanted: &[u8]) -> bool {
    let lower = |it: &u8| if *it == b'_' { b'-' } else { it.to_ascii_lowercase() };
    name.len() == wanted.len() && name.iter().zip(wanted).all(|(a, b)| lower(a) == *b)
}

fn arg(exchange: &Exchange, part: &Part, out: &mut Vec<u8>) -> bool {
    let mut pairs = exchange.args.split(|it| *it == b'&');
    let found = pairs.find_map(|it| {
        let (key, rest) = it.split_at_checked(part.name.len())?;
        let value = rest.strip_prefix(b"=")?;
        key.eq_ignore_ascii_case(&part.name).then_some(value)
    });
    set(found, out)
}

fn cookie(exchange: &Exchange, part: &Part, out: &mut Vec<u8>) -> bool {
    let hash = field::hash(b"cookie");
    let lines = exchange.fields(hash, b"cookie").map(|it| exchange.text(it.value));
    let mut pairs = lines.flat_map(|it| it.split(|it| *it == b';'));
    let found = pairs.find_map(|it| {
        let (key, rest) = it.trim_ascii_start().split_at_checked(part.name.len())?;
        let value = rest.strip_prefix(b"=")?;
        key.eq_ignore_ascii_case(&part.name).then_some(value)
    });
    set(found, out)
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

/// Source: nginx `ngx_http_gzip_filter_module.c`, `ngx_http_gzip_ratio_variable`.
fn ratio(before: u64, after: u64, out: &mut Vec<u8>) -> bool {
    let Some(thousandths) = (before * 1000).checked_div(after) else { return false };
    let hundredths = (thousandths + 5) / 10;
    display(format_args!("{}.{:02}", hundredths / 100, hundredths % 100), out)
}

/// The path, if a request line has been read.
fn path(exchange: &Exchange, out: &mut Vec<u8>) -> bool {
    let is_known = exchange.request.has_line() || !exchange.path.is_empty();
    set(is_known.then_some(&exchange.path), out)
}

fn request_time(exchange: &Exchange) -> std::time::Duration {
    clock::now().since(if exchange.started == Time::ZERO { clock::now() } else { exchange.started })
}

/// Every variable without a free part in its name.
const TABLE: &[(&str, Write<Exchange>)] = &[
    ("args", |it, out| set((!it.args.is_empty()).then_some(&it.args[..]), out)),
    ("balancer_overhead", |it, out| {
        let upstream = it.attempts.iter().filter_map(|it| it.response).sum();
        duration(Some(request_time(it).saturating_sub(upstream)), out)
    }),
    ("body_bytes_sent", |it, out| display(it.sent_body(), out)),
    ("bytes_sent", |it, out| display(it.sent, out)),
    ("connection", |it, out| display(it.client_serial(), out)),
    ("connection_requests", |it, out| display(it.serial, out)),
    ("connection_time", |it, out| {
        let age = it.client.as_ref().map(|client| clock::now().since(client.accepted));
        duration(age, out)
    }),
    ("content_length", |it, out| {
        // The length of a body that came in chunks is known once it has been read.
        let read = it.spooled.as_ref().map(|it| it.length).or(it.held);
        match read.filter(|_| it.request.chunked) {
            Some(length) => display(length, out),
            None => known_field(it, Name::ContentLength, out),
        }
    }),
    ("content_type", |it, out| {
        let lines = it.request.fields.iter().filter(|it| it.known == Name::ContentType);
        joined(lines.map(|line| it.text(line.value)), b", ", out)
    }),
    ("document_uri", path),
    ("document_root", |it, out| {
        set(it.location().map(|location| location.files.root.folder(it)).as_deref(), out)
    }),
    ("host", |it, out| {
        let fallback = || it.server.as_ref().map_or(&b""[..], |it| it.name.as_bytes());
        set(Some(if it.host.is_empty() { fallback() } else { &it.host }), out)
    }),
    ("gzip_ratio", |it, out| {
        it.compressed.is_some_and(|(before, after)| ratio(before, after, out))
    }),
    ("hostname", |_, out| {
        let name = nix::unistd::gethostname().ok();
        set(name.as_ref().map(|it| it.as_encoded_bytes()), out)
    }),
    ("https", |_, out| set(Some(b""), out)),
    ("invalid_referer", referer::write),
    ("is_args", |it, out| set(Some(if it.args.is_empty() { b"" } else { b"?" }), out)),
    ("limit_rate", |it, out| display(it.limit_rate.unwrap_or_default(), out)),
    ("limit_conn_status", |it, out| set(it.limit_conn.map(str::as_bytes), out)),
    ("limit_req_status", |it, out| set(it.limit_req.map(str::as_bytes), out)),
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
    ("query_string", |it, out| set((!it.args.is_empty()).then_some(&it.args[..]), out)),
    ("realpath_root", |it, out| {
        let folder = it.location().map(|location| location.files.root.folder(it));
        let path = folder.and_then(|it| look::canonical(&it));
        set(path.as_deref(), out)
    }),
    ("remote_addr", |it, out| set(Some(it.client_name().as_bytes()), out)),
    ("realip_remote_addr", |it, out| {
        let peer = it.peer.as_ref().or(it.client.as_ref());
        set(peer.map(|it| it.name.as_bytes()), out)
    }),
    ("realip_remote_port", |it, out| {
        let peer = it.peer.as_ref().or(it.client.as_ref()).and_then(|it| it.address);
        peer.is_some_and(|it| display(it.port(), out))
    }),
    ("remote_port", |it, out| {
        // One that a header told of may have none.
        let port = it.client.as_ref().and_then(|it| it.address).map(|it| it.port());
        port.is_some_and(|it| it == 0 || display(it, out))
    }),
    ("remote_user", |it, out| {
        let known = auth_basic::credentials(it);
        set(known.as_ref().map(|(user, _)| &user[..]), out)
    }),
    ("request", |it, out| set(Some(it.text(it.request.line)), out)),
    ("request_completion", |it, out| set(it.completed.then_some(&b"OK"[..]), out)),
    ("request_filename", |it, out| {
        set(it.location().map(|location| location.files.root.file(it)).as_deref(), out)
    }),
    ("request_length", |it, out| display(it.received, out)),
    ("request_method", |it, out| {
        // Of the request the client has sent, also for one of ours.
        let method = if it.is_subrequest { it.text(it.request.method) } else { it.method() };
        set((!method.is_empty()).then_some(method), out)
    }),
    ("request_time", |it, out| {
        seconds(request_time(it), out);
        true
    }),
    ("request_uri", |it, out| {
        // Of an absolute target without a path it is that of the root.
        let target = it.text(it.request.path_and_query);
        let target = if target.is_empty() && !it.path.is_empty() { b"/" } else { target };
        set((!target.is_empty()).then_some(target), out)
    }),
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
        // As it is written, with what follows it.
        let target = it.request.target.end();
        let line = it.input.bytes.get(target..it.request.line.end()).unwrap_or_default();
        set(Some(line.trim_ascii_start()), out)
    }),
    ("status", |it, out| {
        write::three_digits(out, it.status);
        true
    }),
    ("time_iso8601", |_, out| time::with_iso8601(|it| set(Some(it.as_bytes()), out))),
    ("time_local", |_, out| time::with_local(|it| set(Some(it.as_bytes()), out))),
    ("uri", path),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::h1::request::Limits;
    use crate::variable::Names;

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
        Template::compile(text, &Names::default()).unwrap().write(&exchange(head), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected, "{text}");
    }

    const HEAD: &str = "GET /a%20b?One=1&two=2 HTTP/1.1\r\nHost: Shop:80\r\nX-Y: 1\r\nx-y: 2\r\n\
        Cookie: a=1; b=2\r\n\r\n";

    #[test]
    fn names_end_where_their_letters_end() {
        check("$host", HEAD, "shop");
        check("${host}x $host.", HEAD, "shopx shop.");
        check("$request_uri|$uri|$args|$is_args", HEAD, "/a%20b?One=1&two=2|/a b|One=1&two=2|?");
    }

    #[test]
    fn headers_cookies_and_arguments_are_found_by_name() {
        check("$http_x_y|$http_host|$http_none|", HEAD, "1, 2|Shop:80||");
        check("$arg_one|$arg_two|$arg_three|", HEAD, "1|2||");
        check("$cookie_b", HEAD, "2");
        let twice = "GET / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\ncontent-type: c/d\r\n\r\n";
        check("$content_type", twice, "a/b, c/d");
    }

    #[test]
    fn unknown_names_are_refused() {
        let told = |text: &str| {
            Template::<Exchange>::compile(text, &Names::default()).unwrap_err().to_string()
        };
        assert_eq!(told("a $nope b"), "unknown \"nope\" variable");
        assert_eq!(told("${host"), "the closing bracket in \"host\" variable is missing");
        assert_eq!(told("100$"), "invalid variable name");
    }
}
