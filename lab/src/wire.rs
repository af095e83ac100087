//! What does a network look like that stops passing bytes?
//!
//! A proxy on a port of its own between a client and a server. While it is stalled nothing is lost
//! and nothing arrives, and connections that are opened are not answered.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result};

/// How often a waiting thread looks whether anything changed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A wire to a server; it is cut when this guard is dropped.
#[derive(Debug)]
pub struct Wire {
    port: u16,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    stalled: AtomicBool,
    cut: AtomicBool,
}

impl State {
    // Relaxed, in all of these: each flag stands for itself and is looked at again and again.
    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Waits while nothing passes; `false` once the wire is cut.
    fn passes(&self) -> bool {
        while self.stalled.load(Ordering::Relaxed) && !self.is_cut() {
            thread::sleep(LOOK_AGAIN);
        }
        !self.is_cut()
    }
}

impl Wire {
    /// A wire to a port of 127.0.0.1.
    pub fn to(server: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port for a wire")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let state = Arc::<State>::default();
        let seen = Arc::clone(&state);
        let accepting = thread::spawn(move || {
            while !seen.is_cut() {
                match listener.accept() {
                    Ok((client, _)) => {
                        let state = Arc::clone(&seen);
                        thread::spawn(move || connect(&client, server, &state));
                    }
                    Err(_) => thread::sleep(LOOK_AGAIN),
                }
            }
        });
        Ok(Self { port, state, accepting: Some(accepting) })
    }

    /// Where clients connect.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing passes.
    pub fn stall(&self) {
        self.state.stalled.store(true, Ordering::Relaxed);
    }

    /// Undoes [`Wire::stall`]; what waited passes.
    pub fn flow(&self) {
        self.state.stalled.store(false, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.cut.store(true, Ordering::Relaxed);
        if let Some(accepting) = self.accepting.take() {
            _ = accepting.join();
        }
    }
}

fn connect(client: &TcpStream, server: u16, state: &Arc<State>) {
    if !state.passes() {
        return;
    }
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
    // Who cannot be reached is told so by the end of the connection.
    let Ok(server) = TcpStream::connect(server) else { return };
    let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { return };
    let back = Arc::clone(state);
    let answers = thread::spawn(move || pass(&to, &from, &back));
    pass(client, &server, state);
    _ = answers.join();
}

/// Copies one direction until its end, an error, or the end of the wire.
fn pass(mut from: &TcpStream, mut to: &TcpStream, state: &State) {
    let mut bytes = vec![0; 64 << 10];
    _ = from.set_nonblocking(false);
    _ = from.set_read_timeout(Some(LOOK_AGAIN));
    _ = to.set_nodelay(true);
    while state.passes() {
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => {
                // Read before the stall, but not to be seen during it.
                if !state.passes() || to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            Err(error) if is_pause(&error) => (),
            Err(_) => break,
        }
    }
    // The other direction goes on unless the wire is cut: half of a connection may end first.
    _ = to.shutdown(if state.is_cut() { Shutdown::Both } else { Shutdown::Write });
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_wire_passes_nothing_and_loses_nothing() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let wire = Wire::to(server.local_addr().unwrap().port()).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, wire.port())).unwrap();
        let (mut served, _) = server.accept().unwrap();
        let mut bytes = [0; 3];
        client.write_all(b"one").unwrap();
        served.read_exact(&mut bytes).unwrap();

        wire.stall();
        client.write_all(b"two").unwrap();
        served.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(is_pause(&served.read_exact(&mut bytes).unwrap_err()));

        wire.flow();
        served.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        served.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"two");
        served.write_all(b"yes").unwrap();
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"yes");

        drop(wire);
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(matches!(client.read(&mut bytes), Ok(0) | Err(_)));
    }
}
