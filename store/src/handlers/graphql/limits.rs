//! Which queries are too large to look at any closer?
//!
//! Everything here costs no more than the text is long. The library counts fields by walking every
//! fragment wherever it is spread, which a few lines can make last for years, and reads brackets by
//! calling itself; so a query is measured here first.

use std::collections::HashMap;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Selection, SelectionSet,
};

use crate::config::Config;

/// Longest query in bytes.
const MAX_QUERY: usize = 64 << 10;

/// Times one field may be asked for side by side.
const MAX_ALIASES: usize = 20;

/// Brackets inside brackets that a reader is trusted with; more than any sensible depth needs.
const MAX_BRACKETS: usize = 128;

/// Why a query is not executed; text that cannot be parsed is the library's to refuse.
pub(super) fn over_limit(config: &Config, text: &str) -> Option<String> {
    if MAX_QUERY < text.len() {
        return Some(format!("The query is limited to {MAX_QUERY} bytes."));
    }
    if MAX_BRACKETS < brackets(text) {
        return Some(too_deep(config));
    }
    let document = async_graphql::parser::parse_query(text).ok()?;
    let mut measured = Measured { config, document: &document, fragments: HashMap::new() };
    let operations = match &document.operations {
        DocumentOperations::Single(it) => vec![&it.node.selection_set.node],
        DocumentOperations::Multiple(them) => {
            them.values().map(|it| &it.node.selection_set.node).collect()
        }
    };
    for operation in operations {
        match measured.set(operation, 0) {
            Err(refusal) => return Some(refusal),
            Ok(size) if config.graphql_complexity < size.fields => {
                return Some(too_complex(config));
            }
            Ok(_) => (),
        }
    }
    None
}

/// The sentence about the depth.
pub(super) fn too_deep(config: &Config) -> String {
    format!("The query is nested deeper than {} (STORE_GRAPHQL_DEPTH).", config.graphql_depth)
}

/// The sentence about the number of fields.
pub(super) fn too_complex(config: &Config) -> String {
    let most = config.graphql_complexity;
    format!("The query has more than {most} fields (STORE_GRAPHQL_COMPLEXITY).")
}

/// What a selection set comes to once its fragments are written out.
#[derive(Clone, Default)]
struct Size<'a> {
    /// Fields, those inside of fields too.
    fields: usize,
    /// How often each field stands directly in the set.
    beside: HashMap<&'a str, usize>,
}

/// Fragments are measured once, however often they are spread.
struct Measured<'a> {
    config: &'a Config,
    document: &'a ExecutableDocument,
    /// `None` while one is being measured.
    fragments: HashMap<&'a str, Option<Size<'a>>>,
}

impl<'a> Measured<'a> {
    fn set(&mut self, set: &'a SelectionSet, depth: usize) -> Result<Size<'a>, String> {
        // A chain of fragments is as deep as it is long.
        if MAX_BRACKETS < depth {
            return Err(too_deep(self.config));
        }
        let mut size = Size::default();
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => {
                    let inner = self.set(&field.node.selection_set.node, depth + 1)?;
                    size.fields = size.fields.saturating_add(inner.fields).saturating_add(1);
                    *size.beside.entry(field.node.name.node.as_str()).or_default() += 1;
                }
                Selection::InlineFragment(it) => {
                    let inner = self.set(&it.node.selection_set.node, depth + 1)?;
                    size.add(&inner);
                }
                Selection::FragmentSpread(it) => {
                    size.add(&self.fragment(it.node.fragment_name.node.as_str(), depth)?);
                }
            }
        }
        if size.beside.values().any(|it| MAX_ALIASES < *it) {
            return Err(format!("One field is limited to {MAX_ALIASES} aliases."));
        }
        Ok(size)
    }

    fn fragment(&mut self, name: &'a str, depth: usize) -> Result<Size<'a>, String> {
        match self.fragments.get(name) {
            Some(Some(size)) => return Ok(size.clone()),
            Some(None) => return Err(format!("Fragment {name:?} spreads itself.")),
            None => (),
        }
        // One that does not exist is the library's to name.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Size::default()) };
        self.fragments.insert(name, None);
        let size = self.set(&fragment.node.selection_set.node, depth + 1)?;
        self.fragments.insert(name, Some(size.clone()));
        Ok(size)
    }
}

