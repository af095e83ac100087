//! How does a request become a response, and an error a status?
//!
//! From outside to inside: request id, in-flight limit, deadline, body limit, route. This is the
//! only place that turns an [`ApiError`] into a response and that logs its cause.

pub mod admin;
mod body;

use std::convert::Infallible;
use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::header::{ALLOW, CONNECTION, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::{Semaphore, TryAcquireError};

use crate::api_error::ApiError;
use crate::app::App;
use crate::config::{Compat, ServerTiming};
use crate::db::seconds;
use crate::handlers::{
    docs, graphql, once, orders, parse_object, products, reports, status, stocks, users,
};
use crate::reply::{self, Phases, Reply};
use crate::route::{Match, Route, Routes};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_STORE_INSTANCE: HeaderName = HeaderName::from_static("x-store-instance");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What answers the requests of a listener; a clone of it answers one of them.
pub trait Answers: Clone + Send + 'static {
    /// Answers a request; there is an answer to each.
    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Reply> + Send;
}

/// What answers, as a tower service.
#[derive(Clone, Debug)]
pub struct Answering<A>(pub A);

impl<A: Answers> tower::Service<Request<Incoming>> for Answering<A> {
    type Response = Reply;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let answer = self.0.clone().answer(request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// The API; cloning shares it.
#[derive(Clone)]
pub struct Shop(Arc<Inner>);

struct Inner {
    app: Arc<App>,
    routes: Routes,
    graphql: graphql::Api,
    docs: docs::Docs,
    instance: HeaderValue,
    slots: Option<Semaphore>,
    /// Counts requests, from a start that differs between replicas; makes request ids.
    ids: AtomicU64,
}

impl Shop {
    /// Puts the layers around the routes.
    pub fn new(app: Arc<App>) -> anyhow::Result<Self> {
        let instance = HeaderValue::from_str(&app.config.instance)
            .unwrap_or_else(|_| HeaderValue::from_static("store"));
        let slots = app.config.limits.in_flight.map(Semaphore::new);
        let start = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |it| it.as_nanos());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "only the low bits differ between replicas"
        )]
        let ids = AtomicU64::new((start as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let graphql = graphql::schema(&app.config);
        let docs = docs::Docs::new(&app.config)?;
        Ok(Self(Arc::new(Inner {
            graphql,
            docs,
            app,
            routes: Routes::new(),
            instance,
            slots,
            ids,
        })))
    }
}

impl std::fmt::Debug for Shop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shop").field("app", &self.0.app).finish_non_exhaustive()
    }
}

impl Answers for Shop {
    async fn answer(self, request: Request<Incoming>) -> Reply {
        self.0.answer(request).await
    }
}

