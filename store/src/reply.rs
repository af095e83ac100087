//! What goes back over the wire?

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::json::{Fields, Json};

/// An answer that lacks only the headers every answer has.
pub type Reply = Response<Body>;

/// How long the parts of a request took, where a handler noted it; travels with its reply.
#[derive(Clone, Debug, Default)]
pub struct Phases(pub Vec<(&'static str, Duration)>);

/// Says whether a report was remembered.
pub const X_STORE_CACHE: HeaderName = HeaderName::from_static("x-store-cache");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A body that is there, or one that is still being read from the database.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// Pieces; a failure cuts the connection, so that a part never passes for the whole.
    Pieces(mpsc::Receiver<Result<Bytes, Cut>>),
}

/// The source of a body failed in the middle.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body ended early")]
pub struct Cut;

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pieces(pieces) => pieces.poll_recv(context).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

/// An answer of finished JSON.
pub fn json(status: StatusCode, body: Bytes) -> Reply {
    with_type(status, Body::Whole(body), JSON)
}

/// An answer of one JSON object.
pub fn object(status: StatusCode, fields: impl FnOnce(&mut Fields<'_>)) -> Reply {
    json(status, Json::with_capacity(64).object(fields).finish())
}

/// An answer of JSON that follows in pieces.
pub fn pieces(status: StatusCode, pieces: mpsc::Receiver<Result<Bytes, Cut>>) -> Reply {
    with_type(status, Body::Pieces(pieces), JSON)
}

/// An answer of some other type.
pub fn with_type(status: StatusCode, body: Body, content_type: HeaderValue) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::Whole(Bytes::new()));
    *reply.status_mut() = status;
    reply
}
