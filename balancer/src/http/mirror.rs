//! `mirror`: which other locations are shown a request, whatever they answer?
//!
//! Source: nginx `ngx_http_mirror_module.c`.

use crate::conf::{ConfError, Directive, Effect, Row};
use crate::http::{EVERYWHERE, put};

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Empty for `off`.
    targets: Option<Vec<Vec<u8>>>,
    request_body: Option<bool>,
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "mirror",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Add(Settings::add),
    },
    Row {
        name: "mirror_request_body",
        within: EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.request_body, directive.flag())),
    },
];

impl Settings {
    fn add(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        let is_off = *word == "off";
        match &mut self.targets {
            None if is_off => self.targets = Some(Vec::new()),
            None => self.targets = Some(vec![word.as_bytes().to_vec()]),
            Some(targets) if !is_off && !targets.is_empty() => {
                targets.push(word.as_bytes().to_vec());
            }
            Some(_) => return Err(directive.refuse("is duplicate")),
        }
        Ok(())
    }

    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            targets: self.targets.or_else(|| outer.targets.clone()),
            request_body: self.request_body.or(outer.request_body),
        }
    }

    /// What a request needs; `None` where nobody is shown it.
    pub fn compile(&self) -> Option<Box<Mirror>> {
        let targets = self.targets.clone().filter(|it| !it.is_empty())?;
        let takes_body = self.request_body.unwrap_or(true);
        Some(Box::new(Mirror { targets, takes_body }))
    }
}

/// Who is shown a request.
#[derive(Debug)]
pub struct Mirror {
    /// The paths that are asked.
    pub targets: Vec<Vec<u8>>,
    /// Whether they are shown its body, which is read before.
    pub takes_body: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(lines: &[&str], expected: Result<usize, &str>) {
        let mut settings = Settings::default();
        let read: Result<(), _> = lines.iter().try_for_each(|it| settings.add(&directive(it)));
        let actual = read.map(|()| settings.compile().map_or(0, |it| it.targets.len()));
        let actual = actual.map_err(|it| it.reason);
        assert_eq!(actual, expected.map_err(str::to_owned), "{lines:?}");
    }

    #[test]
    fn lines_add_up_and_off_stands_alone() {
        check(&[], Ok(0));
        check(&["mirror off;"], Ok(0));
        check(&["mirror /a;", "mirror /b;"], Ok(2));
        let duplicate = Err("\"mirror\" directive is duplicate");
        check(&["mirror off;", "mirror /a;"], duplicate);
        check(&["mirror /a;", "mirror off;"], duplicate);
    }
}
