//! What is due next?
//!
//! Ends of service, one per server, in a winner tree: a change costs one walk towards the root and no
//! entry is ever stale. Everything rarer in a heap.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Never.
pub(super) const NEVER: u64 = u64::MAX;

/// The servers by the time of their next end; the lower number first among equals.
#[derive(Debug)]
pub(super) struct Ends {
    /// Times and servers: the lesser of pair `i` stands in pair `i / 2`, on the right if `i` is odd, the
    /// least of all so in pair 0. The second half holds the servers, two by two.
    pairs: Vec<[u128; 2]>,
}

impl Ends {
    pub(super) fn new(servers: u32) -> Self {
        let size = servers.next_power_of_two().max(2) as usize;
        let mut pairs = vec![[key(NEVER, 0); 2]; size];
        for server in 0..size {
            pairs[usize::midpoint(size, server)][server % 2] = key(NEVER, server);
        }
        for at in (1..size).rev() {
            pairs[at / 2][at % 2] = pairs[at][0];
        }
        Self { pairs }
    }

    /// The next end and its server.
    pub(super) fn first(&self) -> (u64, usize) {
        let first = self.pairs[0][1];
        let due = u64::try_from(first >> 64).unwrap_or(NEVER);
        (due, usize::try_from(first & u128::from(u64::MAX)).unwrap_or(usize::MAX))
    }

    pub(super) fn set(&mut self, server: usize, due: u64) {
        let place = self.pairs.len() + server;
        let (mut at, mut side) = (place / 2, place % 2);
        let mut first = key(due, server);
        loop {
            let pair = &mut self.pairs[at];
            // Where nothing changes, nothing changes further up.
            if pair[side] == first {
                return;
            }
            pair[side] = first;
            if at == 0 {
                return;
            }
            first = pair[0].min(pair[1]);
            (at, side) = (at / 2, at % 2);
        }
    }
}

fn key(due: u64, server: usize) -> u128 {
    u128::from(due) << 64 | server as u128
}

/// Something that is due beside ends of service and open arrivals.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum What {
    /// A scripted change, by its position in the plan.
    Change(usize),
    /// A step of a server that warms up after a start.
    Warm { server: usize, step: u32 },
    /// A server that failed may be tried again.
    Usable { balancer: usize, server: usize },
    /// The view of all balancers follows a change of the past.
    See { server: usize, up: bool },
    /// Servers report their load.
    Report,
    /// A faulty server answers with an error.
    Error { slot: u32, generation: u32 },
    /// Nobody waits for this attempt any longer.
    TimeOut { slot: u32, generation: u32 },
    /// A user sends the next request; after everything else of the same instant.
    Wake,
}

/// What is due, the earliest first; of one instant by kind, then in the order of planning.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(u64, bool, u64, What)>>,
    planned: u64,
}

impl Agenda {
    pub(super) fn plan(&mut self, at: u64, what: What) {
        self.planned += 1;
        self.heap.push(Reverse((at, what == What::Wake, self.planned, what)));
    }

    pub(super) fn first(&self) -> u64 {
        self.heap.peek().map_or(NEVER, |it| it.0.0)
    }

    pub(super) fn pop(&mut self) -> Option<What> {
        self.heap.pop().map(|it| it.0.3)
    }
}

#[cfg(test)]
mod tests {
    use policy::{Draw, SplitMix64};

    use super::*;

    #[test]
    fn the_tree_agrees_with_a_search() {
        for servers in 1..=9_u32 {
            let (mut ends, mut due) = (Ends::new(servers), vec![NEVER; servers as usize]);
            let mut draw = SplitMix64::new(u64::from(servers));
            for _ in 0..400 {
                let server = usize::try_from(draw.below(u64::from(servers))).unwrap();
                due[server] = if draw.below(4) == 0 { NEVER } else { draw.below(6) };
                ends.set(server, due[server]);
                let (first, at) = due.iter().zip(0..).map(|(it, at)| (*it, at)).min().unwrap();
                assert_eq!(ends.first().0, first);
                if first != NEVER {
                    assert_eq!(ends.first().1, at);
                }
            }
        }
    }

    #[test]
    fn users_come_after_what_happens_at_the_same_time() {
        let mut agenda = Agenda::default();
        agenda.plan(5, What::Wake);
        agenda.plan(5, What::Report);
        agenda.plan(4, What::Change(0));
        assert_eq!(agenda.pop(), Some(What::Change(0)));
        assert_eq!(agenda.pop(), Some(What::Report));
        assert_eq!(agenda.pop(), Some(What::Wake));
    }
}
