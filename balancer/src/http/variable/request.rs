//! What else is known of a request and its connection.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use super::{display, set};
use crate::engine::Totals;
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::Name;
use crate::engine::tcp_info::{self, TcpInfo};
use crate::http::otel::Trace;
use crate::otel::context::hex;
use crate::proxy_protocol::Header;
use crate::variable::Write;

/// The variables.
pub(super) const TABLE: &[(&str, Write<Exchange>)] = &[
    ("binary_remote_addr", |it, out| {
        match it.client.as_ref().and_then(|it| it.address).map(|it| it.ip().to_canonical()) {
            Some(IpAddr::V4(ip)) => set(Some(&ip.octets()), out),
            Some(IpAddr::V6(ip)) => set(Some(&ip.octets()), out),
            None => set(Some(b"unix:"), out),
        }
    }),
    ("connections_active", |it, out| totals(it).is_some_and(|it| display(it.active, out))),
    ("connections_reading", |it, out| totals(it).is_some_and(|it| display(it.reading, out))),
    ("connections_waiting", |it, out| totals(it).is_some_and(|it| display(it.waiting, out))),
    ("connections_writing", |it, out| totals(it).is_some_and(|it| display(it.writing, out))),
    // Set and empty without it, as in nginx.
    ("http2", |_, out| set(Some(b""), out)),
    ("is_request_port", |it, out| set(port(it).map(|_| &b":"[..]), out)),
    ("otel_parent_id", |it, out| {
        let parent = Trace::of(it).parent.as_ref().map(|it| hex(&it.span_id));
        set(parent.as_deref().map(str::as_bytes), out)
    }),
    ("otel_parent_sampled", |it, out| {
        let is_sampled = Trace::of(it).parent.as_ref().is_some_and(|it| it.is_sampled);
        set(Some(if is_sampled { b"1" } else { b"0" }), out)
    }),
    ("otel_span_id", |it, out| set(Some(hex(&Trace::of(it).current.span_id).as_bytes()), out)),
    ("otel_trace_id", |it, out| set(Some(hex(&Trace::of(it).current.trace_id).as_bytes()), out)),
    ("proxy_protocol_addr", |it, out| header(it).is_some_and(|it| display(&it.source, out))),
    ("proxy_protocol_port", |it, out| {
        header(it).is_some_and(|it| it.source_port == 0 || display(it.source_port, out))
    }),
    ("proxy_protocol_server_addr", |it, out| {
        header(it).is_some_and(|it| display(&it.destination, out))
    }),
    ("proxy_protocol_server_port", |it, out| {
        let port = header(it).map(|it| it.destination_port);
        port.is_some_and(|it| it == 0 || display(it, out))
    }),
    ("request_body", |it, out| {
        let length = it.held.filter(|it| 0 < *it).and_then(|it| usize::try_from(it).ok());
        let start = it.input.head;
        set(length.and_then(|length| it.input.bytes.get(start..start + length)), out)
    }),
    ("request_body_file", |it, out| {
        use std::io::Write as _;
        use std::os::unix::ffi::OsStrExt as _;
        let Some(spool) = &it.spooled else { return false };
        if let Some(path) = spool.name() {
            return set(Some(path.as_os_str().as_bytes()), out);
        }
        // The file has no name of its own. Writing to memory does not fail.
        write!(out, "/proc/{}/fd/{}", std::process::id(), spool.descriptor()).is_ok()
    }),
    ("request_id", |it, out| {
        use std::io::Write as _;
        let id = *it.id.get_or_init(|| [0, 1].map(|it| RandomState::new().hash_one(it)));
        // Writing to memory does not fail.
        write!(out, "{:016x}{:016x}", id[0], id[1]).is_ok()
    }),
    ("request_port", |it, out| set(port(it), out)),
    // Empty without TLS.
    ("ssl_alpn_protocol", |_, _| false),
    ("ssl_cipher", |_, _| false),
    ("ssl_ciphers", |_, _| false),
    ("ssl_client_cert", |_, _| false),
    ("ssl_client_escaped_cert", |_, _| false),
    ("ssl_client_fingerprint", |_, _| false),
    ("ssl_client_i_dn", |_, _| false),
    ("ssl_client_raw_cert", |_, _| false),
    ("ssl_client_s_dn", |_, _| false),
    ("ssl_client_serial", |_, _| false),
    ("ssl_client_v_end", |_, _| false),
    ("ssl_client_v_remain", |_, _| false),
    ("ssl_client_v_start", |_, _| false),
    ("ssl_client_verify", |_, _| false),
    ("ssl_curve", |_, _| false),
    ("ssl_curves", |_, _| false),
    ("ssl_early_data", |_, _| false),
    ("ssl_protocol", |_, _| false),
    ("ssl_server_name", |_, _| false),
    ("ssl_session_id", |_, _| false),
    ("ssl_session_reused", |_, _| false),
    ("ssl_sigalg", |_, _| false),
    ("tcpinfo_rcv_space", |it, out| tcp(it).is_some_and(|it| display(it.rcv_space, out))),
    ("tcpinfo_rtt", |it, out| tcp(it).is_some_and(|it| display(it.rtt, out))),
    ("tcpinfo_rttvar", |it, out| tcp(it).is_some_and(|it| display(it.rttvar, out))),
    ("tcpinfo_snd_cwnd", |it, out| tcp(it).is_some_and(|it| display(it.snd_cwnd, out))),
];

/// What a proxy in front of us has said of the connection.
pub(super) fn header(exchange: &Exchange) -> Option<&Header> {
    exchange.client.as_ref()?.header.as_deref()
}

fn tcp(exchange: &Exchange) -> Option<TcpInfo> {
    let client = exchange.client.as_ref().filter(|it| it.local.is_some())?;
    tcp_info::of(client.descriptor)
}

fn totals(exchange: &Exchange) -> Option<Totals> {
    exchange.client.as_ref().map(|it| it.shared.stats.totals())
}

/// The port that the request names in its host.
fn port(exchange: &Exchange) -> Option<&[u8]> {
    let fields = || exchange.request.fields.iter();
    let host = match exchange.request.authority {
        Some(authority) => authority,
        None => fields().find(|it| it.known == Name::Host)?.value,
    };
    let host = exchange.text(host);
    let colon = memchr::memrchr(b':', host).filter(|at| !host[*at..].contains(&b']'))?;
    Some(&host[colon + 1..]).filter(|it| !it.is_empty())
}
