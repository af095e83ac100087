//! A server of which everything is known: so many places, and for how long each request keeps one.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Room of a thread: it keeps a request that is some lines long.
const STACK: usize = 128 << 10;

/// A running server; it ends when this guard is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    /// When each place is free.
    free: Mutex<BinaryHeap<Reverse<Instant>>>,
    usual: Duration,
    speed: f64,
    answer: String,
    is_over: AtomicBool,
}

impl Server {
    /// Starts one on a port of its own. Who finds no place waits in it, first come first served.
    ///
    /// A request for `/2500` is 2500 µs of work at a speed of 1, any other is the `usual` work. Answers tell
    /// the `name`.
    pub(crate) fn start(places: u32, usual: Duration, speed: f64, name: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let now = Instant::now();
        let state = Arc::new(State {
            free: Mutex::new((0..places).map(|_| Reverse(now)).collect()),
            usual,
            speed,
            answer: format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Store-Instance: {name}\r\n\r\ndone\n"
            ),
            is_over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Relaxed: the flag stands for itself.
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&shared);
                let thread = thread::Builder::new().stack_size(STACK);
                // Without a thread the connection is dropped, which the counts tell.
                drop(thread.spawn(move || state.serve(stream)));
            }
        });
        Ok(Self { address, state })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts; it looks at the flag then.
        if let Ok(stream) = TcpStream::connect(self.address) {
            _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) {
        _ = stream.set_nodelay(true);
        let mut request = Vec::new();
        let mut part = [0; 4096];
        loop {
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read(&mut part) {
                    Ok(read) if 0 < read => request.extend_from_slice(&part[..read]),
                    _ => return,
                }
            }
            let end = self.place(self.work(&request), Instant::now());
            thread::sleep(end.saturating_duration_since(Instant::now()));
            request.clear();
            let is_over = self.is_over.load(Ordering::Relaxed);
            if is_over || stream.write_all(self.answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// How long a request keeps a place.
    fn work(&self, request: &[u8]) -> Duration {
        let path = request.split(|it| *it == b' ').nth(1).and_then(|it| it.strip_prefix(b"/"));
        let micros = path.and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
        micros.map_or(self.usual, Duration::from_micros).div_f64(self.speed)
    }

    /// Gives a request the place that is free first; when it is done.
    fn place(&self, work: Duration, now: Instant) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let Reverse(first) = free.pop().unwrap_or(Reverse(now));
        let end = first.max(now) + work;
        free.push(Reverse(end));
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::connection::Connection;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_finds_no_place_waits_for_the_first_that_is_free() {
        let server = Server::start(2, MS, 2.0, "a").unwrap();
        let now = Instant::now();
        let done = [8, 20, 4, 4].map(|it| server.state.place(it * MS, now) - now);
        assert_eq!(done, [8 * MS, 20 * MS, 12 * MS, 16 * MS]);
        let later = now + 100 * MS;
        assert_eq!(server.state.place(5 * MS, later) - later, 5 * MS);
    }

    #[test]
    fn a_request_says_what_it_needs() {
        let server = Server::start(1, 3 * MS, 2.0, "a").unwrap();
        assert_eq!(server.state.work(b"GET /5000 HTTP/1.1\r\n\r\n"), 2500 * MS / 1000);
        assert_eq!(server.state.work(b"GET / HTTP/1.1\r\n\r\n"), 1500 * MS / 1000);
        let began = Instant::now();
        let mut client = Connection::new(server.address, Duration::from_secs(9));
        let answer = client.ask(b"GET /40000 HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!((answer.status, &*answer.instance), (200, "a"));
        assert!(20 * MS <= began.elapsed());
    }
}
