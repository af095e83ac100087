//! Which directives does the program know, and what does it do with them?
//!
//! Generated from the rows of the modules, so that it cannot drift from the program; syntax,
//! defaults and remarks, which rows do not hold, stand in `reference.txt`.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::NGINX_VERSION;
use crate::conf::{Block, Catalog, Declared, MANY, Origin, foreign};

/// Lines of `NAME | ARGUMENTS | DEFAULT | REMARK`; a name of `stream` begins with `stream:`.
const NOTES: &str = include_str!("reference.txt");

/// The table of what is different on purpose.
const DIFFERENCES: &str = include_str!("differences.md");

/// One line of the reference: rows of one name with one verdict.
struct Entry {
    name: &'static str,
    is_stream: bool,
    within: Vec<Block>,
    verdict: &'static str,
    /// The reason or the way out.
    reason: &'static str,
    arguments: String,
}

/// What `reference.txt` says of a name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Note<'a> {
    arguments: &'a str,
    default: &'a str,
    remark: &'a str,
}

/// A line for each directive: name, verdict and blocks.
#[must_use]
pub fn text(catalog: &Catalog) -> String {
    let mut text = String::new();
    for entry in entries(catalog) {
        let blocks: Vec<_> = entry.within.iter().map(|it| block(*it)).collect();
        let line = format!("{:<36} {:<14} {}", entry.name, entry.verdict, blocks.join(" "));
        writeln!(text, "{}", line.trim_end()).expect("a string takes every text");
    }
    text
}

/// The whole of `docs/nginx.md`.
#[must_use]
pub fn markdown(catalog: &Catalog) -> String {
    let entries = entries(catalog);
    let count = |verdict: &str| entries.iter().filter(|it| it.verdict == verdict).count();
    let mut text = format!(
        "# nginx's directives\n\n\
         Generated: `balancer directives --format markdown > docs/nginx.md`. Compared with nginx \
         {NGINX_VERSION}.\n\n\
         Each directive has one verdict, which `balancer test --explain` shows for a \
         configuration:\n\n\
         | verdict | meaning | here |\n|---|---|---|\n\
         | honoured | behaves as in nginx | {} |\n\
         | without effect | name, place and value are checked as in nginx; it does nothing, for the \
         reason given | {} |\n\
         | extension | a word of our own; refused with `--strict` | {} |\n\
         | refused | stops the start; the way out is told | {} |\n\n",
        count("honoured"),
        count("without effect"),
        count("extension"),
        count("refused"),
    );
    text.push_str(DIFFERENCES);
    for (title, is_stream) in [("http", false), ("stream", true)] {
        let rows = entries.iter().filter(|it| it.is_stream == is_stream && it.verdict != "refused");
        table(&mut text, title, rows);
    }
    text.push_str("\n## Refused\n\n| directive | way out |\n|---|---|\n");
    for entry in entries.iter().filter(|it| it.verdict == "refused") {
        row(&mut text, &[&code(entry.name), entry.reason]);
    }
    text.push_str("\n## Modules that are not part of balancer\n\n");
    text.push_str("| module | directives | way out |\n|---|---|---|\n");
    for module in foreign::MODULES {
        let names: Vec<_> = module.names.iter().map(|it| code(it)).collect();
        row(&mut text, &[module.name, &names.join(" "), module.instead]);
    }
    text
}

fn table<'a>(text: &mut String, title: &str, entries: impl Iterator<Item = &'a Entry>) {
    let mut entries = entries.peekable();
    if entries.peek().is_none() {
        return;
    }
    write!(
        text,
        "\n## Directives of {title}\n\n\
         | directive | arguments | default | blocks | verdict | remark |\n|---|---|---|---|---|---|\n"
    )
    .expect("a string takes every text");
    for entry in entries {
        let note = note(entry.name, entry.is_stream);
        let blocks: Vec<_> = entry.within.iter().map(|it| block(*it)).collect();
        let remarks: Vec<_> =
            [entry.reason, note.remark].into_iter().filter(|it| !it.is_empty()).collect();
        let arguments = match note.arguments {
            "" => entry.arguments.clone(),
            "-" => String::new(),
            words => code(words),
        };
        let default = if note.default.is_empty() { String::new() } else { code(note.default) };
        let cells = [
            &code(entry.name),
            &arguments,
            &default,
            &blocks.join(", "),
            entry.verdict,
            &remarks.join("; "),
        ];
        row(text, &cells);
    }
}

fn row(text: &mut String, cells: &[&str]) {
    let cells: Vec<_> = cells.iter().map(|it| it.replace('|', "\\|")).collect();
    writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes every text");
}

fn code(words: &str) -> String {
    format!("`{words}`")
}

