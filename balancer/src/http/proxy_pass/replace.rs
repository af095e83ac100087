//! A pattern and what takes its place, as `proxy_redirect` and `proxy_cookie_*` have them.

use crate::conf::{ConfError, Directive, Reading, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::{Template, compile};
use crate::regex::{Matcher, Regex};
use crate::variable::Names;

/// A pattern as it is written: a text, or an expression after `~` or `~*`.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// A text, which may have variables.
    Text(Word),
    /// An expression.
    Regex(Regex),
}

impl Pattern {
    /// Reads a pattern; `is_caseless` holds for `~` already.
    ///
    /// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_rewrite_regex`.
    pub fn read(
        word: &Word,
        is_caseless: bool,
        reading: &mut Reading<'_>,
    ) -> Result<Self, ConfError> {
        let Some(text) = word.strip_prefix('~') else { return Ok(Self::Text(word.clone())) };
        let (text, is_caseless) = match text.strip_prefix('*') {
            Some(text) if !is_caseless => (text, true),
            _ => (text, is_caseless),
        };
        let regex = Regex::new(text.as_bytes(), is_caseless).map_err(|it| word.refuse(it))?;
        regex.names().for_each(|(_, it)| reading.define(it));
        Ok(Self::Regex(regex))
    }

    /// Looks the names in it up.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<Test, ConfError> {
        Ok(match self {
            Self::Text(word) => Test::Text(compile(word, names)?),
            Self::Regex(regex) => Test::Regex(Matcher::new(regex, names)),
        })
    }
}

/// A pattern, ready to be compared with.
#[derive(Debug)]
pub enum Test {
    /// A text.
    Text(Template),
    /// An expression.
    Regex(Matcher),
}

/// The lines of a directive that takes pairs; none of them is what `off` leaves.
pub type Lines<T> = Option<Vec<T>>;

/// Makes ready for one line more, or ends them all with `off`; whether a line is to be read.
///
/// Source: nginx `ngx_http_proxy_module.c`, `ngx_http_proxy_redirect`.
pub fn begin<T>(lines: &mut Lines<T>, directive: &Directive) -> Result<bool, ConfError> {
    let name = directive.name();
    let is_off = directive.arguments().len() == 1 && *directive.text() == "off";
    if lines.as_ref().is_some_and(|it| is_off || it.is_empty()) {
        return Err(name.refuse(format!("\"{name}\" directive is duplicate")));
    }
    if is_off {
        *lines = Some(Vec::new());
    }
    Ok(!is_off)
}
