//! What a span says of its request.
//!
//! Source: nginx-otel `http_module.cpp`, `addDefaultAttrs`, after the semantic conventions of
//! OpenTelemetry 1.16.

use super::Trace;
use crate::engine::clock;
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::hash;
use crate::http::location::Location;
use crate::http::variable::Template;
use crate::otel::context::Context;
use crate::otel::proto::{KIND_SERVER, KeyValue, STATUS_ERROR, Span, Status};
use crate::variable::Subject as _;

/// Port of the address that is not told.
const DEFAULT_PORT: u16 = 80;

/// Attributes whose value is a list, until somebody lists more than one line.
const LISTS: [&str; 2] = ["http.request.header.", "http.response.header."];

/// Hands the span of a request over that is over and leaves one.
pub fn finish(exchange: &Exchange, location: &Location) {
    let Some(trace) = exchange.trace.get() else { return };
    let Some(exporter) = &trace.exporter else { return };
    exporter.add(span(exchange, location, trace));
}

fn span(exchange: &Exchange, location: &Location, trace: &Trace) -> Span {
    let end = clock::unix_nanos();
    let passed = clock::now().since(exchange.started).as_nanos();
    let Context { trace_id, span_id, state, .. } = &trace.current;
    let tracing = location.tracing.as_deref();
    let mut attributes = facts(exchange, location);
    let wanted = tracing.map(|it| &*it.span_attributes).unwrap_or_default();
    attributes.extend(wanted.iter().map(|(name, value)| attribute(name, &text(value, exchange))));
    let name = tracing.and_then(|it| it.span_name.as_ref());
    let is_error = 500 <= exchange.status;
    Span {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        trace_state: state.clone(),
        parent_span_id: trace.parent.as_ref().map_or_else(Vec::new, |it| it.span_id.to_vec()),
        name: name.map_or_else(|| location.name.clone(), |it| text(it, exchange)),
        kind: KIND_SERVER,
        start_time_unix_nano: end.saturating_sub(u64::try_from(passed).unwrap_or_default()),
        end_time_unix_nano: end,
        attributes,
        status: is_error.then_some(Status { code: STATUS_ERROR }),
    }
}

fn attribute(name: &str, value: &str) -> KeyValue {
    match LISTS.iter().any(|it| name.starts_with(it)) {
        true => KeyValue::list(name, value),
        false => KeyValue::text(name, value),
    }
}

fn text(template: &Template, exchange: &Exchange) -> String {
    lossy(&template.value(exchange))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The value of a variable that needs no definition, empty when it is not set.
fn variable(exchange: &Exchange, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(write) = Exchange::builtin(name) {
        write(exchange, &mut out);
    }
    out
}

/// What is said of every request.
fn facts(exchange: &Exchange, location: &Location) -> Vec<KeyValue> {
    let is = |name: &str| variable(exchange, name);
    let mut all = vec![
        KeyValue::text("http.method", lossy(exchange.method())),
        KeyValue::text("http.target", lossy(&is("request_uri"))),
        KeyValue::text("http.scheme", lossy(&is("scheme"))),
    ];
    if !location.name.is_empty() {
        all.push(KeyValue::text("http.route", &*location.name));
    }
    if let Some(version) = is("server_protocol").strip_prefix(b"HTTP/") {
        all.push(KeyValue::text("http.flavor", lossy(version)));
    }
    if let Some(agent) = exchange.field(hash(b"user-agent"), b"user-agent") {
        all.push(KeyValue::text("http.user_agent", lossy(exchange.text(agent.value))));
    }
    let length = str::from_utf8(&is("content_length")).ok().and_then(|it| it.parse::<i64>().ok());
    all.push(KeyValue::number("http.request_content_length", length.unwrap_or_default()));
    let name = exchange.server.as_ref().map(|it| it.name.as_bytes()).filter(|it| !it.is_empty());
    all.push(KeyValue::text("net.host.name", lossy(name.unwrap_or(&exchange.host))));
    all.push(KeyValue::text("net.sock.peer.addr", exchange.client_name()));
    let client = exchange.client.as_deref();
    let port = client.and_then(|it| it.address).map_or(0, |it| it.port());
    all.push(KeyValue::number("net.sock.peer.port", port));
    let port = client.and_then(|it| it.local).map(|it| it.port());
    if let Some(port) = port.filter(|it| *it != DEFAULT_PORT) {
        all.push(KeyValue::number("net.host.port", port));
    }
    all.push(KeyValue::number("http.response_content_length", exchange.sent_body()));
    if exchange.status != 0 {
        all.push(KeyValue::number("http.status_code", exchange.status));
    }
    all
}
