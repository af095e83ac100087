//! What does the balancer say of itself, and to whom?
//!
//! To whoever reaches the address of `--admin`, over a server of its own: a proxy that is busy, or
//! whose workers hang, still answers here. Nothing can be changed through it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::engine::Shared;
use crate::metrics;

use self::page::Page;
use self::view::View;

pub mod page;
pub mod view;

/// Connections at a time; the next one waits in the backlog.
const CONNECTIONS: usize = 64;

/// From the first wait to the end of a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);

/// Answers on a listener until dropped. Needs a runtime with I/O and time.
pub async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener =
        match listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "The admin address cannot be served: {error}");
                return;
            }
        };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    connection(stream, &shared).await;
                    drop(place);
                });
            }
            Err(error) => wait_after(&error).await,
        }
    }
}

/// Without a pause, a lack of file descriptors would become a busy loop.
async fn wait_after(error: &io::Error) {
    const PAUSE: Duration = Duration::from_millis(100);
    if error.kind() != io::ErrorKind::ConnectionAborted {
        tracing::error!(%error, "accept() on the admin address failed: {error}");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn connection(stream: TcpStream, shared: &Shared) {
    let service = service_fn(|it: Request<Incoming>| {
        let response = answer(it.method(), it.uri().path(), shared);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // A reader that leaves is its own business.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// The answer to a request.
fn answer(method: &Method, path: &str, shared: &Shared) -> Response<Full<Bytes>> {
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
    match route.body(shared) {
        Ok(body) => response(StatusCode::OK, route.content_type(), body),
        Err(error) => {
            tracing::error!(%error, "The admin listener cannot answer {path}: {error}");
            response(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "internal error\n")
        }
    }
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Route {
    Page,
    Status,
    Metrics,
    Health,
    Style,
}

impl Route {
    fn find(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Page),
            "/api/status" => Some(Self::Status),
            "/metrics" => Some(Self::Metrics),
            "/health" => Some(Self::Health),
            "/assets/style.css" => Some(Self::Style),
            _ => None,
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Page => "text/html; charset=utf-8",
            Self::Status => "application/json",
            Self::Metrics => metrics::CONTENT_TYPE,
            Self::Health => TEXT,
            Self::Style => "text/css; charset=utf-8",
        }
    }

    fn body(self, shared: &Shared) -> anyhow::Result<String> {
        Ok(match self {
            Self::Page => Page { view: &View::read(shared) }.render()?,
            Self::Status => serde_json::to_string(&View::read(shared))?,
            Self::Metrics => metrics::encode(View::read(shared))?,
            Self::Health => "ok\n".to_owned(),
            Self::Style => include_str!("../assets/style.css").to_owned(),
        })
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Names come from configurations: should one ever get through as markup, it loads nothing.
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'self'");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}
