//! How much of a body is read, of which type, and for how long?

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};

use crate::api_error::ApiError;

/// Longest time for a whole body.
const DEADLINE: Duration = Duration::from_secs(10);

/// Reads the JSON body of a request, up to `limit` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let given = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    if !given.is_some_and(is_json) {
        let message = "Content-Type must be application/json.";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    if usize::try_from(body.size_hint().lower()).map_or(true, |it| limit < it) {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(DEADLINE, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(_)) => Err(ApiError::bad_body("The body is incomplete.")),
        Err(_) => {
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "The body did not arrive within 10s."))
        }
    }
}

fn is_json(content_type: &str) -> bool {
    let media = content_type.split(';').next().unwrap_or("").trim();
    let Some(subtype) =
        media.get(.."application/".len()).filter(|it| it.eq_ignore_ascii_case("application/"))
    else {
        return false;
    };
    let subtype = media[subtype.len()..].to_ascii_lowercase();
    subtype == "json" || subtype.strip_suffix("+json").is_some_and(|it| !it.is_empty())
}

fn too_large(limit: usize) -> ApiError {
    let message = format!("The body is limited to {limit} bytes (STORE_MAX_BODY).");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn json_types_are_taken_and_others_are_not() {
        for taken in
            ["application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json"]
        {
            assert!(is_json(taken), "{taken}");
        }
        for refused in ["", "text/plain", "application/+json", "application/jsonp", "text/json"] {
            assert!(!is_json(refused), "{refused}");
        }
    }
}
