//! Pools and choices as the tests write them.

use std::num::NonZeroU32;

use policy::{CATALOG, Candidate, Identity, Policy};

/// The policy with this id, built without options.
#[track_caller]
pub(crate) fn policy(id: &str) -> Box<dyn Policy> {
    let entry = CATALOG.iter().find(|it| it.id == id);
    (entry.unwrap_or_else(|| panic!("{id} is not in the catalog")).build)(&[]).unwrap()
}

/// Idle candidates of these weights.
pub(crate) fn idle(weights: &[u32]) -> Vec<Candidate> {
    weights.iter().map(|it| Candidate::new(NonZeroU32::new(*it).unwrap(), 0)).collect()
}

/// Idle candidates named `127.0.0.1:18081` and so on, as those on which nginx was recorded.
pub(crate) fn named(weights: &[u32]) -> Vec<Candidate> {
    let mut candidates = idle(weights);
    for (port, candidate) in (18081..).zip(&mut candidates) {
        let address = format!("127.0.0.1:{port}");
        candidate.identity = Identity::new(&address, &address);
    }
    candidates
}

/// `a` for the first candidate and `-` for none.
pub(crate) fn letter(pick: Option<usize>) -> char {
    pick.map_or('-', |it| char::from(b'a' + u8::try_from(it).unwrap()))
}
