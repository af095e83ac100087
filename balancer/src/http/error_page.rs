//! `error_page`: what is done instead of sending nginx's page for a status.

use crate::conf::value::number;
use crate::conf::{ConfError, Directive, Effect, MANY, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::{Template, compile};
use crate::http::{WITH_IF, put};
use crate::variable::Names;

/// The lines of one block; without any, those of the enclosing block count.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    lines: Vec<Line>,
    recursive: Option<bool>,
}

#[derive(Clone, Debug)]
struct Line {
    statuses: Vec<u16>,
    answer: Answer,
    target: Word,
}

/// The status of the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    /// The one that led to the page.
    Same,
    /// Whatever the target answers: `=`.
    Targets,
    /// This: `=200`.
    This(u16),
}

/// Directives of every block.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "error_page",
        within: WITH_IF,
        arguments: 2..=MANY,
        effect: Effect::Add(Settings::error_page),
    },
    Row {
        name: "recursive_error_pages",
        within: crate::http::EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.recursive, directive.flag())),
    },
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        let lines = if self.lines.is_empty() { outer.lines.clone() } else { self.lines };
        Self { lines, recursive: self.recursive.or(outer.recursive) }
    }

    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_core_error_page`.
    fn error_page(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let words = directive.arguments();
        let (target, before) = (&words[words.len() - 1], &words[..words.len() - 1]);
        let (answer, codes) = match before.split_last() {
            Some((last, codes)) if last.starts_with('=') => {
                let answer = match &last[1..] {
                    "" => Answer::Targets,
                    text => {
                        let refuse = || last.refuse(format!("invalid value \"{last}\""));
                        let status = number(text).ok_or_else(refuse)?;
                        let large = |_| refuse().with_help("nobody knows a status above 65535");
                        match u16::try_from(status).map_err(large)? {
                            0 => Answer::Targets,
                            status => Answer::This(status),
                        }
                    }
                };
                (answer, codes)
            }
            _ => (Answer::Same, before),
        };
        if codes.is_empty() {
            let word = &before[0];
            return Err(word.refuse(format!("invalid value \"{word}\"")));
        }
        let mut statuses = Vec::new();
        for word in codes {
            // Nobody is left to be sent a page for 499.
            let status = number(word).filter(|it| *it != 499);
            let status = status.ok_or_else(|| word.refuse(format!("invalid value \"{word}\"")))?;
            let status = u16::try_from(status).ok().filter(|it| (300..=599).contains(it));
            let text = || format!("value \"{word}\" must be between 300 and 599");
            statuses.push(status.ok_or_else(|| word.refuse(text()))?);
        }
        self.lines.push(Line { statuses, answer, target: target.clone() });
        Ok(())
    }

    /// Looks the variables of the targets up.
    pub fn compile(&self, names: &Names<Exchange>) -> Result<ErrorPages, ConfError> {
        let mut pages = Vec::new();
        for Line { statuses, answer, target } in &self.lines {
            let template = compile(target, names)?;
            for status in statuses {
                pages.push(Page { status: *status, answer: *answer, target: template.clone() });
            }
        }
        Ok(ErrorPages { pages, is_recursive: self.recursive.unwrap_or_default() })
    }
}

/// What a location does instead of sending nginx's pages.
#[derive(Debug, Default)]
pub struct ErrorPages {
    pages: Vec<Page>,
    is_recursive: bool,
}

#[derive(Debug)]
struct Page {
    status: u16,
    answer: Answer,
    target: Template,
}

/// Where a status leads.
#[derive(Debug, Eq, PartialEq)]
pub enum Target {
    /// To another path of this server, with this query; the method becomes GET.
    Path(Vec<u8>, Vec<u8>),
    /// To a named location.
    Named(Vec<u8>),
    /// To another place: the client is told to go there.
    Elsewhere(u16, Vec<u8>),
}

impl Target {
    /// That of a path, perhaps with a query, or of a name with its `@`.
    pub fn of(target: Vec<u8>) -> Self {
        if target.first() == Some(&b'@') {
            return Self::Named(target);
        }
        match memchr::memchr(b'?', &target) {
            Some(at) => Self::Path(target[..at].to_vec(), target[at + 1..].to_vec()),
            None => Self::Path(target, Vec::new()),
        }
    }
}

impl ErrorPages {
    /// Whether a status has a page of its own here.
    pub fn has(&self, status: u16) -> bool {
        self.pages.iter().any(|it| it.status == status)
    }

    /// Where a status leads, `None` to nginx's page. The exchange remembers the status to send.
    ///
    /// Source: nginx `ngx_http_special_response.c`, `ngx_http_special_response_handler` and
    /// `ngx_http_send_error_page`.
    pub fn lead(&self, exchange: &mut Exchange, status: u16) -> Option<Target> {
        exchange.error_status = Some(status);
        if exchange.has_error_page || self.pages.is_empty() || exchange.changes_left == 0 {
            return None;
        }
        exchange.has_error_page = !self.is_recursive;
        let page = self.pages.iter().find(|it| it.status == status)?;
        match page.answer {
            Answer::This(status) => exchange.error_status = Some(status),
            Answer::Targets => exchange.error_status = None,
            Answer::Same if (494..=497).contains(&status) => exchange.error_status = Some(400),
            Answer::Same => {}
        }
        let target = page.target.value(exchange);
        Some(match target.first() {
            Some(b'/') => {
                if exchange.method() != b"HEAD" {
                    exchange.own_method = Some(b"GET");
                }
                let question = memchr::memchr(b'?', &target);
                let (path, args) = match question {
                    Some(at) => (target[..at].to_vec(), target[at + 1..].to_vec()),
                    None => (target, Vec::new()),
                };
                Target::Path(path, args)
            }
            Some(b'@') => Target::Named(target),
            _ => {
                let asked = exchange.error_status;
                let redirects = |it: &u16| matches!(it, 301 | 302 | 303 | 307 | 308);
                Target::Elsewhere(asked.filter(redirects).unwrap_or(302), target)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = Settings::default().error_page(&directive(text)).unwrap_err();
        assert_eq!(error.reason, expected, "{text}");
    }

    #[test]
    fn statuses_are_those_nginx_allows() {
        refused("error_page 499 /x;", "invalid value \"499\"");
        refused("error_page 200 /x;", "value \"200\" must be between 300 and 599");
        refused("error_page x /x;", "invalid value \"x\"");
        refused("error_page =200 /x;", "invalid value \"=200\"");
        refused("error_page 404 =x /x;", "invalid value \"=x\"");
    }

    fn pages(text: &str) -> ErrorPages {
        let mut settings = Settings::default();
        settings.error_page(&directive(text)).unwrap();
        settings.compile(&Names::default()).unwrap()
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls are a table")]
    #[track_caller]
    fn check(text: &str, status: u16, expected: Option<Target>, answer: Option<u16>) {
        let mut exchange = Exchange { changes_left: 11, ..Exchange::default() };
        assert_eq!(pages(text).lead(&mut exchange, status), expected, "{text}");
        assert_eq!(exchange.error_status, answer, "{text}");
    }

    #[test]
    fn a_status_leads_to_a_path_a_location_or_elsewhere() {
        let path = |path: &[u8], args: &[u8]| Some(Target::Path(path.to_vec(), args.to_vec()));
        check("error_page 404 /x?a=1;", 404, path(b"/x", b"a=1"), Some(404));
        check("error_page 404 500 = /x;", 500, path(b"/x", b""), None);
        check("error_page 404 =200 /x;", 404, path(b"/x", b""), Some(200));
        check("error_page 494 /x;", 494, path(b"/x", b""), Some(400));
        check("error_page 404 @x;", 404, Some(Target::Named(b"@x".to_vec())), Some(404));
        let elsewhere = |status| Some(Target::Elsewhere(status, b"http://a/".to_vec()));
        check("error_page 404 http://a/;", 404, elsewhere(302), Some(404));
        check("error_page 404 =301 http://a/;", 404, elsewhere(301), Some(301));
        check("error_page 404 /x;", 500, None, Some(500));
    }

    #[test]
    fn one_page_is_followed_unless_pages_are_recursive() {
        let pages = pages("error_page 404 /x;");
        let mut exchange = Exchange { changes_left: 11, ..Exchange::default() };
        assert!(pages.lead(&mut exchange, 404).is_some());
        assert!(pages.lead(&mut exchange, 404).is_none());
    }
}
