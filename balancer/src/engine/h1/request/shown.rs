//! When is a line refused before its end, and what does the error log show of it?

use super::{Expecting, Progress, Refusal, Request, is_method_byte};
use crate::engine::h1::field::{self, Field, Piece};
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

    /// Refuses the line that begins at `start`.
    pub(super) fn bad_line(&mut self, buffer: &[u8], start: usize) -> Refusal {
        self.detail = format!(": \"{}\"", field::shown(buffer, start));
        Refusal::new(400, "client sent invalid header line")
    }

    /// Refuses a line that is too long before its end has been seen.
    pub(super) fn partial(&mut self, buffer: &[u8], limits: &Limits) -> Result<Progress, Refusal> {
        let is_over = self.room.is_over(buffer.len() - self.at, limits);
        match self.expecting {
            _ if is_over => Err(self.too_large(buffer, self.at, limits)),
            // A line that starts wrong is refused at once, so that a TLS hello on a plain port
            // is not waited for.
            Expecting::RequestLine
                if buffer
                    .get(self.at)
                    .is_some_and(|it| !is_method_byte(*it) && !matches!(it, b'\r' | b'\n')) =>
            {
                Err(Refusal::new(400, "client sent invalid method"))
            }
            _ => Ok(Progress::Partial),
        }
    }
}
