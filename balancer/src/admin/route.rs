//! What can be asked for, and what is answered.

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::api::refusal::Refusal;
use super::api::{self, Asked};
use super::body::Body;
use super::events;
use super::page::Page;
use super::view::View;
use super::watch::Watch;
use crate::engine::Shared;
use crate::metrics::{self, Format};

/// The answer to a request.
pub(super) fn answer<B>(
    request: &Request<B>,
    watch: &Arc<Watch>,
    shared: &Shared,
    local: IpAddr,
) -> Response<Body> {
    let (method, path) = (request.method(), request.uri().path());
    let api = path.strip_prefix("/api/").filter(|it| *it != "status");
    if let Some(path) = api {
        return api_answer(method, &Asked { path, query: request.uri().query(), local }, shared);
    }
    let Some(route) = Route::find(path) else {
        return response(StatusCode::NOT_FOUND, TEXT, "not found\n");
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    if route == Route::Health && shared.is_stopping() {
        return response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n");
    }
    let accept = request.headers().get(ACCEPT).and_then(|it| it.to_str().ok());
    let format = Format::wanted(request.uri().query(), accept);
    match route.body(watch, shared, format) {
        Ok(Some(body)) => response(StatusCode::OK, route.content_type(format), body),
        Ok(None) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many watch\n"),
        Err(error) => {
            tracing::error!(%error, "The admin listener cannot answer {path}: {error}");
            response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "internal error\n")
        }
    }
}

/// The answer to a request for what nginx's status API has.
fn api_answer(method: &Method, asked: &Asked<'_>, shared: &Shared) -> Response<Body> {
    let (status, json) = match *method {
        Method::GET | Method::HEAD => api::answer(asked, &View::read(shared)),
        _ => Refusal::METHOD_DISABLED.answer(),
    };
    response(status, JSON, json.to_string())
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Route {
    Page,
    Events,
    Status,
    Metrics,
    Health,
    Style,
    Script,
}

impl Route {
    fn find(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Page),
            "/events" => Some(Self::Events),
            "/api/status" => Some(Self::Status),
            "/metrics" => Some(Self::Metrics),
            "/health" => Some(Self::Health),
            "/assets/style.css" => Some(Self::Style),
            "/assets/live.js" => Some(Self::Script),
            _ => None,
        }
    }

    fn content_type(self, format: Format) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Events => "text/event-stream",
            Self::Status => JSON,
            Self::Metrics => format.content_type(),
            Self::Health => TEXT,
            Self::Style => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
        }
    }

    /// What follows the head; `None` when it cannot be had now.
    fn body(
        self,
        watch: &Arc<Watch>,
        shared: &Shared,
        format: Format,
    ) -> anyhow::Result<Option<Body>> {
        Ok(Some(match self {
            Self::Page => Page::of(&watch.view()).render()?.into(),
            Self::Events => return Ok(events::stream(watch)),
            Self::Status => serde_json::to_vec(&watch.view())?.into(),
            Self::Metrics => exposition(View::read(shared), format),
            Self::Health => "ok\n".into(),
            Self::Style => include_str!("../../assets/style.css").into(),
            Self::Script => include_str!("../../assets/live.js").into(),
        }))
    }
}

/// Servers above which the exposition is made beside what else this thread does.
const MANY_SERVERS: usize = 200;

fn exposition(view: View, format: Format) -> Body {
    let servers: usize = view.upstreams.iter().map(|it| it.servers.len()).sum();
    if servers <= MANY_SERVERS {
        let mut whole = Vec::new();
        metrics::write(&view, format, &mut |portion| whole.append(portion));
        return whole.into();
    }
    let (portions, body) = Body::in_portions();
    tokio::task::spawn_blocking(move || {
        metrics::write(&view, format, &mut |portion| {
            // A reader that leaves is its own business.
            let _ = portions.blocking_send(std::mem::take(portion).into());
        });
    });
    body
}

const JSON: &str = "application/json";

const TEXT: &str = "text/plain; charset=utf-8";

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Names come from configurations: should one ever get through as markup, it loads nothing.
    let policy = HeaderValue::from_static(
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'",
    );
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}