impl Size<'_> {
    fn add(&mut self, other: &Self) {
        self.fields = self.fields.saturating_add(other.fields);
        for (name, count) in &other.beside {
            let sum = self.beside.entry(name).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
}

/// The most brackets that are open at once, outside of texts and comments.
fn brackets(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '{' | '[' | '(' => {
                open += 1;
                most = most.max(open);
            }
            '}' | ']' | ')' => open = open.saturating_sub(1),
            '#' => rest = rest.split_once(['\n', '\r']).map_or("", |(_, after)| after),
            '"' => rest = after_text(rest),
            _ => (),
        }
    }
    most
}

/// What follows a text whose first quote was read.
fn after_text(rest: &str) -> &str {
    if let Some(block) = rest.strip_prefix("\"\"") {
        let mut from = 0;
        while let Some(at) = block[from..].find("\"\"\"") {
            let at = from + at;
            from = at + 3;
            if !block[..at].ends_with('\\') {
                return &block[from..];
            }
        }
        return "";
    }
    let mut escaped = false;
    for (at, character) in rest.char_indices() {
        match character {
            '\n' | '\r' => return &rest[at..],
            '"' if !escaped => return &rest[at + 1..],
            _ => escaped = character == '\\' && !escaped,
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::read(&|_| None, "test").unwrap().0
    }

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let start = &text[..text.len().min(80)];
        assert_eq!(over_limit(&config(), text).as_deref(), expected, "{start}");
    }

    #[test]
    fn one_field_has_a_limited_number_of_aliases() {
        let fields = |from, count| {
            let field = |it| format!("a{it}: stockLevel(productId: \"1\")");
            (from..from + count).map(field).collect::<Vec<_>>().join(" ")
        };
        let refusal = Some("One field is limited to 20 aliases.");
        check(&format!("{{ {} }}", fields(0, 20)), None);
        check(&format!("{{ {} }}", fields(0, 21)), refusal);
        let fragment = |name, from| format!("fragment {name} on Query {{ {} }}", fields(from, 15));
        let (f, g) = (fragment("F", 0), fragment("G", 50));
        check(&format!("{{ ...F }} {f}"), None);
        check(&format!("{{ ...F ...G }} {f} {g}"), refusal);
    }

    #[test]
    fn fragments_that_double_are_counted_without_being_walked() {
        let doubled = |it| {
            let spread = format!("{{ ...F{} }}", it + 1);
            format!("fragment F{it} on Query {{ a: __typename {spread} b: __typename {spread} }}")
        };
        let fragments: Vec<_> = (0..30).map(doubled).collect();
        let last = "fragment F30 on Query { __typename }";
        let text = format!("{{ ...F0 }} {} {last}", fragments.join(" "));
        check(&text, Some("The query has more than 500 fields (STORE_GRAPHQL_COMPLEXITY)."));
    }

    #[test]
    fn a_long_chain_of_fragments_is_as_deep_as_it_is_long() {
        let link = |it| format!("fragment F{it} on Query {{ ...F{} }}", it + 1);
        let chain: Vec<_> = (0..1500).map(link).collect();
        let refusal = "The query is nested deeper than 16 (STORE_GRAPHQL_DEPTH).";
        check(&format!("{{ ...F0 }} {}", chain.join(" ")), Some(refusal));
    }

    #[test]
    fn a_fragment_that_spreads_itself_is_refused() {
        let text = "{ ...A } fragment A on Query { ...B ...B } fragment B on Query { ...A ...A }";
        check(text, Some("Fragment \"A\" spreads itself."));
    }

    #[test]
    fn deep_brackets_are_refused_before_anybody_reads_them() {
        let refusal = Some("The query is nested deeper than 16 (STORE_GRAPHQL_DEPTH).");
        check(&"{a".repeat(20_000), refusal);
        check(&format!("{{ product(id: {} ) {{ id }} }}", "[".repeat(60_000)), refusal);
        check(&format!("{{ product(id: {:?}) {{ id }} }}", "{".repeat(200)), None);
        check(&format!("# {}\n{{ __typename }}", "(".repeat(200)), None);
    }

    #[test]
    fn brackets_inside_texts_and_comments_do_not_count() {
        for (text, expected) in [
            ("{ a }", 1),
            ("{ a(b: [1]) }", 3),
            (r#"{ a(b: "{{{") }"#, 2),
            (r#"{ a(b: "\"{{") }"#, 2),
            ("{ a(b: \"\"\"{ \\\"\"\" {{ \"\"\") { c } }", 2),
            ("{ # {{{\r a { b } }", 2),
            ("}}}{", 1),
        ] {
            assert_eq!(brackets(text), expected, "{text}");
        }
    }
}
