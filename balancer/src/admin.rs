//! What does the balancer say of itself, and to whom?
//!
//! To whoever reaches the address of `--admin`, over a server of its own: a proxy that is busy, or
//! whose workers hang, still answers here. What can be changed through it is changed by whoever knows
//! the token of `--admin-token-file`; without one, nothing is.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::engine::Shared;

use self::watch::Watch;

pub use self::token::Token;

mod api;
mod body;
mod events;
mod page;
mod route;
mod token;
pub mod view;
mod watch;

/// Connections at a time; the next one waits in the backlog.
const CONNECTIONS: usize = 64;

/// From the first wait to the end of a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);

/// What every answer is made of.
#[derive(Debug)]
struct Desk {
    watch: Arc<Watch>,
    shared: Arc<Shared>,
    /// Who may change something, `None` for nobody.
    token: Option<Token>,
}

/// Answers on a listener until dropped; whoever knows the token may change something. Needs a
/// runtime with I/O and time.
pub async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>, token: Option<Token>) {
    let listener =
        match listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "The admin address cannot be served: {error}");
                return;
            }
        };
    let watch = Arc::new(Watch::new(Arc::clone(&shared), token.is_some()));
    let keeper = Arc::clone(&watch);
    let desk = Arc::new(Desk { watch, shared, token });
    // Ends with the listener.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { keeper.keep().await });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move {
                    connection(stream, &desk).await;
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

async fn connection(stream: TcpStream, desk: &Desk) {
    let local = stream.local_addr().map_or(IpAddr::from([0; 4]), |it| it.ip());
    let service = service_fn(async |it: Request<Incoming>| {
        Ok::<_, Infallible>(route::answer(it, desk, local).await)
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // A reader that leaves is its own business.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
