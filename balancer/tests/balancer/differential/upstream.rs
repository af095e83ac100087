//! An upstream that answers by its script and writes down what it is asked.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::case::Script;
use super::play::PAUSE;

/// Requests as they arrived, over all upstreams of a case, each with the upstream's name.
pub(super) type Asked = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// One that listens on a port of its own, until dropped.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) port: u16,
    is_closing: Arc<Mutex<bool>>,
    serving: Arc<AtomicUsize>,
    acceptor: Option<JoinHandle<()>>,
}

impl Upstream {
    /// `is_raw` where it speaks no HTTP.
    pub(super) fn start(name: &str, scripts: &[Script], asked: &Asked, is_raw: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_closing = Arc::new(Mutex::new(false));
        let one = Arc::new(One {
            name: name.to_owned(),
            scripts: scripts.to_vec(),
            next: Mutex::new(0),
            asked: Arc::clone(asked),
        });
        let ends = Arc::clone(&is_closing);
        let serving = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&serving);
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if *ends.lock().unwrap() {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let one = Arc::clone(&one);
                if !is_raw {
                    thread::spawn(move || one.serve(stream));
                    continue;
                }
                let place = {
                    let mut asked = one.asked.lock().unwrap();
                    asked.push((one.name.clone(), Vec::new()));
                    asked.len() - 1
                };
                let script = one.take_script();
                let count = Arc::clone(&count);
                count.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    one.serve_raw(stream, &script, place);
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, is_closing, serving, acceptor: Some(acceptor) }
    }

    /// Whether a connection without HTTP has not ended yet.
    pub(super) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        *self.is_closing.lock().unwrap() = true;
        // Wakes the acceptor, which may wait for ever; it has ended if nobody answers.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
    }
}

#[derive(Debug)]
struct One {
    name: String,
    scripts: Vec<Script>,
    next: Mutex<usize>,
    asked: Asked,
}

impl One {
    /// Serves one connection to its end.
    fn serve(&self, mut stream: TcpStream) {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut input = Vec::new();
        loop {
            let Some(head) = take_head(&mut stream, &mut input) else { return };
            let script = self.take_script();
            let has = |flag: &str| script.flags.iter().any(|it| it == flag);
            let mut request = head.clone();
            if !has("early") && !take_body(&mut stream, &mut input, &head, &mut request) {
                return;
            }
            self.asked.lock().unwrap().push((self.name.clone(), request));
            if has("reset") && script.parts.concat().is_empty() {
                reset(&stream);
                return;
            }
            if has("hang") {
                while fill(&mut stream, &mut input) {}
                return;
            }
            for (n, part) in script.parts.iter().enumerate() {
                if 0 < n {
                    thread::sleep(PAUSE);
                }
                if stream.write_all(part).is_err() {
                    return;
                }
            }
            if has("reset") {
                thread::sleep(PAUSE);
                reset(&stream);
                return;
            }
            if has("echo") {
                loop {
                    let rest = std::mem::take(&mut input);
                    if stream.write_all(&rest).is_err() || !fill(&mut stream, &mut input) {
                        return;
                    }
                }
            }
            if !has("keep") {
                let _ = stream.shutdown(Shutdown::Write);
                while fill(&mut stream, &mut input) {}
                return;
            }
        }
    }

    /// Serves one connection without HTTP to its end; what it brings goes to its place.
    fn serve_raw(&self, mut stream: TcpStream, script: &Script, place: usize) {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        let has = |flag: &str| script.flags.iter().any(|it| it == flag);
        let mut input = Vec::new();
        let mut fill = |stream: &mut TcpStream| {
            input.clear();
            let is_open = fill(stream, &mut input);
            self.asked.lock().unwrap()[place].1.extend_from_slice(&input);
            if is_open && has("echo") {
                return stream.write_all(&input).is_ok();
            }
            is_open
        };
        if has("ask") && !fill(&mut stream) {
            return;
        }
        for (n, part) in script.parts.iter().enumerate() {
            if 0 < n {
                thread::sleep(PAUSE);
            }
            if stream.write_all(part).is_err() {
                break;
            }
        }
        if has("reset") {
            thread::sleep(PAUSE);
            return reset(&stream);
        }
        if !has("keep") {
            let _ = stream.shutdown(Shutdown::Write);
        }
        while fill(&mut stream) {}
    }

    fn take_script(&self) -> Script {
        let mut next = self.next.lock().unwrap();
        let script = self.scripts[(*next).min(self.scripts.len() - 1)].clone();
        *next += 1;
        script
    }
}

fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Reads once; false at the end of the connection.
fn fill(stream: &mut TcpStream, input: &mut Vec<u8>) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    match stream.read(&mut buffer) {
        Ok(read) => {
            input.extend_from_slice(&buffer[..read]);
            0 < read
        }
        Err(_) => false,
    }
}

fn take_head(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(at) = input.windows(4).position(|it| it == b"\r\n\r\n") {
            return Some(input.drain(..at + 4).collect());
        }
        if !fill(stream, input) {
            return None;
        }
    }
}

/// Reads the body that the head announces, as it is framed; false when it does not come whole.
fn take_body(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
    head: &[u8],
    request: &mut Vec<u8>,
) -> bool {
    let lower = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = lower.lines().find_map(|it| it.strip_prefix("content-length: "));
    if let Some(length) = length {
        let length: usize = length.trim().parse().unwrap();
        while input.len() < length {
            if !fill(stream, input) {
                return false;
            }
        }
        request.extend(input.drain(..length));
    } else if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
        // Trailers are never sent to an upstream.
        let end = loop {
            let at = if input.starts_with(b"0\r\n\r\n") {
                Some(5)
            } else {
                input.windows(7).position(|it| it == b"\r\n0\r\n\r\n").map(|at| at + 7)
            };
            match at {
                Some(at) => break at,
                None if !fill(stream, input) => return false,
                None => {}
            }
        };
        request.extend(input.drain(..end));
    }
    true
}
