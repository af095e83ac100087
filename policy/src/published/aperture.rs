//! Which few of many servers should one of many clients use?

use crate::options::Options;
use crate::{Candidate, Draw, Event, Policy, Refusal, Request, RoundRobin, Time};

/// Deterministic aperture: clients lie evenly on a ring of servers, each uses the arc from its place.
///
/// Arcs overlap so that every server is used by as many clients; a server on the edge is drawn as
/// often as its part in the arc says. Of two distinct draws the less busy wins, the first of equals.
/// More than 20 draws of servers that are not eligible leave the arc: round robin over all.
///
/// Source: Finagle `DeterministicAperture.scala` and `Ring.scala`, `pick2`. Constant cost, no
/// allocation. Weights matter only outside the arc.
#[derive(Debug)]
pub struct Aperture {
    client: u32,
    clients: u32,
    min: u32,
    fallback: RoundRobin,
}

/// A part of the ring, in servers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Arc {
    from: f64,
    width: f64,
}

impl Aperture {
    /// Reads `client=0` of `clients=1`, and `min=12` servers, which are also the defaults.
    pub(crate) fn from_words(words: &[&str]) -> Result<Self, Refusal> {
        let options = Options::new(words, &["client", "clients", "min"])?;
        let positive = |it: &str| it.parse().ok().filter(|it| 0 < *it);
        let clients = options.value("clients", 1, positive)?;
        let client = options.value("client", 0, |it| it.parse().ok().filter(|it| *it < clients))?;
        let min = options.value("min", 12, positive)?;
        Ok(Self { client, clients, min, fallback: RoundRobin::default() })
    }

    fn arc(&self, servers: usize) -> Arc {
        let wanted = u64::from(self.min) * u64::from(self.clients);
        let units = u32::try_from(wanted.div_ceil(servers as u64)).unwrap_or(u32::MAX);
        let per_client = as_f64(servers) / f64::from(self.clients);
        Arc {
            from: f64::from(self.client) * per_client,
            width: f64::from(units.min(self.clients)) * per_client,
        }
    }
}

impl Arc {
    /// Two distinct servers by their parts in the arc; the same twice if it has but one.
    fn pick_two(self, servers: usize, draw: &mut dyn Draw) -> (usize, usize) {
        let end = self.from + self.width;
        let at = self.from + self.width * draw.unit();
        let begin = at.floor();
        // The arc without the first server: what lies behind that moves up.
        let (low, high) = (begin.max(self.from), (begin + 1.0).min(end));
        let rest = self.width - (high - low);
        let first = whole(begin, servers);
        if rest <= f64::EPSILON {
            return (first, first);
        }
        let mut other = self.from + rest * draw.unit();
        if low <= other {
            other += high - low;
        }
        let second = whole(other.floor(), servers);
        // An arc all around may begin and end within one server.
        if second == first && 1 < servers {
            return (first, (first + 1) % servers);
        }
        (first, second)
    }
}

impl Policy for Aperture {
    fn pick(
        &mut self,
        request: &Request<'_>,
        candidates: &[Candidate],
        draw: &mut dyn Draw,
    ) -> Option<usize> {
        self.fallback.fit(candidates.len());
        if candidates.is_empty() {
            return None;
        }
        let arc = self.arc(candidates.len());
        for _ in 0..=REDRAWS {
            let (first, second) = arc.pick_two(candidates.len(), draw);
            let (one, other) = (&candidates[first], &candidates[second]);
            match (one.eligible, other.eligible) {
                (true, true) if other.in_flight < one.in_flight => return Some(second),
                (true, _) => return Some(first),
                (false, true) => return Some(second),
                (false, false) => (),
            }
        }
        self.fallback.pick(request, candidates, draw)
    }

    fn relist(&mut self, from: &[Option<usize>]) {
        self.fallback.relist(from);
    }

    fn learn(&mut self, position: usize, event: Event, now: Time) {
        self.fallback.learn(position, event, now);
    }
}

/// How many pairs may be drawn in vain before the arc is left.
const REDRAWS: u32 = 20;

#[expect(clippy::cast_precision_loss, reason = "lists stay far below 2^52")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

/// The server at a whole place of the ring, which may go round once more.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place is not negative and below twice the servers"
)]
fn whole(place: f64, servers: usize) -> usize {
    place as usize % servers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;
    use crate::testing::{pool, served, shares};

    fn aperture(client: u32, clients: u32) -> Aperture {
        Aperture { client, clients, min: 12, fallback: RoundRobin::default() }
    }

    /// Servers for each client, and clients for each server.
    #[test]
    fn arcs_are_as_wide_as_finagle_makes_them() {
        let cases = [
            (12, 100, 16.667, 2.0),
            (100, 100, 12.0, 12.0),
            (1000, 100, 12.0, 120.0),
            (7, 50, 14.286, 2.0),
            (3, 10, 10.0, 3.0),
        ];
        for (clients, servers, width, connections) in cases {
            let arc = aperture(0, clients).arc(servers);
            assert!((arc.width - width).abs() < 1e-3, "{clients}, {servers}: {arc:?}");
            let per_server = arc.width * f64::from(clients) / as_f64(servers);
            assert!((per_server - connections).abs() < 1e-9, "{clients}, {servers}");
        }
    }

    /// The last of `n` servers lies in the arc by half: how often is it in the pair, beside the first?
    #[test]
    fn half_a_server_is_drawn_more_than_half_as_often() {
        for (n, expected) in [(2_u32, 1.0), (3, 0.6087), (6, 0.5307), (10, 0.5155)] {
            let arc = Arc { from: 0.0, width: f64::from(n) - 0.5 };
            let mut draw = SplitMix64::new(5);
            let (mut first, mut last) = (0.0, 0.0);
            for _ in 0..100_000 {
                let pair = arc.pick_two(20, &mut draw);
                let has = |it: usize| f64::from(u8::from(pair.0 == it || pair.1 == it));
                first += has(0);
                last += has(n as usize - 1);
            }
            assert!((last / first - expected).abs() < 0.02, "{n}: {}", last / first);
        }
    }

    #[test]
    fn a_client_keeps_to_its_arc_and_neighbours_share_the_edge() {
        let candidates = pool(&"1 ".repeat(100));
        let used = |client| {
            let picks = served(&mut aperture(client, 12), &candidates, &"x".repeat(20_000));
            let shares = shares(&picks, 100);
            (0..100).filter(|it| 0.0 < shares[*it]).collect::<Vec<_>>()
        };
        assert_eq!(used(0), (0..=16).collect::<Vec<_>>());
        assert_eq!(used(11), (0..=8).chain(91..100).collect::<Vec<_>>());
    }

    #[test]
    fn the_less_busy_of_two_wins() {
        let picks = served(&mut aperture(0, 1), &pool("1:1 1:0"), &"x".repeat(1000));
        assert!(shares(&picks, 2)[0] < 1e-9);
    }

    #[test]
    fn an_arc_without_an_eligible_server_is_left() {
        let mut backends = "!1 ".repeat(99);
        backends.push_str("1:5");
        let picks = served(&mut aperture(3, 12), &pool(&backends), "x");
        assert_eq!(picks, [Some(99)]);
    }
}
