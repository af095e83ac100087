//! Which port may a server of ours listen on, and still have when it is started again?
//!
//! One that the kernel gives nobody by itself, so that neither a listener on port 0 nor the near end of
//! a connection takes it while its server is down; and one that no other program of ours was given,
//! so that no server of another test answers in its place.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};

/// What is given away; elsewhere are well-known services and, on most machines, the kernel's ports.
const PORTS: Range<u16> = 12_000..32_000;

/// Ports under one mark: a campaign takes hundreds, and a mark is an open file.
const BLOCK: u16 = 16;

/// What this process was given, until it ends.
static GIVEN: Mutex<Given> = Mutex::new(Given { marks: Vec::new(), rest: 0..0 });

struct Given {
    marks: Vec<UnixListener>,
    /// What nobody asked for yet of the last block.
    rest: Range<u16>,
}

/// A port that nobody listens on, and that nobody else is given while this process lives.
///
/// For programs that take a number; whatever can take a listener is handed one instead.
pub fn free_port() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // A server of somebody else may be there all the same.
        if let Some(port) = given.rest.find(|it| is_free(*it)) {
            return Ok(port);
        }
        let (mark, block) = blocks(kernels()?, std::process::id())
            .find_map(|it| Some((mark(it.start)?, it)))
            .context("no free port")?;
        given.marks.push(mark);
        given.rest = block;
    }
}

/// As many different ports as asked for.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    (0..count).map(|_| free_port()).collect()
}

/// Until this is dropped no port is tried.
///
/// A child has copies of all that its parent has open until it has become another program: of the listener
/// that tries a port, too, which is then taken for whoever was given it.
pub(crate) fn pause() -> impl Sized {
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The blocks in the order they are tried in: those first that the kernel does not give away.
///
/// Processes begin at different ones: whoever still asks for a server that is gone must not meet the next
/// test's.
fn blocks(kernels: Range<u16>, process: u32) -> impl Iterator<Item = Range<u16>> {
    let all = || PORTS.step_by(BLOCK.into()).map(|it| it..it + BLOCK);
    let first = process.wrapping_mul(7919) as usize % all().count();
    let turned = move || all().cycle().skip(first).take(all().count());
    let kernels = move |it: &Range<u16>| it.start < kernels.end && kernels.start < it.end;
    turned().filter(move |it| !kernels(it)).chain(turned().filter(kernels))
}

/// Says to other processes that a block is given; `None` when it is.
///
/// An abstract socket leaves nothing behind, and is seen as far as its ports are: in one network namespace.
fn mark(block: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("balancer-lab-ports-{block}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

/// The ports that the kernel gives away.
fn kernels() -> Result<Range<u16>> {
    let file = "/proc/sys/net/ipv4/ip_local_port_range";
    let text = fs::read_to_string(file).context(file)?;
    let mut words = text.split_whitespace().map(str::parse);
    match (words.next(), words.next()) {
        // The last is among them; that 65535 is left out harms nobody here.
        (Some(Ok(first)), Some(Ok(last))) => Ok(first..last),
        _ => anyhow::bail!("{file} holds {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut ports = free_ports(100).unwrap();
        assert!(ports.iter().all(|it| PORTS.contains(it)), "{ports:?}");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 100);
    }

    #[test]
    fn a_port_that_is_given_is_marked_for_others() {
        let port = free_port().unwrap();
        let block = blocks(0..0, 0).find(|it| it.contains(&port)).unwrap();
        assert!(mark(block.start).is_none());
    }

    #[test]
    fn a_taken_port_is_not_given() {
        let port = free_port().unwrap();
        assert!(is_free(port));
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
    }

    #[test]
    fn what_the_kernel_gives_away_comes_last() {
        for (kernels, ours) in [(32_768..60_999, 1250), (20_000..60_999, 500), (1024..65_535, 0)] {
            let clear = |it: &Range<u16>| it.end <= kernels.start || kernels.end <= it.start;
            let tried: Vec<_> = blocks(kernels.clone(), 12_345).collect();
            assert_eq!(tried.len(), 1250);
            assert!(tried[..ours].iter().all(clear), "{kernels:?}");
            assert!(!tried[ours..].iter().any(clear), "{kernels:?}");
        }
    }

    #[test]
    fn processes_begin_at_different_blocks() {
        let first = |process| blocks(0..0, process).next().unwrap();
        assert_ne!(first(100), first(101));
    }
}
