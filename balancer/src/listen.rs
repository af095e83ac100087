//! Listening sockets: opened before a configuration takes over, kept while it names their address,
//! closed when it does not.
//!
//! Each worker has a socket of its own on every address, so that connections are spread by the
//! kernel and never change threads.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::sync::watch;

use crate::engine::Shared;
use crate::snapshot::{Bind, ListenOptions, Snapshot};

pub mod accept;

/// The sockets of one address, one for each worker.
#[derive(Debug)]
pub struct Opened {
    bind: Bind,
    sockets: Vec<Socket>,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct CannotBind {
    /// The address.
    pub bind: Bind,
    /// Why.
    pub error: io::Error,
}

/// Opens the sockets of an address for a number of workers.
pub fn open(bind: &Bind, options: &ListenOptions, workers: usize) -> Result<Opened, CannotBind> {
    let sockets = try_open(bind, options, workers);
    let sockets = sockets.map_err(|error| CannotBind { bind: bind.clone(), error })?;
    Ok(Opened { bind: bind.clone(), sockets })
}

fn try_open(bind: &Bind, options: &ListenOptions, workers: usize) -> io::Result<Vec<Socket>> {
    let address = match bind {
        Bind::Inet(address) => SockAddr::from(*address),
        Bind::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
            std::fs::set_permissions(path, everybody)?;
            ready(&socket, options)?;
            // A path has one socket; the workers take turns at it.
            return (1..workers)
                .map(|_| socket.try_clone())
                .chain([Ok(socket.try_clone()?)])
                .collect();
        }
    };
    let fresh = || -> io::Result<Socket> {
        let socket = Socket::new(address.domain(), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.domain() == Domain::IPV6 {
            socket.set_only_v6(options.only_v6)?;
        }
        Ok(socket)
    };
    // Sockets that share a port would hide that another program listens there.
    fresh()?.bind(&address)?;
    let open = |_| -> io::Result<Socket> {
        let socket = fresh()?;
        socket.set_reuse_port(true)?;
        if let Some(bytes) = options.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        socket.bind(&address)?;
        ready(&socket, options)?;
        Ok(socket)
    };
    (0..workers).map(open).collect()
}

fn ready(socket: &Socket, options: &ListenOptions) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.listen(options.backlog)
}

/// The addresses that are listened on now.
#[derive(Debug, Default)]
pub struct Listeners {
    open: HashMap<Bind, watch::Sender<bool>>,
}

impl Listeners {
    /// Opens what a snapshot names and is not open yet; nothing changes when one cannot be opened.
    pub fn open_missing(
        &self,
        snapshot: &Snapshot,
        workers: usize,
    ) -> Result<Vec<Opened>, Vec<CannotBind>> {
        let missing = snapshot.listeners.iter().filter(|it| !self.open.contains_key(&it.bind));
        let (opened, failed): (Vec<_>, Vec<_>) =
            missing.map(|it| open(&it.bind, &it.options, workers)).partition(Result::is_ok);
        if failed.is_empty() {
            Ok(opened.into_iter().filter_map(Result::ok).collect())
        } else {
            Err(failed.into_iter().filter_map(Result::err).collect())
        }
    }

    /// Starts to accept on sockets, each on the worker it belongs to.
    pub fn accept(
        &mut self,
        opened: Vec<Opened>,
        shared: &Arc<Shared>,
        workers: &[tokio::runtime::Handle],
    ) {
        for Opened { bind, sockets } in opened {
            let (close, closed) = watch::channel(false);
            for (number, (worker, socket)) in workers.iter().zip(sockets).enumerate() {
                let accept = accept::Accept::new(&bind, shared, number, closed.clone());
                worker.spawn(accept.run(socket));
            }
            self.open.insert(bind, close);
        }
    }

    /// Stops to accept on every address that a snapshot does not name.
    pub fn close_others(&mut self, snapshot: &Snapshot) {
        self.open.retain(|bind, close| {
            let stays = snapshot.listener(bind).is_some();
            if !stays {
                // Nobody listening is fine: the tasks have ended already.
                let _ = close.send(true);
                unlink(bind);
            }
            stays
        });
    }

    /// Stops to accept everywhere.
    pub fn close_all(&mut self) {
        for (bind, close) in self.open.drain() {
            let _ = close.send(true);
            unlink(&bind);
        }
    }
}

/// Removes the file of a Unix socket.
fn unlink(bind: &Bind) {
    if let Bind::Unix(path) = bind {
        // It may have been removed by hand.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_use_is_refused_although_our_own_sockets_share_it() {
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bind = Bind::Inet(first.local_addr().unwrap());
        let refused = open(&bind, &ListenOptions::default(), 2).unwrap_err();
        assert_eq!(refused.error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let opened = open(&bind, &ListenOptions::default(), 2).unwrap();
        assert_eq!(opened.sockets.len(), 2);
        let refused = open(&bind, &ListenOptions::default(), 1).unwrap_err();
        assert_eq!(refused.error.kind(), io::ErrorKind::AddrInUse);
    }
}
