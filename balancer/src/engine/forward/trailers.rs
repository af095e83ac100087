//! Lines behind the body of an upstream's answer: which of them does the client get?

use crate::engine::exchange::Exchange;
use crate::engine::h1::field::Name;
use crate::engine::h1::write;
use crate::http::proxy_pass::Proxy;

/// Names that would say how the message is framed, which its head has said.
const FRAMING: [&[u8]; 4] = [b"connection", b"content-length", b"keep-alive", b"transfer-encoding"];

/// Takes over what followed a body that is over.
///
/// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_process_trailer`, and
/// `ngx_http_upstream.c`, `ngx_http_upstream_process_trailers`.
pub(super) fn take(exchange: &mut Exchange, proxy: &Proxy, lines: &[u8]) {
    for line in lines.split(|it| *it == b'\n') {
        let Some((name, value)) = field(line) else { continue };
        write::field(&mut exchange.reply_trailers, name, value);
        let is_framing = FRAMING.iter().any(|it| it.eq_ignore_ascii_case(name));
        let is_ours = exchange.response.is_for_this_hop(Name::Other, name, &exchange.reply.bytes);
        if !is_framing && !is_ours && !proxy.hides(Name::Other, name) {
            write::field(&mut exchange.trailers, name, value);
        }
    }
}

/// Name and value of a line; `None` where it is none.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
    let is_token = |it: &u8| it.is_ascii_graphic() && *it != b'"';
    let value = value[1..].trim_ascii();
    (!name.is_empty() && name.iter().all(is_token)).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_name_and_a_value() {
        assert_eq!(field(b"A: b \r"), Some((&b"A"[..], &b"b"[..])));
        assert_eq!(field(b"A b: c\r"), None);
        assert_eq!(field(b": c\r"), None);
        assert_eq!(field(b"\r"), None);
    }
}
