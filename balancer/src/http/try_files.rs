//! `try_files`: the first of several files that is there, or what is done without any.

use crate::conf::value::number;
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::{Template, compile};
use crate::variable::Names;

/// What one block says; nothing of it is handed on.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    line: Option<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    names: Vec<Word>,
    last: Word,
    status: Option<u16>,
}

/// The row.
pub const ROWS: &[Row<Settings>] = &[Row {
    name: "try_files",
    within: &[Block::Server, Block::Location],
    arguments: 2..=MANY,
    effect: Effect::Add(Settings::try_files),
}];

impl Settings {
    /// Source: nginx `ngx_http_try_files_module.c`, `ngx_http_try_files`.
    fn try_files(&mut self, directive: &Directive) -> Result<(), ConfError> {
        if self.line.is_some() {
            return Err(directive.name().refuse("\"try_files\" directive is duplicate"));
        }
        let (last, names) = directive.arguments().split_last().expect("there are two at least");
        let status = match last.strip_prefix('=') {
            None => None,
            Some(code) => {
                let status = number(code).and_then(|it| u16::try_from(it).ok());
                let refuse = || last.refuse(format!("invalid code \"{code}\""));
                Some(status.filter(|it| *it <= 999).ok_or_else(refuse)?)
            }
        };
        self.line = Some(Line { names: names.to_vec(), last: last.clone(), status });
        Ok(())
    }

    /// Looks variables up.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<Option<TryFiles>, ConfError> {
        let Some(line) = &self.line else { return Ok(None) };
        let candidate = |word: &Word| {
            let short = word.as_bytes().strip_suffix(b"/");
            let name =
                compile(&short.map_or_else(|| word.clone(), |it| word.with_bytes(it)), names)?;
            Ok(Candidate { name, is_folder: short.is_some() })
        };
        let candidates = line.names.iter().map(candidate).collect::<Result<_, ConfError>>()?;
        let last = match line.status {
            Some(status) => Last::Status(status),
            None => Last::Path(compile(&line.last, names)?),
        };
        Ok(Some(TryFiles { candidates, last }))
    }
}

/// The files of a location that are tried.
#[derive(Debug)]
pub struct TryFiles {
    /// In the order of the file.
    pub candidates: Vec<Candidate>,
    /// What is done when none of them is there.
    pub last: Last,
}

/// One that is tried.
#[derive(Debug)]
pub struct Candidate {
    /// Below the root of the location.
    pub name: Template,
    /// Whether it must be a folder instead of a file.
    pub is_folder: bool,
}

/// What is done without any file.
#[derive(Debug)]
pub enum Last {
    /// `=404`
    Status(u16),
    /// Another path, or `@name`.
    Path(Template),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[test]
    fn a_code_is_a_number_of_three_digits_at_most() {
        let told = |text: &str| Settings::default().try_files(&directive(text)).err();
        assert_eq!(told("try_files $uri =x;").unwrap().reason, "invalid code \"x\"");
        assert_eq!(told("try_files $uri =1000;").unwrap().reason, "invalid code \"1000\"");
        assert!(told("try_files $uri =404;").is_none());
    }

    #[test]
    fn a_name_that_ends_in_a_slash_is_a_folder() {
        let mut settings = Settings::default();
        settings.try_files(&directive("try_files /a /b/ /c/;")).unwrap();
        let files = settings.compile(&Names::default()).unwrap().unwrap();
        let folders: Vec<_> = files.candidates.iter().map(|it| it.is_folder).collect();
        assert_eq!(folders, [false, true]);
    }
}
