//! Clients that ask as fast as they are answered, and count what is lost.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use super::PATIENCE;

/// Asks on one connection after the other, each as long as it is kept; how often, and how often in
/// vain.
pub(crate) fn ask(port: u16, is_over: &AtomicBool) -> (u32, u32) {
    let (mut asked, mut lost) = (0, 0);
    let mut kept: Option<TcpStream> = None;
    while !is_over.load(Ordering::Relaxed) {
        let mut stream = kept.take().unwrap_or_else(|| {
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        });
        asked += 1;
        match exchange(&mut stream) {
            Ok(true) => kept = Some(stream),
            Ok(false) => {}
            Err(_) => lost += 1,
        }
    }
    (asked, lost)
}

/// One request; whether the connection stays.
fn exchange(stream: &mut TcpStream) -> std::io::Result<bool> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nhello") {
        let mut room = [0; 4096];
        match stream.read(&mut room)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => answer.extend_from_slice(&room[..read]),
        }
    }
    Ok(!String::from_utf8(answer).unwrap().contains("Connection: close"))
}
