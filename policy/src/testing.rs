//! How the tests of this crate write pools and choices down.

use std::num::NonZeroU32;

use crate::{Candidate, Draw, Identity, Policy, Request, SplitMix64, Time};

/// One word per backend, `weight:in_flight` or `weight`; a leading `!` marks it as not eligible.
#[track_caller]
pub(crate) fn pool(backends: &str) -> Vec<Candidate> {
    let backend = |word: &str| {
        let (weight, in_flight) =
            word.trim_start_matches('!').split_once(':').unwrap_or((word, "0"));
        let weight: NonZeroU32 = weight.trim_start_matches('!').parse().unwrap();
        let mut candidate = Candidate::new(weight, in_flight.parse().unwrap());
        candidate.eligible = !word.starts_with('!');
        candidate
    };
    backends.split_whitespace().map(backend).collect()
}

/// The same pool, named `127.0.0.1:18081` and so on, as the pools on which nginx was recorded.
#[track_caller]
pub(crate) fn named(backends: &str) -> Vec<Candidate> {
    let mut candidates = pool(backends);
    for (port, candidate) in (18081..).zip(&mut candidates) {
        let address = format!("127.0.0.1:{port}");
        candidate.identity = Identity::new(&address, &address);
    }
    candidates
}

/// Picks once for each letter of `like`; a blank there becomes a blank in [`letters`].
pub(crate) fn served(
    policy: &mut dyn Policy,
    candidates: &[Candidate],
    like: &str,
) -> Vec<Option<usize>> {
    let mut draw = SplitMix64::new(1);
    let request = Request::at(Time::ZERO);
    let mut pick = |letter| match letter {
        ' ' => Some(BLANK),
        _ => policy.pick(&request, candidates, &mut draw),
    };
    like.chars().map(&mut pick).collect()
}

/// The picks as letters, `a` for the first candidate and `-` for none.
pub(crate) fn letters(picks: &[Option<usize>]) -> String {
    let letter = |it: &Option<usize>| match *it {
        Some(BLANK) => ' ',
        Some(position) => char::from(b'a' + u8::try_from(position).unwrap()),
        None => '-',
    };
    picks.iter().map(letter).collect()
}

const BLANK: usize = usize::MAX;

/// Which part of the picks each of `len` candidates got.
#[expect(clippy::cast_precision_loss, reason = "tests pick far less than 2^52 times")]
pub(crate) fn shares(picks: &[Option<usize>], len: usize) -> Vec<f64> {
    let count = |position| picks.iter().filter(|it| **it == Some(position)).count();
    (0..len).map(|it| count(it) as f64 / picks.len() as f64).collect()
}

/// Draws that fall where a test wants them, and none besides.
#[derive(Debug)]
pub(crate) struct Script(std::vec::IntoIter<u64>);

impl Script {
    /// Draws by weight that fall on the named candidates, one after the other.
    pub(crate) fn onto(weights: &[u32], drawn: &str) -> Self {
        let total = weights.iter().sum::<u32>();
        let bits = |letter: u8| {
            let point = weights[..usize::from(letter - b'a')].iter().sum::<u32>();
            let bits = (u128::from(point) << 64).div_ceil(u128::from(total));
            u64::try_from(bits).unwrap()
        };
        Self(drawn.bytes().map(bits).collect::<Vec<_>>().into_iter())
    }
}

impl Draw for Script {
    fn bits(&mut self) -> u64 {
        self.0.next().expect("the policy draws as often as the test says")
    }
}
