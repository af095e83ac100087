//! Which policy is meant by these words?

use anyhow::{Context, Result};
use policy::{CATALOG, Entry, Policy};

/// A policy by its id and its options, such as `nginx-least-conn` or `sq:d=2`.
#[derive(Clone, Debug)]
pub struct Subject {
    pub(super) entry: &'static Entry,
    words: Vec<String>,
}

impl Subject {
    /// Reads `ID` or `ID:WORD,WORD`; ids are those of [`CATALOG`], the names of its policies in
    /// configurations do, too.
    pub fn parse(text: &str) -> Result<Self> {
        let (id, words) = text.split_once(':').unwrap_or((text, ""));
        let by_id = CATALOG.iter().find(|it| it.id == id);
        let entry =
            by_id.or_else(|| CATALOG.iter().find(|it| it.name == id)).with_context(|| {
                let known: Vec<_> = CATALOG.iter().map(|it| it.id).collect();
                format!("there is no policy \"{id}\": choose one of {}", known.join(", "))
            })?;
        let words = words.split(',').filter(|it| !it.is_empty()).map(ToOwned::to_owned).collect();
        let subject = Self { entry, words };
        subject.build(0, 1)?;
        Ok(subject)
    }

    /// The id and the options, as they were typed.
    pub fn name(&self) -> String {
        let id = self.entry.id;
        if self.words.is_empty() { id.to_owned() } else { format!("{id}:{}", self.words.join(",")) }
    }

    /// The line that asks for it in nginx.conf, empty for the usual one; `None` where it has none or wants a
    /// key.
    pub fn line(&self) -> Option<String> {
        let own = self.entry.directive?;
        let is_open = |it: &&str| *it == "KEY" || it.ends_with('=');
        let words: Vec<&str> =
            own.iter().copied().chain(self.words.iter().map(String::as_str)).collect();
        let end = if words.is_empty() { "" } else { ";" };
        (!own.iter().any(is_open)).then(|| words.join(" ") + end)
    }

    /// Whether it hashes keys or clients, so that a request may go elsewhere than the one before.
    pub fn looks_at_keys(&self) -> bool {
        self.entry.needs.key || self.entry.needs.client
    }

    /// The policy of one of several balancers. Who wants to know its place among them is told it,
    /// unless its words say it.
    pub(super) fn build(&self, balancer: u32, balancers: u32) -> Result<Box<dyn Policy>> {
        let mut words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let place = [format!("client={balancer}"), format!("clients={balancers}")];
        let says = words.iter().any(|it| it.starts_with("client"));
        if self.entry.id == "aperture-deterministic" && !says {
            words.extend(place.iter().map(String::as_str));
        }
        (self.entry.build)(&words).with_context(|| self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, num::NonZeroU32};

    use policy::{Candidate, Request, SplitMix64, Time};

    use super::*;

    /// The servers of twelve that one of four balancers uses.
    fn used(words: &str, balancer: u32) -> BTreeSet<usize> {
        let mut policy = Subject::parse(words).unwrap().build(balancer, 4).unwrap();
        let candidates = vec![Candidate::new(NonZeroU32::MIN, 0); 12];
        policy.relist(&vec![None; candidates.len()]);
        let mut draw = SplitMix64::new(430);
        let mut pick = |_| policy.pick(&Request::at(Time::ZERO), &candidates, &mut draw).unwrap();
        (0..200).map(&mut pick).collect()
    }

    #[test]
    fn a_policy_says_how_nginx_conf_asks_for_it() {
        let line = |text: &str| Subject::parse(text).unwrap().line();
        assert_eq!(line("nginx-rr").as_deref(), Some(""));
        assert_eq!(line("random_two").as_deref(), Some("random two;"));
        assert_eq!(line("least_time:last_byte").as_deref(), Some("least_time last_byte;"));
        assert_eq!(line("hash_consistent"), None);
    }

    #[test]
    fn each_balancer_has_its_own_part_of_the_ring_unless_words_say_which() {
        let ring = |it: u32| used("aperture-deterministic:min=3", it);
        assert_eq!(ring(0), (0..3).collect());
        assert_eq!(ring(3), (9..12).collect());
        let said = |it: u32| used("aperture-deterministic:min=3,client=1,clients=4", it);
        assert_eq!(said(3), (3..6).collect());
        assert_eq!(used("p2c", 3), (0..12).collect());
    }
}
