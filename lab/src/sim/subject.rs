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
        subject.build()?;
        Ok(subject)
    }

    /// The id and the options, as they were typed.
    pub fn name(&self) -> String {
        let id = self.entry.id;
        if self.words.is_empty() { id.to_owned() } else { format!("{id}:{}", self.words.join(",")) }
    }

    /// Whether it hashes keys or clients, so that a request may go elsewhere than the one before.
    pub fn looks_at_keys(&self) -> bool {
        self.entry.needs.key || self.entry.needs.client
    }

    pub(super) fn build(&self) -> Result<Box<dyn Policy>> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        (self.entry.build)(&words).with_context(|| self.name())
    }
}
