//! Is the replica on this port ready? For images without a shell.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest time for the whole question.
const DEADLINE: Duration = Duration::from_secs(3);

/// Asks `/ready` on the port of the public listener.
pub(super) async fn run(mut listen: SocketAddr) -> Result<ExitCode> {
    if listen.ip().is_unspecified() {
        listen.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let answer =
        tokio::time::timeout(DEADLINE, ask(listen)).await.context("no answer within 3s")??;
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("not ready: {}", answer.lines().last().unwrap_or("no answer"));
}

async fn ask(address: SocketAddr) -> Result<String> {
    let mut stream =
        TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(64 << 10).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
