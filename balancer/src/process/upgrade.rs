//! One program takes over from another without a moment in which nobody listens.
//!
//! As in nginx: the one that serves starts the file it was started from again, which inherits the
//! listening sockets, their numbers told by `NGINX`. Both accept until one of them is ended.
//!
//! Source: nginx `nginx.c`, `ngx_add_inherited_sockets` and `ngx_exec_new_binary`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use socket2::Socket;

use crate::conf::error::os_text;

/// The variable that holds the numbers of inherited sockets.
const NGINX: &str = "NGINX";

/// The sockets that another program left us; `None` when none did.
pub(crate) fn inherited() -> Option<Vec<Socket>> {
    let numbers = std::env::var(NGINX).ok()?;
    tracing::info!("using inherited sockets from \"{numbers}\"");
    let mut sockets = Vec::new();
    let mut rest = numbers.as_str();
    while let Some((word, after)) = rest.split_once([':', ';']) {
        let Ok(number) = word.parse::<RawFd>() else {
            tracing::error!(
                severity = "emerg",
                "invalid socket number \"{rest}\" in {NGINX} environment variable, ignoring the \
                 rest of the variable"
            );
            return Some(sockets);
        };
        match take(number) {
            Ok(descriptor) => sockets.push(Socket::from(descriptor)),
            Err(error) => tracing::error!(
                severity = "crit",
                "getsockname() of the inherited socket #{number} failed {}",
                os_text(&error)
            ),
        }
        rest = after;
    }
    if !rest.is_empty() {
        tracing::error!(
            severity = "emerg",
            "invalid socket number \"{rest}\" in {NGINX} environment variable, ignoring"
        );
    }
    Some(sockets)
}

/// Whether another program started us to take over.
pub(crate) fn is_successor() -> bool {
    std::env::var_os(NGINX).is_some()
}

/// Makes a descriptor of which only the number is known ours.
///
/// A number proves nothing, so the system is asked for a descriptor of the same socket: it is sent
/// through a pair of sockets, and what arrives is owned.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    let (here, there) = UnixDatagram::pair()?;
    let numbers = [number];
    let rights = [ControlMessage::ScmRights(&numbers)];
    let byte = [IoSlice::new(b"s")];
    sendmsg::<UnixAddr>(there.as_raw_fd(), &byte, &rights, MsgFlags::empty(), None)?;
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0];
    recvmsg(&here, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let arrived = control.drain().find_map(|it| match it {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    // The number itself is of no further use. It was open a moment ago.
    let _ = nix::unistd::close(number);
    arrived.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Starts this program's file again with the same words; it inherits the sockets.
///
/// `environment` is what `env` names. An error is nginx's text.
pub(crate) fn start_successor<'a>(
    sockets: impl Iterator<Item = &'a Socket>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Child, String> {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    // Copies that survive the start of another program; ours are closed again when dropped.
    let copies: io::Result<Vec<OwnedFd>> = sockets.map(lasting).collect();
    let failed = |error: io::Error| {
        let program = program.display();
        let text = os_text(&error);
        format!("execve() failed while executing new binary process \"{program}\" {text}")
    };
    let copies = copies.map_err(failed)?;
    let mut numbers = String::new();
    for copy in &copies {
        numbers += &copy.as_raw_fd().to_string();
        numbers.push(';');
    }
    let mut command = Command::new(&program);
    command.args(words).env_clear().envs(environment).env(NGINX, numbers);
    command.stdin(Stdio::null()).spawn().map_err(failed)
}

/// A copy of a socket that a program started from here inherits.
fn lasting(socket: &Socket) -> io::Result<OwnedFd> {
    let copy = socket.as_fd().try_clone_to_owned()?;
    fcntl(&copy, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_becomes_a_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let number = std::os::fd::IntoRawFd::into_raw_fd(listener);
        let socket = Socket::from(take(number).unwrap());
        assert_eq!(socket.local_addr().unwrap().as_socket(), Some(address));
        assert!(socket.is_listener().unwrap());
        assert!(take(1 << 20).is_err());
    }
}