impl Inner {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let started = Instant::now();
        let metrics = self.app.metrics();
        let _active = Active::new(&metrics.active);
        let (found, template) = self.routes.find(request.method(), request.uri().path());
        let method = method_label(request.method());
        let mark = Mark {
            route: template,
            id: self.request_id(&request),
            trace: request.headers().get(TRACEPARENT).cloned(),
        };
        let outcome = match found {
            Match::Found(route) => {
                match route {
                    Route::CreateOrder => drop(metrics.orders.inc()),
                    Route::Report(report) => drop(metrics.reports[report.position()].inc()),
                    _ => (),
                }
                match catching(self.limited(route, request)).await {
                    Ok(outcome) => outcome,
                    Err(panic) => {
                        metrics.panics.inc();
                        Err(ApiError::internal(anyhow::anyhow!("panic: {panic}")))
                    }
                }
            }
            Match::Options(allow) => Ok(allowing(reply::empty(StatusCode::NO_CONTENT), &allow)),
            Match::WrongMethod(allow) => {
                let error = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed.");
                Ok(allowing(self.error_reply(&error, &mark), &allow))
            }
            Match::Unknown => Err(ApiError::new(StatusCode::NOT_FOUND, "Not found.")),
        };
        let mut reply = outcome.unwrap_or_else(|error| self.error_reply(&error, &mark));
        let phases = reply.extensions_mut().remove::<Phases>();
        let status = reply.status().as_u16();
        let headers = reply.headers_mut();
        headers.insert(X_STORE_INSTANCE, self.instance.clone());
        tracing::debug!(
            route = template,
            method,
            status,
            duration_ms = started.elapsed().as_secs_f64() * 1000.0,
            request_id = mark.id(),
            traceparent = mark.trace(),
            "Answered {method} {template} with {status}"
        );
        headers.insert(X_REQUEST_ID, mark.id);
        if self.app.config.server_timing == ServerTiming::On {
            headers.insert(SERVER_TIMING, timing(&phases.unwrap_or_default(), started.elapsed()));
        }
        if self.app.health.is_draining() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let labels =
            [("route", template), ("method", method), ("code", code_class(reply.status()))];
        metrics.requests.get_or_create(&labels).observe(started.elapsed().as_secs_f64());
        reply
    }

    /// The in-flight limit and the deadline; the three status routes pass both.
    async fn limited(&self, route: Route, request: Request<Incoming>) -> Result<Reply, ApiError> {
        match route {
            Route::Health => return Ok(status::health()),
            Route::Ready => return Ok(status::ready(&self.app)),
            Route::Metrics => return status::metrics(&self.app),
            Route::OpenApi => return Ok(self.docs.document()),
            Route::Docs => return Ok(self.docs.page()),
            _ => (),
        }
        let limits = &self.app.config.limits;
        let _slot = match self.slots.as_ref().map(Semaphore::try_acquire) {
            Some(Err(TryAcquireError::NoPermits | TryAcquireError::Closed)) => {
                let most = limits.in_flight.unwrap_or(0);
                let message = format!(
                    "Too many requests at once: the limit is {most} (STORE_MAX_IN_FLIGHT)."
                );
                return Err(ApiError::shed("in_flight", 1, message));
            }
            Some(Ok(slot)) => Some(slot),
            None => None,
        };
        // All handlers' states are in here: what is around it moves a pointer instead.
        let work = Box::pin(self.dispatch(route, request));
        let Some(deadline) = limits.timeout else { return work.await };
        tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| {
            let message = format!(
                "The request was not finished within {} (STORE_REQUEST_TIMEOUT).",
                seconds(deadline)
            );
            Err(ApiError::shed("deadline", 1, message))
        })
    }

    async fn dispatch(&self, route: Route, request: Request<Incoming>) -> Result<Reply, ApiError> {
        let app = &self.app;
        match route {
            Route::Health => Ok(status::health()),
            Route::Ready => Ok(status::ready(app)),
            Route::Metrics => status::metrics(app),
            Route::OpenApi => Ok(self.docs.document()),
            Route::Docs => Ok(self.docs.page()),
            Route::Report(report) => reports::show(app, report).await,
            Route::Order(id) => orders::show(app, id).await,
            Route::DeleteOrder(id) => orders::delete(app, id).await,
            Route::Product(id) => products::show(app, id).await,
            Route::DeleteProduct(id) => products::delete(app, id).await,
            Route::User(id) => users::show(app, id).await,
            Route::DeleteUser(id) => users::delete(app, id).await,
            Route::Stock(id) => stocks::show(app, id).await,
            Route::StockOverview => stocks::overview(app).await,
            Route::CreateOrder
            | Route::CreateProduct
            | Route::CreateUser
            | Route::SetStock
            | Route::GraphQl => {
                let (head, body) = request.into_parts();
                let bytes = body::read(&head.headers, body, app.config.limits.body).await?;
                let fields = parse_object(&bytes)?;
                let key = |route| once::key(&head.headers, &head.method, route, &bytes);
                match route {
                    Route::CreateOrder => orders::create(app, &fields, key("/orders")?).await,
                    Route::CreateProduct => products::create(app, &fields, key("/products")?).await,
                    Route::CreateUser => users::create(app, &fields, key("/users")?).await,
                    Route::GraphQl => graphql::query(app, &self.graphql, &fields).await,
                    _ => stocks::set(app, &fields).await,
                }
            }
        }
    }

    /// The one place where an error becomes a response, and where its cause is logged.
    fn error_reply(&self, error: &ApiError, mark: &Mark) -> Reply {
        if let Some(reason) = error.shed {
            self.app.metrics().shed.get_or_create(&[("reason", reason)]).inc();
        }
        if let Some(cause) = &error.cause {
            let (route, request_id, traceparent) = (mark.route, mark.id(), mark.trace());
            if error.status == StatusCode::INTERNAL_SERVER_ERROR {
                tracing::error!(route, request_id, traceparent, "Request failed: {cause:#}");
            } else {
                tracing::warn!(route, request_id, traceparent, "Request refused: {cause:#}");
            }
        }
        let lab = error.lab_failure && self.app.config.compat != Compat::Off;
        let status = if lab { StatusCode::INTERNAL_SERVER_ERROR } else { error.status };
        let mut reply = reply::object(status, |it| it.text("error", &error.message));
        if let Some(wait) = error.retry_after {
            reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
        reply
    }

    /// The client's request id if it is a harmless one, else a new one.
    fn request_id(&self, request: &Request<Incoming>) -> HeaderValue {
        let harmless = |it: &&HeaderValue| {
            (1..=128).contains(&it.len()) && it.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        request.headers().get(X_REQUEST_ID).filter(harmless).cloned().unwrap_or_else(|| {
            // Relaxed: each request needs a number of its own, in no particular order.
            let id = self.ids.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let text = format!("{:016x}", id ^ (id >> 31));
            HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
                .expect("hexadecimal digits may stand in a header")
        })
    }
}

/// What a line of the log says about the request it is about.
struct Mark {
    route: &'static str,
    id: HeaderValue,
    trace: Option<HeaderValue>,
}

impl Mark {
    fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// Where the caller's trace is, empty when there is none that can be printed.
    fn trace(&self) -> &str {
        let text = self.trace.as_ref().and_then(|it| it.to_str().ok());
        text.filter(|it| it.len() <= 128).unwrap_or_default()
    }
}

/// The phases in the order they were passed, then the whole, in milliseconds.
fn timing(phases: &Phases, total: Duration) -> HeaderValue {
    let mut text = String::with_capacity(160);
    for (name, took) in phases.0.iter().copied().chain([("total", total)]) {
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}{name};dur={:.3}", took.as_secs_f64() * 1000.0)
            .expect("a string takes any text");
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
        .expect("names and numbers may stand in a header")
}

/// One request counted as active, until dropped.
struct Active<'a>(&'a prometheus_client::metrics::gauge::Gauge);

impl<'a> Active<'a> {
    fn new(gauge: &'a prometheus_client::metrics::gauge::Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Runs a future so that its panic costs this request only.
async fn catching<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(move |context| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|it| (*it).to_owned());
                Poll::Ready(Err(text
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_default()))
            }
        }
    })
    .await
}

fn allowing(mut reply: Reply, methods: &str) -> Reply {
    let methods = HeaderValue::from_str(methods).expect("method names may stand in a header");
    reply.headers_mut().insert(ALLOW, methods);
    reply
}

fn method_label(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn code_class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "1xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_layers_around_a_request_are_small() {
        let shop = size(|(shop, request): (Shop, Request<Incoming>)| shop.answer(request));
        assert!(shop < 4096, "{shop} bytes are moved for each request");
    }
}
