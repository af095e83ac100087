//! How do tests come by a configuration? From texts under names, without any file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::{Directive, Reader, Syntax, read};

/// Texts under their paths; a pattern may end in `*`.
#[derive(Debug, Default)]
pub(crate) struct Texts(BTreeMap<PathBuf, Vec<u8>>);

impl Texts {
    pub(crate) fn with(mut self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.0.insert(path.into(), text.as_ref().to_vec());
        self
    }
}

impl Reader for Texts {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::from_raw_os_error(2))
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = pattern.to_string_lossy();
        let (head, tail) = pattern.split_once('*').expect("tests ask for patterns with a star");
        let fits = |it: &&PathBuf| {
            let name = it.to_string_lossy();
            name.starts_with(head) && name.ends_with(tail)
        };
        Ok(self.0.keys().filter(fits).cloned().collect())
    }
}

/// Reads one text as `nginx.conf`.
pub(crate) fn syntax(text: impl AsRef<[u8]>) -> Syntax {
    read(Path::new("nginx.conf"), "", &Texts::default().with("nginx.conf", text))
}

/// The one directive of a text without mistakes.
#[track_caller]
pub(crate) fn directive(text: &str) -> Directive {
    let mut syntax = syntax(text);
    assert!(syntax.problems.is_empty(), "{text}: {:?}", syntax.problems);
    assert_eq!(syntax.directives.len(), 1, "{text}");
    syntax.directives.remove(0)
}
