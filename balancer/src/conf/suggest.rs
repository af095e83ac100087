//! What did the operator mean?
//!
//! A name that is nearly right gets the nearest known name of its block; one that stands in the
//! wrong block is told where it belongs; one of a module that is not part of this program is told
//! the module and the nearest way.

use std::collections::BTreeSet;

use super::catalog::Catalog;
use super::foreign;
use super::reading::Dialect;
use super::row::Block;

/// The help for a name that is unknown everywhere; `None` when nothing is near.
#[must_use]
pub fn unknown(name: &str, block: Block, catalog: &Catalog, dialect: Dialect) -> Option<String> {
    if let Some(module) = foreign::module_of(name) {
        return Some(module.help());
    }
    if let Some(near) = nearest(name, catalog.names_in(block, dialect)) {
        return Some(format!("did you mean `{near}`?"));
    }
    let elsewhere = catalog.iter().map(|it| it.name);
    let near = nearest(name, elsewhere.filter(|it| !catalog.blocks_of(it, dialect).is_empty()))?;
    let belongs = belongs(near, &catalog.blocks_of(near, dialect));
    Some(format!("did you mean `{near}`? {belongs}"))
}

/// Where a name belongs that has strayed.
#[must_use]
pub fn belongs(name: &str, within: &BTreeSet<Block>) -> String {
    let blocks: Vec<String> = within.iter().map(ToString::to_string).collect();
    match blocks.split_last() {
        Some((last, [])) => format!("`{name}` belongs in {last}"),
        Some((last, others)) => format!("`{name}` belongs in {} or {last}", others.join(", ")),
        None => format!("`{name}` belongs nowhere"),
    }
}

/// The nearest of some words, the first of several: at most two letters away, one for short words.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = if word.chars().count() < 5 { 1 } else { 2 };
    known
        .map(|it| (strsim::osa_distance(word, it), it))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        let known = ["least_conn", "listen", "server", "set", "root", "return"];
        assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
    }

    #[test]
    fn the_nearest_word_is_two_letters_away_at_most() {
        check("leastconn", Some("least_conn"));
        check("leasconn", Some("least_conn"));
        check("leascon", None);
        check("lsiten", Some("listen"));
        check("servers", Some("server"));
    }

    #[test]
    fn a_short_word_must_be_nearer() {
        check("sett", Some("set"));
        check("rot", Some("root"));
        check("toot", Some("root"));
        check("rut", None);
    }

    #[test]
    fn a_stray_word_is_told_all_its_blocks() {
        let within = BTreeSet::from([Block::Server, Block::Http, Block::Location]);
        assert_eq!(belongs("root", &within), "`root` belongs in `http`, `server` or `location`");
        assert_eq!(
            belongs("listen", &BTreeSet::from([Block::Server])),
            "`listen` belongs in `server`"
        );
    }
}
