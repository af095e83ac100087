//! `index`: which files stand for a folder.

use crate::conf::{ConfError, Directive, Effect, MANY, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::EVERYWHERE;
use crate::http::variable::{Template, compile};
use crate::variable::Names;

/// The names of one block; without any, those of the enclosing block count.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    names: Vec<Word>,
}

/// The row.
pub const ROWS: &[Row<Settings>] = &[Row {
    name: "index",
    within: EVERYWHERE,
    arguments: 1..=MANY,
    effect: Effect::Add(Settings::index),
}];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        if self.names.is_empty() { outer.clone() } else { self }
    }

    /// Source: nginx `ngx_http_index_module.c`, `ngx_http_index_set_index`.
    fn index(&mut self, directive: &Directive) -> Result<(), ConfError> {
        for word in directive.arguments() {
            if word.is_empty() {
                let text = "index \"\" in \"index\" directive is invalid";
                return Err(word.refuse(text));
            }
            self.names.push(word.clone());
        }
        Ok(())
    }

    /// Looks variables up.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<Vec<Template>, ConfError> {
        if self.names.is_empty() {
            return Ok(vec![Template::text(b"index.html")]);
        }
        self.names.iter().map(|it| compile(it, names)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(inner: &[&str], outer: &[&str], expected: &[&str]) {
        let settings = |texts: &[&str]| {
            let mut settings = Settings::default();
            texts.iter().for_each(|it| settings.index(&directive(it)).unwrap());
            settings
        };
        let names = settings(inner).within(&settings(outer)).compile(&Names::default()).unwrap();
        let names: Vec<_> = names.iter().map(|it| it.as_text().unwrap()).collect();
        assert_eq!(names, expected.iter().map(|it| it.as_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn lines_of_a_block_add_up_and_replace_those_around() {
        check(&[], &[], &["index.html"]);
        check(&[], &["index a b;"], &["a", "b"]);
        check(&["index c;", "index d;"], &["index a b;"], &["c", "d"]);
    }

    #[test]
    fn an_empty_name_is_refused() {
        let error = Settings::default().index(&directive("index \"\";")).unwrap_err();
        assert_eq!(error.reason, "index \"\" in \"index\" directive is invalid");
    }
}
