//! What is said where nothing can be given: nginx's codes and words.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, RandomState};

use http::StatusCode;
use serde_json::{Value, json};

/// Where nginx tells of its errors.
const HREF: &str = "https://nginx.org/en/docs/http/ngx_http_api_module.html";

/// An answer that is an error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::admin) struct Refusal {
    status: StatusCode,
    code: &'static str,
    text: Cow<'static, str>,
}

impl Refusal {
    pub(in crate::admin) const UNKNOWN_VERSION: Self =
        Self::of(StatusCode::NOT_FOUND, "UnknownVersion", "unknown version");
    pub(in crate::admin) const NO_PATH: Self =
        Self::of(StatusCode::NOT_FOUND, "PathNotFound", "path not found");
    pub(in crate::admin) const NO_SERVER_ZONE: Self =
        Self::of(StatusCode::NOT_FOUND, "ServerZoneNotFound", "server zone not found");
    pub(in crate::admin) const NO_UPSTREAM: Self =
        Self::of(StatusCode::NOT_FOUND, "UpstreamNotFound", "upstream not found");
    pub(in crate::admin) const BAD_SERVER_ID: Self =
        Self::of(StatusCode::BAD_REQUEST, "UpstreamBadServerId", "invalid server ID");
    pub(in crate::admin) const METHOD_DISABLED: Self =
        Self::of(StatusCode::METHOD_NOT_ALLOWED, "MethodDisabled", "method disabled");

    const fn of(status: StatusCode, code: &'static str, text: &'static str) -> Self {
        Self { status, code, text: Cow::Borrowed(text) }
    }

    pub(in crate::admin) fn no_server(id: u32) -> Self {
        let text = Cow::Owned(format!("server with ID \"{id}\" does not exist"));
        Self { status: StatusCode::NOT_FOUND, code: "UpstreamServerNotFound", text }
    }

    /// Its status and body.
    pub(in crate::admin) fn answer(&self) -> (StatusCode, Value) {
        let id = [0, 1].map(|it| RandomState::new().hash_one(it));
        let body = json!({
            "error": {"status": self.status.as_u16(), "text": self.text, "code": self.code},
            "request_id": format!("{:016x}{:016x}", id[0], id[1]),
            "href": HREF,
        });
        (self.status, body)
    }
}
