//! How does a replica live, from the open port to the last answer?

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::service::Shop;
use crate::service::admin::Admin;
use crate::{life, repair, server};

/// Connections the system keeps while nobody accepts them.
const BACKLOG: u32 = 4096;

/// Serves until a signal.
pub(super) async fn run(config: Config) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let listener = listen("STORE_LISTEN", config.listen)?;
    let admin = config.admin.as_ref().map(|it| listen("STORE_ADMIN_LISTEN", it.listen));
    let admin = admin.transpose()?;
    let app = Arc::new(App::new(config)?);
    let shop = Shop::new(Arc::clone(&app))?;
    let address = listener.local_addr()?;
    let instance = &app.config.instance;
    tracing::info!(%address, %instance, "Listening on {address} as {instance}");
    let life = tokio::spawn(life::run(Arc::clone(&app)));
    let redis = tokio::spawn(life::watch_redis(Arc::clone(&app)));

    let admin = admin.map(|listener| {
        let (admin, drain) = (Admin::new(Arc::clone(&app)), app.config.drain_timeout);
        tokio::spawn(server::run(listener, admin, std::future::pending(), drain))
    });

    let draining = Arc::clone(&app);
    let (second, mut again) = tokio::sync::oneshot::channel();
    let shutdown = async move {
        signals.next().await;
        draining.health.drain();
        tracing::info!("Draining");
        tokio::spawn(async move {
            signals.next().await;
            // Nobody listens when the drain ended first.
            let _ = second.send(());
        });
        tokio::time::sleep(draining.config.drain_delay).await;
    };
    let serving = server::run(listener, shop, shutdown, app.config.drain_timeout);
    tokio::select! {
        () = serving => tracing::info!("Drained"),
        Ok(()) = &mut again => {
            tracing::warn!("Second signal: requests in flight are dropped");
            return Ok(ExitCode::SUCCESS);
        }
    }
    life.abort();
    repair::flush(&app, app.config.drain_timeout).await;
    redis.abort();
    if let Some(admin) = admin {
        admin.abort();
    }
    app.db.close().await;
    Ok(ExitCode::SUCCESS)
}

fn listen(variable: &str, address: SocketAddr) -> Result<TcpListener> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!("{variable}={address}: address already in use")
        }
        _ => anyhow::Error::new(error).context(format!("{variable}={address}")),
    })
}

/// TERM, INT and QUIT.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> Result<Self> {
        let on = |kind| signal(kind).context("signals cannot be received");
        Ok(Self([
            on(SignalKind::terminate())?,
            on(SignalKind::interrupt())?,
            on(SignalKind::quit())?,
        ]))
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        let [term, int, quit] = &mut self.0;
        tokio::select! {
            _ = term.recv() => (),
            _ = int.recv() => (),
            _ = quit.recv() => (),
        }
    }
}
