//! Open loop: requests are sent when they are due, whatever became of those before.
//!
//! Times count from the moment a request was due, so a stall of the shop is met by everybody who
//! would have come during it, and not only by the one who waits.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{connection::Connection, schedule::Due};

/// Requests that may be on their way at a time; beyond, they are late, which the gates notice.
const SENDERS: usize = 96;

/// How long a client waits, for each part of an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of one request; times from the start of the run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fate {
    pub(super) endpoint: usize,
    pub(super) due: Duration,
    pub(super) sent: Duration,
    pub(super) first_byte: Duration,
    pub(super) done: Duration,
    /// What the answer says of its server, empty for an answer of the balancer.
    pub(super) instance: String,
    /// Empty, or why this is no success.
    pub(super) failure: &'static str,
}

/// The ways in which requests fail.
pub(super) const FAILURES: [&str; 8] =
    ["connect", "cut", "timeout", "502", "503", "504", "4xx", "other"];

/// Sends a schedule and returns what became of it, in the order of the schedule.
///
/// Ends early when `stop` is set.
pub(super) fn send(
    schedule: &[Due],
    target: SocketAddr,
    start: Instant,
    stop: &AtomicBool,
) -> Vec<Fate> {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Vec::with_capacity(schedule.len()));
    thread::scope(|scope| {
        for _ in 0..SENDERS.min(schedule.len()) {
            scope.spawn(|| {
                let mut connection = Connection::new(target, PATIENCE);
                let mut own = Vec::new();
                // Relaxed: each number is taken once, and nothing else is published by it or the flag.
                while let Some(due) = schedule.get(next.fetch_add(1, Ordering::Relaxed))
                    && !stop.load(Ordering::Relaxed)
                {
                    thread::sleep(due.at.saturating_sub(start.elapsed()));
                    own.push(sent(due, &mut connection, start));
                }
                all.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
            });
        }
    });
    let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_by_key(|it: &Fate| it.due);
    all
}

fn sent(due: &Due, connection: &mut Connection, start: Instant) -> Fate {
    let sent = start.elapsed();
    let answer = connection.ask(&due.bytes);
    let done = start.elapsed();
    let (failure, instance, first_byte) = match answer {
        Ok(it) => {
            let expected = if due.endpoint == 0 { 201 } else { 200 };
            let failure = match it.status {
                status if status == expected && 0 < it.body => "",
                502 => "502",
                503 => "503",
                504 => "504",
                400..=499 => "4xx",
                _ => "other",
            };
            (failure, it.instance, it.first_byte.duration_since(start))
        }
        Err(error) => {
            let failure = match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => "timeout",
                ErrorKind::ConnectionRefused | ErrorKind::AddrNotAvailable => "connect",
                ErrorKind::InvalidData => "other",
                _ => "cut",
            };
            (failure, String::new(), done)
        }
    };
    Fate { endpoint: due.endpoint, due: due.at, sent, first_byte, done, instance, failure }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn who_comes_while_the_server_stalls_has_waited_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        // Every connection is served at once, but none before a stall is over.
        let stall = Duration::from_millis(600);
        let begin = Instant::now();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut request = [0; 256];
                    while 0 < stream.read(&mut request).unwrap_or(0) {
                        thread::sleep(stall.saturating_sub(begin.elapsed()));
                        let answer =
                            "HTTP/1.1 200 OK\r\nX-Store-Instance: a\r\nContent-Length: 1\r\n\r\n.";
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                });
            }
        });
        let due = |it: u64| Due {
            at: Duration::from_millis(it),
            endpoint: 1,
            bytes: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        };
        let schedule: Vec<_> = (0..100).map(|it| due(4 * it)).collect();
        let all = send(&schedule, target, begin, &AtomicBool::new(false));
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|it| it.failure.is_empty() && it.instance == "a"));
        // The first waited for all of the stall, the one due at 300 ms for half of it.
        for (place, least) in [(0, 590), (75, 290)] {
            let waited = all[place].done.saturating_sub(all[place].due);
            assert!(Duration::from_millis(least) <= waited, "{place}: {waited:?}");
        }
    }

    #[test]
    fn a_closed_port_is_told_apart_from_an_answer() {
        let target = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let due = Due { at: Duration::ZERO, endpoint: 0, bytes: b"POST".to_vec() };
        let all = send(&[due], target, Instant::now(), &AtomicBool::new(false));
        assert_eq!(all[0].failure, "connect");
        assert!(FAILURES.contains(&all[0].failure));
    }
}
