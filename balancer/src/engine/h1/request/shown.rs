//! What is shown in the error log of a request that is refused?

use super::{Expecting, Refusal, Request};
use crate::engine::h1::field::{Field, Piece};
use crate::engine::h1::room::Limits;

impl Request {
    /// Source: nginx `ngx_http_request.c`, `ngx_http_process_request_line` and
    /// `ngx_http_process_request_headers`.
    pub(super) fn too_large(&mut self, buffer: &[u8], start: usize, limits: &Limits) -> Refusal {
        /// nginx's `NGX_MAX_ERROR_STR`, and what it keeps free of it.
        const SHOWN: usize = 2048 - 300;
        let end = buffer.len().min(start + limits.line);
        if self.expecting == Expecting::RequestLine {
            self.line = Piece::new(start, end);
            return Refusal::new(414, "client sent too long URI");
        }
        let line = &buffer[start..end.min(start + SHOWN)];
        let line = &line[..memchr::memchr(b'\n', line).unwrap_or(line.len())];
        self.detail = format!(": \"{}...\"", String::from_utf8_lossy(line.trim_ascii_end()));
        Refusal::new(494, "client sent too long header line")
    }

    /// A line and the one of its name before it, as nginx shows them.
    pub(super) fn both(&self, buffer: &[u8], field: &Field) -> String {
        let line = |it: &Field| {
            let (name, value) = (it.name.of(buffer), it.value.of(buffer));
            format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        };
        let before = self.fields.iter().find(|it| it.known == field.known);
        let before = before.map(line).unwrap_or_default();
        format!(": \"{}\", previous value: \"{before}\"", line(field))
    }
}
