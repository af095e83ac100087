//! Listening sockets: opened before a configuration takes over, kept while it names their address,
//! closed when it does not.
//!
//! Each worker has a socket of its own on every address, so that connections are spread by the
//! kernel and never change threads.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::sync::watch;

use crate::conf::error::os_text;
use crate::engine::Shared;
use crate::snapshot::{Bind, ListenOptions, Snapshot};

pub mod accept;
mod options;
pub mod workers;

use self::workers::Workers;

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

/// Whether sockets that an address meets may be our own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Others {
    /// We have none there: whatever is met is another program's.
    Unknown,
    /// We have some for the same port.
    Ours,
}

/// Opens the sockets of an address for a number of workers.
pub fn open(
    bind: &Bind,
    options: &ListenOptions,
    workers: usize,
    others: Others,
) -> Result<Opened, CannotBind> {
    let sockets = try_open(bind, options, workers, others);
    let sockets = sockets.map_err(|error| CannotBind { bind: bind.clone(), error })?;
    Ok(Opened { bind: bind.clone(), sockets })
}

fn try_open(
    bind: &Bind,
    options: &ListenOptions,
    workers: usize,
    others: Others,
) -> io::Result<Vec<Socket>> {
    let address = match bind {
        Bind::Inet(address) => SockAddr::from(*address),
        Bind::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
            std::fs::set_permissions(path, everybody)?;
            options::set(&socket, bind, options);
            ready(&socket, options)?;
            // A path has one socket; the workers take turns at it.
            return (1..workers)
                .map(|_| socket.try_clone())
                .chain([Ok(socket.try_clone()?)])
                .collect();
        }
    };
    let protocol = if options.is_multipath { Protocol::MPTCP } else { Protocol::TCP };
    let fresh = || -> io::Result<Socket> {
        let socket = Socket::new(address.domain(), Type::STREAM, Some(protocol))?;
        socket.set_reuse_address(true)?;
        if address.domain() == Domain::IPV6 {
            socket.set_only_v6(options.only_v6)?;
        }
        Ok(socket)
    };
    // Sockets that share a port would hide that another program listens there. Beside our own the
    // system finds out only whether it is another user's.
    if others == Others::Unknown {
        fresh()?.bind(&address)?;
    }
    let open = |_| -> io::Result<Socket> {
        let socket = fresh()?;
        socket.set_reuse_port(true)?;
        socket.bind(&address)?;
        options::set(&socket, bind, options);
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
    open: HashMap<Bind, Open>,
    /// Sockets of the program before this one that no snapshot has named yet.
    inherited: Vec<(Bind, Socket)>,
}

/// The sockets of an address, and how those who accept on them are told to end.
#[derive(Debug)]
struct Open {
    sockets: Vec<Socket>,
    close: watch::Sender<bool>,
    last: Last,
}

/// The last configuration that listens on an address, once another one does not.
type Last = Arc<OnceLock<Arc<Snapshot>>>;

/// What becomes of the files of Unix sockets when nobody listens any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SocketFiles {
    /// They are removed.
    Remove,
    /// Another program listens on the same sockets.
    Leave,
}

impl Listeners {
    /// Takes over sockets that another program listens on, or has listened on.
    ///
    /// What is not a socket that listens is closed.
    pub fn inherit(&mut self, sockets: impl IntoIterator<Item = Socket>) {
        let with_bind = |socket: Socket| {
            let address = socket.local_addr().ok()?;
            let inet = || address.as_socket().map(Bind::Inet);
            let unix = || address.as_pathname().map(|it| Bind::Unix(it.to_path_buf()));
            let bind = inet().or_else(unix).filter(|_| socket.is_listener().unwrap_or(false))?;
            Some((bind, socket))
        };
        self.inherited.extend(sockets.into_iter().filter_map(with_bind));
    }

    /// Closes what was inherited and is not named by the configuration.
    pub fn drop_inherited(&mut self) {
        self.inherited.clear();
    }

