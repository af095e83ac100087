//! Is every directive that is due there, in every block where nginx allows it?
//!
//! `catalog/nginx.txt` says what is due; `catalog/missing.txt` what is not there yet. The second
//! only shrinks: what has been built leaves it and never comes back.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeSet;

use balancer::conf::{Block, Catalog, Dialect};
use balancer::modules;

const DUE: &str = include_str!("catalog/nginx.txt");
const MISSING: &str = include_str!("catalog/missing.txt");

const LETTERS: [(&str, Block); 12] = [
    ("M", Block::Main),
    ("E", Block::Events),
    ("H", Block::Http),
    ("S", Block::Server),
    ("L", Block::Location),
    ("I", Block::IfInLocation),
    ("J", Block::IfInServer),
    ("X", Block::LimitExcept),
    ("U", Block::Upstream),
    ("T", Block::Stream),
    ("V", Block::StreamServer),
    ("W", Block::StreamUpstream),
];

/// Each name with each letter, from lines of `NAME LETTER…`.
fn places(text: &str) -> BTreeSet<(&str, &str)> {
    let lines = text.lines().filter(|it| !it.starts_with('#'));
    lines
        .flat_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next();
            words.map(move |letter| (name.unwrap(), letter))
        })
        .collect()
}

/// Whether a row accepts the name there.
fn is_there(catalog: &Catalog, name: &str, letter: &str) -> bool {
    let (_, block) = LETTERS.iter().find(|(it, _)| *it == letter).unwrap();
    catalog.blocks_of(name, Dialect::Extended).contains(block)
}

#[test]
fn what_is_due_is_there_or_known_to_be_missing() {
    let (catalog, known) = (modules::catalog(), places(MISSING));
    let lost: Vec<_> = places(DUE)
        .into_iter()
        .filter(|(name, letter)| !is_there(&catalog, name, letter))
        .filter(|it| !known.contains(it))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[test]
fn only_what_is_due_can_be_missing() {
    let due = places(DUE);
    let strange: Vec<_> = places(MISSING).into_iter().filter(|it| !due.contains(it)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

/// `cargo test … -- --ignored --nocapture still_missing` prints what `missing.txt` should hold.
#[test]
#[ignore = "prints the list"]
fn still_missing() {
    let catalog = modules::catalog();
    let due = places(DUE);
    let names: BTreeSet<_> = due.iter().map(|(name, _)| *name).collect();
    for name in names {
        let letters = LETTERS.iter().map(|(letter, _)| *letter);
        let gone: Vec<_> = letters
            .filter(|it| due.contains(&(name, *it)) && !is_there(&catalog, name, it))
            .collect();
        if !gone.is_empty() {
            println!("{name} {}", gone.join(" "));
        }
    }
}
