//! A server of which everything is known: so many places, so long for each request.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;

/// What it answers.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n";

/// Room of a thread: it keeps a request that is some lines long.
const STACK: usize = 128 << 10;

/// A running server; it ends when this guard is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    free: Mutex<u32>,
    freed: Condvar,
    service: Duration,
    is_over: AtomicBool,
}

impl Server {
    /// Starts one on a port of its own. Who finds no place waits in it, as in any server.
    pub(super) fn start(places: u32, service: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let (free, freed) = (Mutex::new(places), Condvar::new());
        let state = Arc::new(State { free, freed, service, is_over: AtomicBool::new(false) });
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
            request.clear();
            self.work();
            if self.is_over.load(Ordering::Relaxed) || stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }

    fn work(&self) {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.freed.wait_while(free, |it| *it == 0);
        let mut free = free.unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        thread::sleep(self.service);
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
    }
}
