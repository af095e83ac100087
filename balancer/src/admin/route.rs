//! What can be asked for, and what is answered.

use std::net::IpAddr;

use askama::Template;
use http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::Desk;
use super::api::refusal::Refusal;
use super::api::write::{self, Done};
use super::api::{self, Asked};
use super::body::Body;
use super::events;
use super::page::Page;
use super::view::View;
use crate::metrics::{self, Format};

/// The most bytes of a change; a `server` line is far shorter.
const LONGEST_CHANGE: usize = 16 * 1024;

/// The answer to a request.
pub(super) async fn answer(
    request: Request<Incoming>,
    desk: &Desk,
    local: IpAddr,
) -> Response<Body> {
    let (method, path) = (request.method(), request.uri().path());
    let api = path.strip_prefix("/api/").filter(|it| *it != "status");
    if let Some(path) = api {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return change(request, desk).await;
        }
        let asked = Asked { path, query: request.uri().query(), local };
        let (status, json) = api::answer(&asked, &View::read(&desk.shared));
        return response(status, JSON, json.to_string());
    }
    let Some(route) = Route::find(path) else {
        return response(StatusCode::NOT_FOUND, TEXT, "not found\n");
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "method not allowed\n");
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    if route == Route::Health && desk.shared.is_stopping() {
        return response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n");
    }
    let accept = request.headers().get(ACCEPT).and_then(|it| it.to_str().ok());
    let format = Format::wanted(request.uri().query(), accept);
    match route.body(desk, format) {
        Ok(Some(body)) => response(StatusCode::OK, route.content_type(format), body),
        Ok(None) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, "too many watch\n"),
        Err(error) => {
            tracing::error!(%error, "The admin listener cannot answer {path}: {error}");
            response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "internal error\n")
        }
    }
}

/// The answer to a request that would change something.
async fn change(request: Request<Incoming>, desk: &Desk) -> Response<Body> {
    match try_change(request, desk).await {
        Ok(done) => {
            let mut response = response(done.status, JSON, done.json.to_string());
            let location = done.location.and_then(|it| HeaderValue::try_from(it).ok());
            if let Some(location) = location {
                response.headers_mut().insert(LOCATION, location);
            }
            response
        }
        Err(refusal) => {
            let (status, json) = refusal.answer();
            let mut response = response(status, JSON, json.to_string());
            if status == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer realm=\"balancer\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            }
            response
        }
    }
}

async fn try_change(request: Request<Incoming>, desk: &Desk) -> Result<Done, Refusal> {
    desk.token.as_ref().ok_or(Refusal::METHOD_DISABLED)?.check(request.headers())?;
    let (head, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_CHANGE).collect().await;
    let body = body.map_err(|_| Refusal::BODY)?.to_bytes();
    let path = head.uri.path().trim_start_matches("/api/");
    write::obey(&head.method, path, &body, &desk.shared)
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
    ChangeScript,
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
            "/assets/change.js" => Some(Self::ChangeScript),
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
            Self::Script | Self::ChangeScript => "text/javascript; charset=utf-8",
        }
    }

    /// What follows the head; `None` when it cannot be had now.
    fn body(self, desk: &Desk, format: Format) -> anyhow::Result<Option<Body>> {
        let watch = &desk.watch;
        Ok(Some(match self {
            Self::Page => Page::of(&watch.view(), watch.can_change).render()?.into(),
            Self::Events => return Ok(events::stream(watch)),
            Self::Status => serde_json::to_vec(&watch.view())?.into(),
            Self::Metrics => exposition(View::read(&desk.shared), format),
            Self::Health => "ok\n".into(),
            Self::Style => include_str!("../../assets/style.css").into(),
            Self::Script => include_str!("../../assets/live.js").into(),
            Self::ChangeScript => include_str!("../../assets/change.js").into(),
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
