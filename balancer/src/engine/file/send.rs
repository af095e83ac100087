//! A file's answer, written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Reply;
use crate::engine::answer::{begin, body_framing, end_body, finish_head, has_bad_body, kind_of};
use crate::engine::connection::{Connection, Outcome};
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::{Name, hash};
use crate::engine::h1::request::Version;
use crate::engine::h1::write;
use crate::engine::head::Head;
use crate::http::filter::Outlet;
use crate::http::location::Location;
use crate::http::range::{self, Wanted};
use crate::http::{Action, not_modified, page};

/// A piece of a body: bytes of ours, or of the file.
enum Piece {
    Text(Vec<u8>),
    File(u64, u64),
}

/// Which boundary comes next; nginx counts its connections, too.
static BOUNDARY: AtomicU64 = AtomicU64::new(1);

/// Divides a file into the parts asked for, and tells them in the head.
///
/// Source: nginx `ngx_http_range_filter_module.c`, `ngx_http_range_singlepart_header` and
/// `ngx_http_range_multipart_header`.
fn divide(head: &mut Head, reply: &Reply, parts: &[(u64, u64)], is_chunked: bool) -> Vec<Piece> {
    let told = |(start, end): (u64, u64)| format!("bytes {start}-{}/{}", end - 1, reply.length);
    head.status = 206;
    head.reason.clear();
    head.reason.extend_from_slice(page::reason(206).as_bytes());
    let mut pieces = Vec::new();
    if let [part] = *parts {
        head.add(b"Content-Range", told(part).as_bytes());
        pieces.push(Piece::File(part.0, part.1));
    } else {
        let mut kind = Vec::new();
        head.value(b"content-type", &mut kind);
        // Relaxed: a number is used once; nothing else depends on it.
        let boundary = format!("{:020}", BOUNDARY.fetch_add(1, Ordering::Relaxed));
        for part in parts {
            let mut text = format!("\r\n--{boundary}\r\n").into_bytes();
            if !kind.is_empty() {
                write::field(&mut text, b"Content-Type", &kind);
            }
            write::field(&mut text, b"Content-Range", told(*part).as_bytes());
            text.extend_from_slice(b"\r\n");
            pieces.push(Piece::Text(text));
            pieces.push(Piece::File(part.0, part.1));
        }
        pieces.push(Piece::Text(format!("\r\n--{boundary}--\r\n").into_bytes()));
        head.content_type = format!("multipart/byteranges; boundary={boundary}").into_bytes();
        head.charset.clear();
    }
    let size = |it: &Piece| match it {
        Piece::Text(text) => text.len() as u64,
        Piece::File(start, end) => end - start,
    };
    head.content_length = (!is_chunked).then(|| pieces.iter().map(size).sum());
    pieces
}

/// Which part of a file is asked for; tells in the head that parts may be.
///
/// Source: nginx `ngx_http_range_filter_module.c`, `ngx_http_range_header_filter`.
fn ranges(exchange: &mut Exchange, location: &Location, reply: &Reply) -> Wanted {
    let most = location.files.max_ranges;
    if exchange.request.version == Version::Http09 || most == 0 {
        return Wanted::Whole;
    }
    let if_range = exchange.request.fields.iter().find(|it| it.known == Name::IfRange);
    let is_same = if_range.map(|it| exchange.text(it.value)).is_none_or(|it| {
        if it.len() >= 2 && it.ends_with(b"\"") {
            exchange.head.first(b"etag") == Some(it)
        } else {
            not_modified::seconds(it) == Some(reply.modified)
        }
    });
    let range = exchange.field(RANGE_HASH, b"range").filter(|_| is_same);
    let wanted = range.map(|it| range::parse(exchange.text(it.value), reply.length, most));
    let wanted = wanted.unwrap_or(Wanted::Whole);
    if let Wanted::Whole = wanted {
        exchange.head.add(b"Accept-Ranges", b"bytes");
    }
    wanted
}

const RANGE_HASH: u32 = hash(b"range");

impl Connection<'_> {
    /// Sends a file, then reads what is left of the request.
    pub(in crate::engine) async fn send_file<'s>(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
        reply: Reply,
    ) -> Outcome<'s> {
        let status = reply.status;
        self.invite(exchange, location).await;
        if has_bad_body(exchange) {
            return Outcome::Answer(Action::Status(400));
        }
        let framing = body_framing(exchange);
        exchange.request.keep_alive &= !self.is_leaving();
        let head = begin(exchange, location, status);
        let is_known = matches!(status, 200 | 206 | 304);
        head.last_modified = is_known.then_some(reply.modified);
        if let Some(etag) = &reply.etag {
            head.add(b"ETag", etag.as_bytes());
        }
        if reply.is_packed && status != 304 {
            head.add(b"Content-Encoding", b"gzip");
        }
        head.varies = reply.varies;
        if !matches!(status, 204 | 304) {
            let kind = kind_of(exchange, location);
            exchange.head.content_type.extend_from_slice(kind.as_bytes());
            exchange.head.content_length = Some(reply.length);
        }
        let has_body = !exchange.is_head() && !matches!(status, 204 | 304);
        let mut outlet = location.filters.apply(exchange, has_body);
        let mut pieces = vec![Piece::File(0, reply.length)];
        if status == 200 && !reply.is_packed && !outlet.is_recoded {
            match ranges(exchange, location, &reply) {
                Wanted::Nothing => {
                    let mut head = std::mem::take(&mut exchange.head);
                    head.remove(b"ETag");
                    head.add(b"Content-Range", format!("bytes */{}", reply.length).as_bytes());
                    exchange.kept_fields.clear();
                    if head.varies {
                        write::field(&mut exchange.kept_fields, b"Vary", b"Accept-Encoding");
                    }
                    exchange.kept_fields.extend_from_slice(&head.fields);
                    return Outcome::Answer(Action::Status(416));
                }
                Wanted::Parts(parts) => {
                    pieces = divide(&mut exchange.head, &reply, &parts, outlet.chunked);
                }
                Wanted::Whole => {}
            }
        }
        exchange.status = exchange.error_status.take().unwrap_or(exchange.head.status);
        let mut out = finish_head(exchange, location);
        if !has_body {
            pieces.clear();
        }
        let sent =
            self.send_pieces(exchange, location, &reply.file, &pieces, &mut outlet, &mut out);
        let sent = sent.await;
        out.clear();
        exchange.out = out;
        Outcome::Over(self.finish(exchange, sent, framing).await)
    }

    async fn send_pieces(
        &mut self,
        exchange: &mut Exchange,
        location: &Location,
        file: &File,
        pieces: &[Piece],
        outlet: &mut Outlet,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        const CHUNK: u64 = 64 * 1024;
        let mut read = Vec::new();
        for piece in pieces {
            let (mut at, end) = match piece {
                Piece::Text(text) => {
                    outlet.encode(text, out)?;
                    continue;
                }
                Piece::File(start, end) => (*start, *end),
            };
            while at < end {
                let room = usize::try_from((end - at).min(CHUNK)).unwrap_or(usize::MAX);
                if outlet.coding.is_some() {
                    read.resize(room, 0);
                    file.read_exact_at(&mut read, at)?;
                    outlet.encode(&read, out)?;
                } else {
                    let before = out.len();
                    out.resize(before + room, 0);
                    file.read_exact_at(&mut out[before..], at)?;
                }
                at += room as u64;
                self.pour(exchange, location, out).await?;
                out.clear();
            }
        }
        if !pieces.is_empty() {
            end_body(exchange, location, outlet, b"", out)?;
        }
        self.pour(exchange, location, out).await
    }
}