    /// Every socket that listens, for a program that takes over.
    pub fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.open.values().flat_map(|it| &it.sockets)
    }

    /// The inherited sockets of an address.
    fn inherited(&self, bind: &Bind, options: &ListenOptions) -> Option<io::Result<Opened>> {
        let own = self.inherited.iter().filter(|(it, _)| it == bind);
        let sockets: io::Result<Vec<_>> = own
            .map(|(_, socket)| {
                let socket = socket.try_clone()?;
                options::set(&socket, bind, options);
                ready(&socket, options)?;
                Ok(socket)
            })
            .collect();
        let found = sockets.map(|sockets| Opened { bind: bind.clone(), sockets });
        Some(found).filter(|it| it.as_ref().map_or(true, |it| !it.sockets.is_empty()))
    }

    /// Opens what a snapshot names and is not open yet; nothing changes when one cannot be opened.
    pub fn open_missing(
        &self,
        snapshot: &Snapshot,
        workers: usize,
    ) -> Result<Vec<Opened>, Vec<CannotBind>> {
        let missing: Vec<_> =
            snapshot.binds().filter(|(bind, _)| !self.open.contains_key(*bind)).collect();
        let open_one = |at: usize| {
            let (bind, options) = missing[at];
            let before = missing[..at].iter().map(|(it, _)| *it);
            let is_met = self.open.keys().chain(before).any(|it| it.overlaps(bind));
            let others = if is_met { Others::Ours } else { Others::Unknown };
            let inherited = self.inherited(bind, options);
            let inherited =
                inherited.map(|it| it.map_err(|error| CannotBind { bind: bind.clone(), error }));
            inherited.unwrap_or_else(|| open(bind, options, workers, others))
        };
        let (opened, failed): (Vec<_>, Vec<_>) =
            (0..missing.len()).map(open_one).partition(Result::is_ok);
        if failed.is_empty() {
            Ok(opened.into_iter().filter_map(Result::ok).collect())
        } else {
            Err(failed.into_iter().filter_map(Result::err).collect())
        }
    }

    /// Gives the sockets that stay open the options by which a snapshot wants them; one that it
    /// does not name stays as it is.
    pub fn configure(&self, snapshot: &Snapshot) {
        let open = |(bind, options)| Some((self.open.get(bind)?, bind, options));
        for (open, bind, options) in snapshot.binds().filter_map(open) {
            open.sockets.iter().for_each(|it| options::follow(it, bind, options));
        }
    }

    /// Starts to accept on sockets, each on the worker it belongs to.
    pub fn accept(&mut self, opened: Vec<Opened>, shared: &Arc<Shared>, workers: &Arc<Workers>) {
        for Opened { bind, sockets } in opened {
            let (close, _) = watch::channel(false);
            let open = Open { sockets, close, last: Last::default() };
            open.accept(&bind, shared, workers);
            self.open.insert(bind, open);
        }
    }

    /// Stops to accept, but goes on to listen: connections wait for [`Listeners::resume`], or for
    /// another program that has the same sockets.
    pub fn pause(&self) {
        for open in self.open.values() {
            // Nobody accepting is fine: that is what is wanted.
            let _ = open.close.send(true);
        }
    }

    /// Accepts again after [`Listeners::pause`].
    pub fn resume(&mut self, shared: &Arc<Shared>, workers: &Arc<Workers>) {
        for (bind, open) in &mut self.open {
            open.close = watch::channel(false).0;
            open.accept(bind, shared, workers);
        }
    }

    /// Stops to accept on every address that the next snapshot does not name; who is connected
    /// there, or waits to be, is served by the present one. To be called before the next takes over.
    pub fn close_others(&mut self, next: &Snapshot, present: &Arc<Snapshot>) {
        self.open.retain(|bind, open| {
            let stays = next.binds().any(|(it, _)| it == bind);
            if !stays {
                // Nobody listening is fine: the tasks have ended already.
                let _ = open.last.set(Arc::clone(present));
                let _ = open.close.send(true);
                unlink(bind);
            }
            stays
        });
    }

    /// Stops to accept everywhere.
    pub fn close_all(&mut self, files: SocketFiles) {
        for (bind, open) in self.open.drain() {
            let _ = open.close.send(true);
            if files == SocketFiles::Remove {
                unlink(&bind);
            }
        }
    }
}

impl Open {
    /// Starts to accept: every worker on some socket, every socket on some worker.
    fn accept(&self, bind: &Bind, shared: &Arc<Shared>, workers: &Arc<Workers>) {
        let closed = self.close.subscribe();
        let handles = &workers.handles;
        for number in 0..self.sockets.len().max(handles.len()) {
            let worker = number % handles.len();
            match self.sockets[number % self.sockets.len()].try_clone() {
                Ok(socket) => {
                    let place = (workers, worker);
                    let accept =
                        accept::Accept::new(bind, shared, place, closed.clone(), &self.last);
                    handles[worker].spawn(accept.run(socket));
                }
                Err(error) => {
                    tracing::error!(severity = "alert", "dup() failed {}", os_text(&error));
                }
            }
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
        let refused = open(&bind, &ListenOptions::default(), 2, Others::Unknown).unwrap_err();
        assert_eq!(refused.error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let opened = open(&bind, &ListenOptions::default(), 2, Others::Unknown).unwrap();
        assert_eq!(opened.sockets.len(), 2);
        let refused = open(&bind, &ListenOptions::default(), 1, Others::Unknown).unwrap_err();
        assert_eq!(refused.error.kind(), io::ErrorKind::AddrInUse);
    }
}
