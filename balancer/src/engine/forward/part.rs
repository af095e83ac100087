//! Which part of an answer is asked for, where `proxy_force_ranges` has us cut it out?

use crate::engine::exchange::Exchange;
use crate::engine::forward::Request;
use crate::engine::h1::field::{Name, hash};
use crate::http::not_modified;
use crate::http::range::{self, Wanted};

const RANGE: u32 = hash(b"range");

/// What a request asks of the answer whose head has been read, `None` where it is not ours to cut.
///
/// Source: nginx `ngx_http_range_filter_module.c`, `ngx_http_range_header_filter`; one range at
/// most, as nginx sets `single_range` for what an upstream sends.
pub(super) fn wanted(exchange: &Exchange, request: &Request<'_>) -> Option<(Wanted, u64)> {
    let response = &exchange.response;
    let most = request.location.files.max_ranges.min(1);
    if !request.proxy.force_ranges || response.status != 200 || response.is_bare || most == 0 {
        return None;
    }
    let length = response.content_length?;
    let value = |name: Name| {
        let field = response.fields.iter().find(|it| it.known == name)?;
        Some(field.value.of(&exchange.reply.bytes))
    };
    let if_range = exchange.request.fields.iter().find(|it| it.known == Name::IfRange);
    let is_same = if_range.map(|it| exchange.text(it.value)).is_none_or(|it| {
        if it.len() >= 2 && it.ends_with(b"\"") {
            value(Name::Etag) == Some(it)
        } else {
            let changed = value(Name::LastModified).and_then(not_modified::seconds);
            changed.is_some() && not_modified::seconds(it) == changed
        }
    });
    let range = exchange.field(RANGE, b"range").filter(|_| is_same);
    let wanted = range.map(|it| range::parse(exchange.text(it.value), length, most));
    Some((wanted.unwrap_or(Wanted::Whole), length))
}