/// The rows by name, those that differ only in their blocks as one.
fn entries(catalog: &Catalog) -> Vec<Entry> {
    let mut entries: BTreeMap<_, Entry> = BTreeMap::new();
    for declared in catalog.iter() {
        let is_stream = declared.within.iter().all(|it| is_of_stream(*it));
        let is_stream = is_stream && !declared.within.is_empty();
        let (verdict, reason) = verdict(declared);
        let key = (declared.name, is_stream, verdict, reason);
        let entry = entries.entry(key).or_insert_with(|| Entry {
            name: declared.name,
            is_stream,
            within: Vec::new(),
            verdict,
            reason,
            arguments: arguments(declared),
        });
        entry.within.extend(declared.within);
        entry.within.sort_unstable();
        entry.within.dedup();
    }
    entries.into_values().collect()
}

fn is_of_stream(block: Block) -> bool {
    use Block::{Stream, StreamMatch, StreamServer, StreamUpstream};
    matches!(block, Stream | StreamServer | StreamUpstream | StreamMatch)
}

fn verdict(declared: &Declared) -> (&'static str, &'static str) {
    match (declared.refused, declared.without_effect, declared.origin) {
        (Some(help), ..) => ("refused", help),
        (_, Some(reason), _) => ("without effect", reason),
        (_, _, Origin::Nginx) => ("honoured", ""),
        (_, _, Origin::Extension) => ("extension", ""),
    }
}

/// How many words may follow, where `reference.txt` does not say which.
fn arguments(declared: &Declared) -> String {
    let (least, most) = (*declared.arguments.start(), *declared.arguments.end());
    let block = if declared.opens { ", a block" } else { "" };
    match (least, most) {
        (0, 0) if declared.opens => "a block".to_owned(),
        (0, 0) => "none".to_owned(),
        (least, most) if least == most => format!("{least}{block}"),
        (least, MANY) => format!("{least} or more{block}"),
        (least, most) => format!("{least} to {most}{block}"),
    }
}

fn block(block: Block) -> &'static str {
    match block {
        Block::Main => "main",
        Block::Events => "events",
        Block::Http => "http",
        Block::Server | Block::StreamServer => "server",
        Block::Location => "location",
        Block::IfInServer => "if in server",
        Block::IfInLocation => "if in location",
        Block::LimitExcept => "limit_except",
        Block::Upstream | Block::StreamUpstream => "upstream",
        Block::Match | Block::StreamMatch => "match",
        Block::Stream => "stream",
    }
}

fn note(name: &str, is_stream: bool) -> Note<'static> {
    let wanted = if is_stream { format!("stream:{name}") } else { name.to_owned() };
    notes().find(|(it, _)| *it == wanted).map(|(_, note)| note).unwrap_or_default()
}

fn notes() -> impl Iterator<Item = (&'static str, Note<'static>)> {
    NOTES.lines().filter(|it| !it.starts_with('#') && !it.is_empty()).map(|line| {
        // A bar with blanks around it parts the fields; one without stands between choices.
        let mut fields = line.split(" | ").map(str::trim);
        let mut field = || fields.next().unwrap_or_default();
        let name = field();
        (name, Note { arguments: field(), default: field(), remark: field() })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::modules;

    #[test]
    fn the_committed_reference_is_the_one_of_the_rows() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/nginx.md");
        let committed = std::fs::read_to_string(path).unwrap();
        let help = "run `cargo run -p balancer -- directives --format markdown > docs/nginx.md`";
        assert!(committed == markdown(&modules::catalog()), "{help}");
    }

    #[test]
    fn every_note_is_about_a_directive_of_nginx_and_stands_once() {
        let mut seen = BTreeSet::new();
        for (name, _) in notes() {
            assert!(seen.insert(name), "{name} is there twice");
            let bare = name.strip_prefix("stream:").unwrap_or(name);
            assert!(bare.bytes().all(|it| it.is_ascii_lowercase() || b"_0123456789".contains(&it)));
        }
    }

    #[test]
    fn rows_that_differ_only_in_their_blocks_are_one_entry() {
        let entries = entries(&modules::catalog());
        let locations: Vec<_> = entries.iter().filter(|it| it.name == "location").collect();
        assert_eq!(locations.len(), 1);
        assert_eq!(locations[0].within, [Block::Server, Block::Location]);
        assert_eq!(locations[0].arguments, "1 to 2, a block");
    }

    #[test]
    fn a_bar_within_a_cell_is_hidden_from_the_table() {
        let mut text = String::new();
        row(&mut text, &["a|b", "c"]);
        assert_eq!(text, "| a\\|b | c |\n");
    }
}
