//! What is said where nothing can be given: nginx's codes and words.

use std::borrow::Cow;
use std::hash::{BuildHasher as _, RandomState};

use http::StatusCode;
use serde_json::{Value, json};

use crate::upstream::Refused;

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

    pub(in crate::admin) const NO_TOKEN: Self =
        Self::of(StatusCode::UNAUTHORIZED, "Unauthorized", "a token is asked for");
    pub(in crate::admin) const WRONG_TOKEN: Self =
        Self::of(StatusCode::FORBIDDEN, "Forbidden", "the token is not the right one");
    pub(in crate::admin) const BODY: Self =
        Self::of(StatusCode::BAD_REQUEST, "BodyReadError", "reading request body failed");
    pub(in crate::admin) const JSON: Self =
        Self::of(StatusCode::UNSUPPORTED_MEDIA_TYPE, "JsonError", "json error");
    pub(in crate::admin) const IMMUTABLE: Self =
        Self::of(StatusCode::BAD_REQUEST, "UpstreamServerImmutable", "server address is immutable");

    const fn of(status: StatusCode, code: &'static str, text: &'static str) -> Self {
        Self { status, code, text: Cow::Borrowed(text) }
    }

    pub(in crate::admin) fn no_server(id: u32) -> Self {
        let text = Cow::Owned(format!("server with ID \"{id}\" does not exist"));
        Self { status: StatusCode::NOT_FOUND, code: "UpstreamServerNotFound", text }
    }

    /// The value of a parameter is not understood.
    pub(in crate::admin) fn bad(code: &'static str, name: &str) -> Self {
        let text = Cow::Owned(format!("invalid \"{name}\""));
        Self { status: StatusCode::BAD_REQUEST, code, text }
    }

    /// What is asked for is not understood.
    pub(in crate::admin) fn format(text: impl Into<Cow<'static, str>>) -> Self {
        let code = "UpstreamConfFormatError";
        Self { status: StatusCode::BAD_REQUEST, code, text: text.into() }
    }

    /// The address is none.
    pub(in crate::admin) fn address(text: String) -> Self {
        let (status, code) = (StatusCode::BAD_REQUEST, "UpstreamBadAddress");
        Self { status, code, text: text.into() }
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

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let (status, code) = match refused {
            Refused::Unknown => (StatusCode::NOT_FOUND, "UpstreamServerNotFound"),
            Refused::Known => (StatusCode::CONFLICT, "EntryExists"),
            Refused::Parameter(_) => (StatusCode::BAD_REQUEST, "UpstreamConfFormatError"),
            Refused::Policy(_) | Refused::Key(_) => (StatusCode::BAD_REQUEST, "UpstreamBadPolicy"),
        };
        Self { status, code, text: refused.to_string().into() }
    }
}
