//! `return`.

use crate::conf::value::number;
use crate::conf::{Block, ConfError, Directive, Effect, Row, Word};
use crate::http::variable::{Template, compile};

/// What one block says; nothing of it is handed on to the blocks within.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The first `return`; those after it are never reached.
    pub answer: Option<Answer>,
}

/// A `return` as it is written.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    text: Option<Word>,
}

/// Directives of `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[Row {
    name: "return",
    within: &[Block::Server, Block::Location],
    arguments: 1..=2,
    effect: Effect::Add(Settings::answer),
}];

/// Sent where a text stands alone.
const FOUND: u16 = 302;

impl Settings {
    /// Source: nginx `ngx_http_rewrite_module.c`, `ngx_http_rewrite_return`.
    fn answer(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        let text = directive.arguments().get(1);
        let refuse = || word.refuse(format!("invalid return code \"{word}\""));
        let answer = match number(word) {
            Some(status) => {
                let status = u16::try_from(status).ok().filter(|it| *it <= 999);
                Answer { status: status.ok_or_else(refuse)?, text: text.cloned() }
            }
            None if text.is_none() && is_url(word) => {
                Answer { status: FOUND, text: Some(word.clone()) }
            }
            None => return Err(refuse()),
        };
        self.answer.get_or_insert(answer);
        Ok(())
    }
}

fn is_url(word: &str) -> bool {
    ["http://", "https://", "$scheme"].iter().any(|it| word.starts_with(it))
}

impl Answer {
    /// Looks the variables of its text up.
    pub fn compile(&self) -> Result<Return, ConfError> {
        let text = self.text.as_ref().map(compile).transpose()?;
        Ok(Return { status: self.status, text })
    }
}

/// A `return` directive.
#[derive(Debug)]
pub struct Return {
    /// What is sent, 444 for nothing at all.
    pub status: u16,
    /// The body, or where to go for a redirect; `None` sends nginx's page for the status.
    pub text: Option<Template>,
}

impl Return {
    /// Whether the text is where to go.
    pub fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(text: &str, expected: Result<(u16, Option<&str>), &str>) {
        let mut settings = Settings::default();
        let result = settings.answer(&directive(text));
        let answer = settings.answer.as_ref();
        let actual = result.map_err(|it| it.reason).map(|()| {
            let answer = answer.unwrap();
            (answer.status, answer.text.as_deref())
        });
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_code_a_text_or_both_are_returned() {
        check("return 204;", Ok((204, None)));
        check("return 200 ok;", Ok((200, Some("ok"))));
        check("return 301 /new;", Ok((301, Some("/new"))));
        check("return https://a/;", Ok((302, Some("https://a/"))));
        check("return $scheme://a/;", Ok((302, Some("$scheme://a/"))));
    }

    #[test]
    fn other_codes_are_refused() {
        check("return 1000;", Err("invalid return code \"1000\""));
        check("return nope;", Err("invalid return code \"nope\""));
        check("return /new;", Err("invalid return code \"/new\""));
        check("return http://a/ b;", Err("invalid return code \"http://a/\""));
    }

    #[test]
    fn the_first_of_several_counts() {
        let mut settings = Settings::default();
        for text in ["return 403;", "return 404;"] {
            settings.answer(&directive(text)).unwrap();
        }
        assert_eq!(settings.answer.unwrap().status, 403);
    }
}
