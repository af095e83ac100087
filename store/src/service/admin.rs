//! Who may turn the switches of the stage?
//!
//! Whoever reaches the admin listener, and knows its token if there is one.

use std::sync::Arc;

use http::header::{ALLOW, AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use super::{Answers, body};
use crate::api_error::ApiError;
use crate::app::App;
use crate::handlers::{parse_object, stage};
use crate::reply::{self, Reply};

const PATH: &str = "/admin/stage";
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, PUT, OPTIONS");

/// The admin listener's answers; cloning shares it.
#[derive(Clone, Debug)]
pub struct Admin(Arc<App>);

impl Admin {
    /// Over the switches of `app`.
    pub fn new(app: Arc<App>) -> Self {
        Self(app)
    }

    async fn outcome(&self, request: Request<Incoming>) -> Result<Reply, ApiError> {
        let app = &self.0;
        if request.uri().path() != PATH {
            return Err(ApiError::new(StatusCode::NOT_FOUND, "Not found."));
        }
        let token = app.config.admin.as_ref().and_then(|it| it.token.as_deref());
        if token.is_some_and(|it| !is_authorized(&request, it)) {
            let message = "Authorization must be Bearer STORE_ADMIN_TOKEN.";
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, message));
        }
        match *request.method() {
            Method::GET | Method::HEAD => Ok(stage::show(app)),
            Method::OPTIONS => Ok(allowing(reply::empty(StatusCode::NO_CONTENT))),
            Method::PUT => {
                let (head, body) = request.into_parts();
                let bytes = body::read(&head.headers, body, app.config.limits.body).await?;
                stage::change(app, &parse_object(&bytes)?).await
            }
            _ => Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.")),
        }
    }
}

impl Answers for Admin {
    async fn answer(self, request: Request<Incoming>) -> Reply {
        self.outcome(request).await.unwrap_or_else(|error| refusal(&error))
    }
}

fn refusal(error: &ApiError) -> Reply {
    if let Some(cause) = &error.cause {
        tracing::warn!("Switches were not turned: {cause:#}");
    }
    let mut reply = reply::object(error.status, |it| it.text("error", &error.message));
    if let Some(wait) = error.retry_after {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    match error.status {
        StatusCode::UNAUTHORIZED => {
            reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            reply
        }
        StatusCode::METHOD_NOT_ALLOWED => allowing(reply),
        _ => reply,
    }
}

fn allowing(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(ALLOW, METHODS);
    reply
}

fn is_authorized(request: &Request<Incoming>, token: &str) -> bool {
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    given.strip_prefix(b"Bearer ").is_some_and(|it| is_same(it, token.as_bytes()))
}

/// Takes as long for a wrong token as for a right one.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differences = given.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == token.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn only_the_whole_token_opens() {
        assert!(is_same(b"secret", b"secret"));
        for wrong in ["", "secre", "secrets", "Secret"] {
            assert!(!is_same(wrong.as_bytes(), b"secret"), "{wrong}");
        }
    }
}
