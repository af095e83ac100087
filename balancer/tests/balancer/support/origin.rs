//! A server behind the balancer that records what reaches it and answers as it is told.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Request line and header lines, the empty line included.
    pub(crate) head: String,
    /// Without its framing.
    pub(crate) body: Vec<u8>,
    /// Number of the request on its connection, from 0.
    pub(crate) nth: usize,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }

    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// It waits for another request.
    Keep,
    /// It ends.
    Close,
    /// It is reset.
    Reset,
}

#[derive(Debug, Default)]
struct Records {
    seen: Mutex<Vec<Seen>>,
    streams: Mutex<Vec<Option<TcpStream>>>,
    opened: AtomicUsize,
    ended: AtomicUsize,
    is_closing: AtomicBool,
}

/// A server on a port of its own, until dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) port: u16,
    address: SocketAddr,
    records: Arc<Records>,
    acceptor: Option<JoinHandle<()>>,
}

impl Origin {
    /// Reads requests to their end and hands each to `play`, which writes the answer.
    pub(crate) fn start(
        play: impl Fn(&Seen, &mut TcpStream) -> Next + Send + Sync + 'static,
    ) -> Self {
        Self::at(0, play)
    }

    /// As [`Origin::start`], on a certain port.
    pub(crate) fn at(
        port: u16,
        play: impl Fn(&Seen, &mut TcpStream) -> Next + Send + Sync + 'static,
    ) -> Self {
        Self::on(SocketAddr::from(([127, 0, 0, 1], port)), play)
    }

    /// As [`Origin::start`], on a certain address.
    pub(crate) fn on(
        address: SocketAddr,
        play: impl Fn(&Seen, &mut TcpStream) -> Next + Send + Sync + 'static,
    ) -> Self {
        Self::serve(address, move |mut stream, connection, records| {
            let mut input = Vec::new();
            for nth in 0.. {
                let Ok(Some((head, body))) = read_request(&mut stream, &mut input) else { break };
                let seen = Seen { head, body, nth };
                records.seen.lock().unwrap().push(seen.clone());
                match play(&seen, &mut stream) {
                    Next::Keep => {}
                    Next::Close => break,
                    Next::Reset => {
                        socket2::SockRef::from(&stream)
                            .set_linger(Some(std::time::Duration::ZERO))
                            .unwrap();
                        records.streams.lock().unwrap()[connection] = None;
                        return;
                    }
                }
            }
            // The copy that is kept for the end would hold the connection open.
            let _ = stream.shutdown(Shutdown::Both);
        })
    }

    /// Answers every request with its name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::start(move |_, stream| text(stream, name))
    }

    /// Hands each connection to `serve` as it is, with nothing read from it.
    pub(crate) fn raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::serve(any, move |stream, _, _| serve(stream))
    }

    fn serve(
        address: SocketAddr,
        serve: impl Fn(TcpStream, usize, &Records) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let records = Arc::<Records>::default();
        let kept = Arc::clone(&records);
        let serve = Arc::new(serve);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if kept.is_closing.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let number = kept.opened.fetch_add(1, Ordering::SeqCst);
                kept.streams.lock().unwrap().push(stream.try_clone().ok());
                let (serve, kept) = (Arc::clone(&serve), Arc::clone(&kept));
                thread::spawn(move || {
                    serve(stream, number, &kept);
                    kept.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { port: address.port(), address, records, acceptor: Some(acceptor) }
    }

    /// `127.0.0.1:PORT`, as the configuration and the metrics write it.
    pub(crate) fn name(&self) -> String {
        self.address.to_string()
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.records.seen.lock().unwrap().clone()
    }

    /// Connections accepted so far.
    pub(crate) fn opened(&self) -> usize {
        self.records.opened.load(Ordering::SeqCst)
    }

    /// Connections that have ended so far.
    pub(crate) fn ended(&self) -> usize {
        self.records.ended.load(Ordering::SeqCst)
    }

    /// Listens no more and cuts every connection, as a killed server does.
    pub(crate) fn kill(&mut self) {
        self.records.is_closing.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which may wait for ever; it has ended if nobody answers.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
        for stream in self.records.streams.lock().unwrap().iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Answers 200 with a text.
pub(crate) fn text(stream: &mut TcpStream, body: &str) -> Next {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    match stream.write_all((head + body).as_bytes()) {
        Ok(()) => Next::Keep,
        Err(_) => Next::Close,
    }
}

/// Head and body of the next request, `None` at the end of the connection.
fn read_request(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut fill = |input: &mut Vec<u8>| -> io::Result<bool> {
        let mut buffer = vec![0; 64 * 1024];
        let read = stream.read(&mut buffer)?;
        input.extend_from_slice(&buffer[..read]);
        Ok(read > 0)
    };
    let end = loop {
        if let Some(at) = input.windows(4).position(|it| it == b"\r\n\r\n") {
            break at + 4;
        }
        if !fill(input)? {
            return Ok(None);
        }
    };
    let head: Vec<u8> = input.drain(..end).collect();
    let head = String::from_utf8(head).unwrap();
    let lower = head.to_ascii_lowercase();
    let length = lower.lines().find_map(|it| it.strip_prefix("content-length: "));
    if let Some(length) = length {
        let length = length.parse().unwrap();
        while input.len() < length {
            if !fill(input)? {
                return Ok(None);
            }
        }
        return Ok(Some((head, input.drain(..length).collect())));
    }
    let mut body = Vec::new();
    if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
        loop {
            let line = loop {
                match input.windows(2).position(|it| it == b"\r\n") {
                    Some(at) => break at,
                    None if !fill(input)? => return Ok(None),
                    None => {}
                }
            };
            let size: Vec<u8> = input.drain(..line + 2).collect();
            let size = std::str::from_utf8(&size[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            while input.len() < size + 2 {
                if !fill(input)? {
                    return Ok(None);
                }
            }
            body.extend(input.drain(..size));
            assert_eq!(input.drain(..2).collect::<Vec<_>>(), b"\r\n");
            if size == 0 {
                break;
            }
        }
    }
    Ok(Some((head, body)))
}
