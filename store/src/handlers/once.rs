//! How is a request that came twice done once?

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::api_error::ApiError;
use crate::app::App;
use crate::db::idempotency::{Key, Stored};
use crate::reply::{self, Phases, Reply};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What became of a request that makes something.
#[derive(Debug)]
pub enum Made {
    /// It was made now.
    Now(Bytes, Phases),
    /// It was made before, and this was the answer.
    Before(Stored),
}

impl Made {
    /// The answer: 201 now, or what it was before.
    pub fn into_reply(self, app: &App) -> Reply {
        match self {
            Self::Now(body, phases) => {
                let mut reply = reply::json(StatusCode::CREATED, body);
                reply.extensions_mut().insert(phases);
                reply
            }
            Self::Before(stored) => {
                app.metrics().replays.inc();
                let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::CREATED);
                let mut reply = reply::json(status, stored.body.into());
                reply.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
                reply
            }
        }
    }
}

/// The key of a request, `None` when it has none; a malformed one is refused.
pub fn key(
    headers: &HeaderMap,
    method: &Method,
    route: &'static str,
    body: &[u8],
) -> Result<Option<Key>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|it| {
        (1..=255).contains(&it.len()) && it.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let (Some(text), None) = (text, values.next()) else {
        return Err(ApiError::bad_body(
            "Idempotency-Key must be 1 to 255 visible ASCII characters.",
        ));
    };
    let mut hash = Sha256::new();
    for part in [method.as_str().as_bytes(), b" ", route.as_bytes(), b"\n", body] {
        hash.update(part);
    }
    Ok(Some(Key { text: text.to_owned(), route, fingerprint: hash.finalize().into() }))
}
