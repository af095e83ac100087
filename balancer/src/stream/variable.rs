//! The variables of a session.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use crate::client;
use crate::engine::clock;
use crate::logs::time;
use crate::proxy_protocol::Tlv;
use crate::stream::session::{Attempt, Session};
use crate::variable::{Builtin, Definitions, Part, Scratch, Subject, Write};

impl Subject for Session {
    const FORWARDED: Option<&'static str> = None;

    fn builtin(name: &str) -> Option<Write<Self>> {
        let known = TABLE.iter().find(|(known, _)| *known == name);
        known.map(|(_, write)| *write).or_else(|| TLS.contains(&name).then_some(|_, _| false))
    }

    fn family(name: &str) -> Option<Builtin<Self>> {
        let name = name.strip_prefix("proxy_protocol_tlv_")?;
        let part = Part { name: name.as_bytes().to_vec(), hash: 0 };
        Some(Builtin::Named(tlv, part))
    }

    fn setter(_: &str) -> Option<fn(&mut Self, &[u8])> {
        None
    }

    fn is_changeable(name: &str) -> bool {
        Self::builtin(name).is_none()
    }

    fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    fn definitions(&self) -> Option<&Definitions<Self>> {
        self.server.as_ref().map(|it| &*it.definitions)
    }
}

/// `$proxy_protocol_tlv_NAME`
fn tlv(session: &Session, part: &Part, out: &mut Vec<u8>) -> bool {
    session.header.as_ref().is_some_and(|it| Tlv::write_named(it, &part.name, out))
}

fn set(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
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

/// One that is 0, or of a Unix socket, is empty.
fn port(address: Option<std::net::SocketAddr>, out: &mut Vec<u8>) -> bool {
    let port = address.map(|it| it.port()).filter(|it| *it != 0);
    port.is_none_or(|it| display(it, out))
}

/// Variables of sessions whose TLS ends here; not set without.
const TLS: &[&str] = &[
    "ssl_alpn_protocol",
    "ssl_cipher",
    "ssl_ciphers",
    "ssl_client_cert",
    "ssl_client_fingerprint",
    "ssl_client_i_dn",
    "ssl_client_raw_cert",
    "ssl_client_s_dn",
    "ssl_client_serial",
    "ssl_client_v_end",
    "ssl_client_v_remain",
    "ssl_client_v_start",
    "ssl_client_verify",
    "ssl_curve",
    "ssl_curves",
    "ssl_protocol",
    "ssl_server_name",
    "ssl_session_id",
    "ssl_session_reused",
    "ssl_sigalg",
];

/// Every variable without a free part in its name.
///
/// Source: nginx `ngx_stream_variables.c` and `ngx_stream_upstream.c`.
const TABLE: &[(&str, Write<Session>)] = &[
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
    ("limit_conn_status", |it, out| set(it.limit_conn.map(str::as_bytes), out)),
    ("msec", |_, out| seconds(Duration::from_millis(clock::unix_millis()), out)),
    ("nginx_version", |_, out| display(crate::NGINX_VERSION, out)),
    ("pid", |_, out| display(std::process::id(), out)),
    ("protocol", |_, out| display("TCP", out)),
    ("proxy_protocol_addr", |it, out| {
        it.header.as_ref().is_some_and(|it| display(&it.source, out))
    }),
    ("proxy_protocol_port", |it, out| {
        it.header.as_ref().is_some_and(|it| it.source_port == 0 || display(it.source_port, out))
    }),
    ("proxy_protocol_server_addr", |it, out| {
        it.header.as_ref().is_some_and(|it| display(&it.destination, out))
    }),
    ("proxy_protocol_server_port", |it, out| {
        let port = it.header.as_ref().map(|it| it.destination_port);
        port.is_some_and(|it| it == 0 || display(it, out))
    }),
    ("realip_remote_addr", |it, out| display(client::name(it.peer), out)),
    ("realip_remote_port", |it, out| port(it.peer, out)),
    ("remote_addr", |it, out| display(&it.name, out)),
    ("remote_port", |it, out| port(it.client, out)),
    ("server_addr", |it, out| match it.local {
        Some(local) => display(local.ip(), out),
        None => display(&it.bind, out),
    }),
    ("server_name", |it, out| set(it.server.as_ref().map(|it| it.name.as_bytes()), out)),
    ("server_port", |it, out| port(it.local, out)),
    ("session_time", |it, out| seconds(clock::now().since(it.started), out)),
    ("ssl_preread_alpn_protocols", |it, out| {
        set(it.hello.as_ref().map(|it| it.protocols.as_slice()), out)
    }),
    ("ssl_preread_protocol", |it, out| {
        set(it.hello.as_ref().map(|it| it.protocol().as_bytes()), out)
    }),
    ("ssl_preread_server_name", |it, out| set(it.hello.as_ref().map(|it| it.name.as_slice()), out)),
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
