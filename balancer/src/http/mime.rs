//! `types`: which type belongs to the ending of a name.

use std::collections::HashMap;

use crate::conf::{ConfError, Directive, Reading};

/// Types by ending, in lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Types(HashMap<Vec<u8>, String>);

impl Default for Types {
    /// What nginx knows without a `types` block.
    fn default() -> Self {
        let known = [("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg")];
        Self(known.map(|(ending, it)| (ending.as_bytes().to_vec(), it.to_owned())).into())
    }
}

impl Types {
    /// No type at all.
    pub(super) fn none() -> Self {
        Self(HashMap::new())
    }

    /// Adds what a `types` block says.
    pub(super) fn read(
        &mut self,
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<(), ConfError> {
        for line in directive.entries() {
            let line = line?;
            let kind = line.name().as_str();
            for ending in line.arguments() {
                let lower = ending.to_ascii_lowercase().into_bytes();
                if let Some(old) = self.0.insert(lower, kind.to_owned()) {
                    let text = format!(
                        "duplicate extension \"{ending}\", content type: \"{kind}\", previous \
                         content type: \"{old}\""
                    );
                    reading.tell(ending.refuse(text).warning());
                }
            }
        }
        Ok(())
    }

    /// The type of a path, by what follows the last dot of its last part.
    pub fn of_path(&self, path: &[u8]) -> Option<&str> {
        let name = path.rsplit(|it| *it == b'/').next()?;
        // The dot of a hidden file begins no ending.
        let dot = memchr::memrchr(b'.', name).filter(|it| 0 < *it)?;
        self.0.get(&name[dot + 1..].to_ascii_lowercase()).map(String::as_str)
    }
}

/// A list of types, as that of `gzip_types`; `*` stands for all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kinds {
    has_all: bool,
    kinds: Vec<Vec<u8>>,
}

impl Kinds {
    /// Those that are in every list.
    pub fn of(always: &[&str]) -> Self {
        let kinds = always.iter().map(|it| it.as_bytes().to_vec()).collect();
        Self { has_all: false, kinds }
    }

    /// Adds what a directive says.
    ///
    /// Source: nginx `ngx_http.c`, `ngx_http_types_slot`.
    pub fn read(
        list: &mut Option<Self>,
        directive: &Directive,
        always: &[&str],
        reading: &mut Reading<'_>,
    ) {
        let list = list.get_or_insert_with(|| Self::of(always));
        for word in directive.arguments() {
            if list.has_all || *word == "*" {
                list.has_all = true;
                break;
            }
            let lower = word.as_bytes().to_ascii_lowercase();
            if list.kinds.contains(&lower) {
                let text = format!("duplicate MIME type \"{}\"", word.to_ascii_lowercase());
                reading.tell(word.refuse(text).warning());
            } else {
                list.kinds.push(lower);
            }
        }
    }

    /// Whether a type is among them; none is not.
    pub fn has(&self, kind: &[u8]) -> bool {
        let same = |it: &Vec<u8>| it.eq_ignore_ascii_case(kind);
        self.has_all || (!kind.is_empty() && self.kinds.iter().any(same))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;
    use crate::conf::{Catalog, Dialect};

    #[test]
    fn a_type_is_found_by_the_last_ending() {
        let mut types = Types::none();
        let block = directive("types { text/css css; application/gzip gz TGZ; text/x css gz; }");
        let catalog = Catalog::default();
        let mut reading = Reading::new(&catalog, Dialect::Strict);
        types.read(&block, &mut reading).unwrap();
        assert_eq!(reading.problems.len(), 2, "{:?}", reading.problems);
        for (path, expected) in [
            ("/a.css", Some("text/x")),
            ("/a.CSS", Some("text/x")),
            ("/a.tar.gz", Some("text/x")),
            ("/b.tgz", Some("application/gzip")),
            ("/a.css/b", None),
            ("/css", None),
            ("/a.html", None),
        ] {
            assert_eq!(types.of_path(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn a_list_always_has_its_first_types() {
        let read = |text| {
            let (mut list, catalog) = (None, Catalog::default());
            let mut reading = Reading::new(&catalog, Dialect::Strict);
            Kinds::read(&mut list, &directive(text), &["text/html"], &mut reading);
            let reasons = reading.problems.into_iter().map(|it| it.reason);
            (list.unwrap(), reasons.collect::<Vec<_>>())
        };
        let (list, warnings) = read("gzip_types Text/CSS text/html text/css;");
        assert!(list.has(b"text/css") && list.has(b"TEXT/HTML") && !list.has(b"text/xml"));
        let expected = ["text/html", "text/css"].map(|it| format!("duplicate MIME type \"{it}\""));
        assert_eq!(warnings, expected);
        let (all, _) = read("gzip_types *;");
        assert!(all.has(b"a/b") && all.has(b"") && !list.has(b""));
    }

    #[test]
    fn without_a_block_three_types_are_known() {
        assert_eq!(Types::default().of_path(b"/index.html"), Some("text/html"));
        assert_eq!(Types::default().of_path(b"/a.css"), None);
    }
}
