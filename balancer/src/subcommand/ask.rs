//! What does an admin listener answer?

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Where the examples have the admin listener.
pub(super) const ADDRESS: &str = "127.0.0.1:8081";

/// Longest wait for it to be reached, and for each piece of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status and the body it answers a GET for `path` with.
pub(super) fn get(address: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
    let address: SocketAddr = address.parse().map_err(|_| invalid("no address and port"))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = memchr::memmem::find(&answer, b"\r\n\r\n").ok_or_else(|| invalid("no HTTP"))?;
    let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|it| it.get(..3));
    let status = status.and_then(|it| str::from_utf8(it).ok()).and_then(|it| it.parse().ok());
    Ok((status.ok_or_else(|| invalid("no HTTP"))?, answer.split_off(end + 4)))
}

/// What a person is told when it cannot be had.
pub(super) fn cannot(address: &str, error: &io::Error) -> String {
    format!("[error] the admin listener at {address} does not answer: {error}")
}
