//! What changes an answer on its way out, whoever gave it.

use crate::conf::ConfError;
use crate::engine::coding::{Coding, NotPacked, Packing, Then};
use crate::engine::exchange::Exchange;
use crate::engine::h1::request::Version;
use crate::http::charset::{self, Charset};
use crate::http::expires::Expires;
use crate::http::gzip::{self, Gzip, Rules};
use crate::http::header::{self, AddHeader};
use crate::http::limit_rate::LimitRate;
use crate::http::sub::Sub;
use crate::modules::Scope;
use crate::variable::Names;

/// The filters of a location.
#[derive(Debug)]
pub struct Filters {
    expires: Option<Expires>,
    headers: Vec<AddHeader>,
    trailers: Vec<AddHeader>,
    sub: Option<Sub>,
    charset: Option<Charset>,
    gzip: Option<Gzip>,
    gunzip: Option<Rules>,
    /// How fast answers are sent.
    pub limit_rate: LimitRate,
    is_chunked: bool,
}

impl Default for Filters {
    /// Those that change nothing.
    fn default() -> Self {
        Self {
            expires: None,
            headers: Vec::new(),
            trailers: Vec::new(),
            sub: None,
            charset: None,
            gzip: None,
            gunzip: None,
            limit_rate: LimitRate::default(),
            is_chunked: true,
        }
    }
}

impl Filters {
    /// Looks the variables up.
    pub fn compile(scope: &Scope, names: &Names<Exchange>) -> Result<Self, ConfError> {
        Ok(Self {
            expires: scope.expires.compile(names)?,
            headers: scope.header.headers(names)?,
            trailers: scope.header.trailers(names)?,
            sub: scope.sub.compile(names)?,
            charset: scope.charset.compile(names)?,
            gzip: scope.gzip.compile(),
            gunzip: scope.packed.gunzip(scope.gzip.rules()),
            limit_rate: scope.limit_rate.compile(names)?,
            is_chunked: scope.core.is_chunked(),
        })
    }

    /// Changes the head of an answer, in nginx's order, and says how its body is sent.
    ///
    /// `has_body` says whether a body follows the head.
    pub fn apply(&self, exchange: &mut Exchange, has_body: bool) -> Outlet {
        let status = exchange.head.status;
        if let Some(expires) = &self.expires
            && header::is_safe(status)
        {
            expires.apply(exchange);
        }
        for line in self.headers.iter().filter(|it| it.applies_to(status)) {
            line.add_to(exchange);
        }
        let mut has_trailers =
            exchange.expects_trailers || self.trailers.iter().any(|it| it.applies_to(status));
        let mut packing = None;
        if let Some(rules) = &self.gunzip
            && exchange.head.first(b"content-encoding").is_some_and(is_gzip)
        {
            exchange.head.varies |= rules.vary;
            if !rules.allow(exchange) {
                packing = Some(Packing::Unpack);
                exchange.head.remove(b"Content-Encoding");
            }
        }
        let substitution = self.sub.as_ref().and_then(|it| it.apply(exchange));
        match &self.charset {
            Some(charset) => charset.apply(exchange),
            None => charset::refuse(exchange),
        }
        if let Some(gzip) = self.gzip.as_ref().filter(|it| it.suits(exchange)) {
            exchange.head.varies |= gzip.rules.vary;
            if gzip.rules.allow(exchange) {
                packing = Some(Packing::Pack(gzip.level));
                exchange.head.add(b"Content-Encoding", b"gzip");
            }
        }
        if packing.is_some() {
            exchange.head.content_length = None;
            exchange.head.remove(b"Accept-Ranges");
            gzip::weaken(exchange);
        }
        let is_open = has_body && (exchange.head.content_length.is_none() || has_trailers);
        let chunked = is_open && self.is_chunked && exchange.request.version == Version::Http11;
        has_trailers &= chunked;
        if chunked {
            exchange.head.content_length = None;
        }
        exchange.head.is_chunked = chunked;
        // Where nothing else marks the end of a body, that of the connection does.
        let ends_by_close = has_body && !chunked && exchange.head.content_length.is_none();
        exchange.head.stays &= !ends_by_close;
        let is_recoded = packing.is_some() || substitution.is_some();
        let coding = (has_body && (is_recoded || has_trailers))
            .then(|| Box::new(Coding::new(packing, chunked, has_trailers).with(substitution)));
        Outlet { chunked, coding, has_trailers, is_recoded }
    }

    /// Appends the last chunk and the lines behind it.
    pub fn trail(&self, exchange: &mut Exchange, out: &mut Vec<u8>) {
        let status = exchange.head.status;
        for line in self.trailers.iter().filter(|it| it.applies_to(status)) {
            line.trail(exchange);
        }
        out.extend_from_slice(b"0\r\n");
        out.extend_from_slice(&exchange.trailers);
        out.extend_from_slice(b"\r\n");
    }
}

fn is_gzip(encoding: &[u8]) -> bool {
    encoding.eq_ignore_ascii_case(b"gzip")
}

/// How a body is sent.
#[derive(Debug)]
pub struct Outlet {
    /// Whether it comes in chunks.
    pub chunked: bool,
    /// What becomes of its bytes, `None` where they are sent as they are.
    pub coding: Option<Box<Coding>>,
    /// Whether lines follow it.
    pub has_trailers: bool,
    /// Whether it is compressed or unpacked, or would be if it were sent.
    pub is_recoded: bool,
}

impl Outlet {
    /// Appends bytes of a body that does not end with them.
    pub fn encode(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<(), NotPacked> {
        match &mut self.coding {
            Some(coding) => coding.encode(data, Then::More, out),
            None => {
                out.extend_from_slice(data);
                Ok(())
            }
        }
    }
}
