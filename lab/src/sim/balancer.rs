//! What does one of the balancers know, and whom may it pick?

use std::{collections::VecDeque, num::NonZeroU32, time::Duration};

use anyhow::Result;
use policy::{Candidate, Event, Hears, Identity, Policy, Record, Request, SplitMix64, Terms, Time};

use super::{Plan, Subject, View, clock};

/// Told to send nothing.
const LEFT: u8 = 1;
/// Failed too often.
const FAILED: u8 = 2;
/// At its limit of requests.
const FULL: u8 = 4;
/// Tried by the request that is being placed.
const TRIED: u8 = 8;

/// More servers than these are followed by the policy, as in the live balancer.
const LARGE: usize = 32;

/// One balancer: a policy, and what it is shown.
#[derive(Debug)]
pub(super) struct Balancer {
    policy: Box<dyn Policy>,
    /// Every change of a candidate is told to the policy.
    follows: bool,
    hears: Hears,
    candidates: Vec<Candidate>,
    /// Why a server may not be picked.
    closed: Vec<u8>,
    /// Own requests in progress.
    own: Vec<u32>,
    records: Vec<Record>,
    terms: Terms,
    /// Requests that wait until somebody may be picked.
    pub(super) waiting: VecDeque<u32>,
    /// When the board was last read, as a number of its period; by server if each has a phase.
    read: Vec<u64>,
}

impl Balancer {
    /// The balancer of this number, from 0.
    pub(super) fn new(plan: &Plan, subject: &Subject, number: u32) -> Result<Self> {
        let candidates = plan.servers.iter().enumerate().map(|(i, it)| {
            let name = format!("server-{i}");
            let mut candidate = Candidate::new(it.weight, 0);
            candidate.identity = Identity::new(&name, &name);
            candidate
        });
        let servers = plan.servers.len();
        let mut policy = subject.build(number, plan.balancers.count)?;
        policy.relist(&vec![None; servers]);
        let candidates: Vec<_> = candidates.collect();
        let follows = LARGE < servers;
        if follows {
            policy.follow(&candidates);
        }
        let terms = Terms {
            // A group of a single server is never taken out.
            max_fails: plan.balancers.max_fails.filter(|_| 1 < servers),
            fail_timeout: Duration::from_secs_f64(plan.balancers.fail_timeout),
            max_conns: plan.balancers.max_conns,
            ..Terms::default()
        };
        Ok(Self {
            policy,
            follows,
            hears: subject.entry.needs.hears,
            candidates,
            closed: vec![0; servers],
            own: vec![0; servers],
            records: vec![Record::default(); servers],
            terms,
            waiting: VecDeque::new(),
            read: vec![0; servers],
        })
    }

    /// Chooses a server that was not `tried`.
    pub(super) fn pick(
        &mut self,
        request: &Request<'_>,
        tried: &[u32],
        choices: &mut SplitMix64,
    ) -> Option<usize> {
        for server in tried {
            self.mark(*server as usize, TRIED, true);
        }
        let picked = self.policy.pick(request, &self.candidates, choices);
        for server in tried {
            self.mark(*server as usize, TRIED, false);
        }
        picked
    }

    /// Counts a request in; with a time, the server may be tried again only from then on.
    pub(super) fn place(&mut self, server: usize, now: Time) -> Option<Time> {
        self.own[server] += 1;
        if self.terms.max_conns.is_some_and(|it| it.get() <= self.own[server]) {
            self.mark(server, FULL, true);
        }
        if self.records[server].fails() == 0 {
            return None;
        }
        self.records[server].placed(now, &self.terms);
        self.judge(server, now)
    }

    /// Counts a request out and tells the policy; with a time, the server may be tried again only
    /// from then on.
    pub(super) fn release(&mut self, server: usize, event: Event, now: Time) -> Option<Time> {
        self.own[server] -= 1;
        if self.terms.max_conns.is_some() {
            self.mark(server, FULL, false);
        }
        let failure = matches!(event, Event::Failure { .. });
        let needed = if failure { Hears::Failures } else { Hears::Ends };
        if needed <= self.hears {
            if let (Event::Success { head, .. }, Hears::Heads) = (event, self.hears) {
                self.policy.learn(server, Event::Head { elapsed: head }, now);
            }
            self.policy.learn(server, event, now);
        }
        if !failure && self.records[server].fails() == 0 {
            return None;
        }
        self.records[server].observe(event, now, &self.terms);
        self.judge(server, now)
    }

    /// Looks whether a server that failed may be picked.
    pub(super) fn judge(&mut self, server: usize, now: Time) -> Option<Time> {
        let from = self.records[server].usable_from(&self.terms);
        self.mark(server, FAILED, now < from);
        (now < from && from < Time::MAX).then_some(from)
    }

    pub(super) fn learn(&mut self, server: usize, event: Event, now: Time) {
        self.policy.learn(server, event, now);
    }

    pub(super) fn probe(&mut self, choices: &mut SplitMix64) -> Option<usize> {
        self.policy.probe(&self.candidates, choices)
    }

    pub(super) fn set_left(&mut self, server: usize, left: bool) {
        self.mark(server, LEFT, left);
    }

    pub(super) fn set_weight(&mut self, server: usize, weight: NonZeroU32) {
        self.candidates[server].weight = weight;
        self.candidates[server].failure_cost = weight.get();
        let same: Vec<_> = (0..self.candidates.len()).map(Some).collect();
        self.policy.relist(&same);
        if self.follows {
            self.policy.follow(&self.candidates);
        }
    }

    /// Shows that a request came to a server or left it.
    pub(super) fn see(&mut self, server: usize, up: bool) {
        let count = self.candidates[server].in_flight;
        self.show(server, if up { count + 1 } else { count.saturating_sub(1) });
    }

    /// Shows how many requests a server has.
    pub(super) fn show(&mut self, server: usize, count: u32) {
        self.change(server, |it| it.in_flight = count);
    }

    /// Reads the boards that have been written since the last look.
    pub(super) fn read_boards(&mut self, view: View, present: &[u32], now: u64) {
        let (period, phases) = match view {
            View::Periodic(period) => (clock::nanos(period).max(1), 1),
            View::Individual(period) => (clock::nanos(period).max(1), present.len() as u64),
            _ => return,
        };
        if phases == 1 {
            // One comparison for all: this is asked at every arrival.
            let turn = now / period + 1;
            if self.read[0] != turn {
                self.read[0] = turn;
                for (server, count) in present.iter().enumerate() {
                    self.show(server, *count);
                }
            }
            return;
        }
        for (server, count) in present.iter().enumerate() {
            let turn = (now + period / phases * server as u64) / period + 1;
            if self.read[server] != turn {
                self.read[server] = turn;
                self.show(server, *count);
            }
        }
    }

    fn mark(&mut self, server: usize, why: u8, on: bool) {
        let closed = &mut self.closed[server];
        *closed = if on { *closed | why } else { *closed & !why };
        let eligible = *closed == 0;
        if self.candidates[server].eligible != eligible {
            self.change(server, |it| it.eligible = eligible);
        }
    }

    fn change(&mut self, server: usize, how: impl FnOnce(&mut Candidate)) {
        let candidate = &mut self.candidates[server];
        if self.follows {
            let before = *candidate;
            how(candidate);
            self.policy.changed(server, &before, candidate);
        } else {
            how(candidate);
        }
    }
}
