//! The `sticky` line as it is written.

use std::sync::Arc;
use std::time::Duration;

use super::{Cookie, Expires, How, Learn, Sessions, Sticky, is_same_site};
use crate::conf::value::{Unit, size, time};
use crate::conf::{ConfError, Directive, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::compile;
use crate::variable::{Names, has_variables};

/// A `sticky` line.
#[derive(Clone, Debug)]
pub enum Line {
    /// `cookie`
    Cookie(Box<CookieLine>),
    /// `route`, and its variables.
    Route(Vec<Word>),
    /// `learn`
    Learn(Box<LearnLine>),
}

/// `sticky cookie`
#[derive(Clone, Debug, Default)]
pub struct CookieLine {
    name: Vec<u8>,
    lookup: Option<Word>,
    expires: Option<Expires>,
    domain: Option<Word>,
    is_http_only: bool,
    is_secure: bool,
    same_site: Option<Word>,
    path: Option<Word>,
}

/// `sticky learn`
#[derive(Clone, Debug, Default)]
pub struct LearnLine {
    create: Vec<Word>,
    lookup: Vec<Word>,
    zone: Option<(String, u64)>,
    timeout: Option<Duration>,
    after_header: bool,
}

/// nginx needs eight pages.
const SMALLEST_ZONE: u64 = 8 * 4096;

impl Line {
    /// Source: nginx `ngx_http_upstream_sticky_module.c`, `ngx_http_upstream_sticky`.
    pub fn read(directive: &Directive) -> Result<Self, ConfError> {
        let words = directive.arguments();
        match words[0].as_str() {
            "cookie" => Ok(Self::Cookie(Box::new(cookie(directive)?))),
            "route" => match words[1..].iter().find(|it| !it.starts_with('$')) {
                Some(word) => Err(word.refuse(format!("invalid variable name \"{word}\""))),
                None => Ok(Self::Route(words[1..].to_vec())),
            },
            "learn" => Ok(Self::Learn(Box::new(learn(directive)?))),
            other => Err(words[0].refuse(format!("unknown parameter \"{other}\""))),
        }
    }

    /// Looks the variables up. `known` gives the zone of this name that the configuration before
    /// this one had.
    pub fn compile(
        &self,
        names: &Names<Exchange>,
        known: &dyn Fn(&str) -> Option<Arc<Sessions>>,
    ) -> Result<Sticky, ConfError> {
        let all = |words: &[Word]| -> Result<Vec<_>, ConfError> {
            words.iter().map(|it| compile(it, names)).collect()
        };
        let one = |word: &Option<Word>| word.as_ref().map(|it| compile(it, names)).transpose();
        match self {
            Self::Route(words) => Ok(Sticky { lookup: all(words)?, how: How::Route }),
            Self::Cookie(line) => {
                let cookie = Cookie {
                    name: line.name.clone(),
                    expires: line.expires,
                    domain: one(&line.domain)?,
                    is_http_only: line.is_http_only,
                    is_secure: line.is_secure,
                    same_site: one(&line.same_site)?,
                    path: line.path.as_ref().map(|it| it.as_bytes().to_vec()),
                };
                let lookup = one(&line.lookup)?.into_iter().collect();
                Ok(Sticky { lookup, how: How::Cookie(Box::new(cookie)) })
            }
            Self::Learn(line) => {
                let (name, size) = line.zone.clone().unwrap_or_default();
                let timeout = line.timeout.unwrap_or(Duration::from_mins(10));
                let sessions = Sessions::new(&name, size, timeout);
                if let Some(before) = known(&name) {
                    sessions.take_over(&before);
                }
                let create = all(&line.create)?;
                let (after_header, sessions) = (line.after_header, Arc::new(sessions));
                let learn = Learn { create, after_header, sessions };
                Ok(Sticky { lookup: all(&line.lookup)?, how: How::Learn(learn) })
            }
        }
    }
}

/// Source: `ngx_http_upstream_sticky_cookie`.
fn cookie(directive: &Directive) -> Result<CookieLine, ConfError> {
    let words = directive.arguments();
    let name = &words[1];
    if name.is_empty() {
        return Err(directive.refuse("empty cookie name"));
    }
    let lookup = [b"${cookie_", name.as_bytes(), b"}"].concat();
    let mut line = CookieLine {
        name: name.as_bytes().to_vec(),
        lookup: Some(name.with_bytes(&lookup)),
        ..CookieLine::default()
    };
    for word in &words[2..] {
        let (parameter, value) = match word.split_once('=') {
            Some((parameter, value)) => (parameter, Some(value)),
            None => (word.as_str(), None),
        };
        let again = || directive.refuse(&format!("parameter \"{parameter}\" is duplicate"));
        let text = |value: &str| match value {
            "" if parameter != "samesite" => {
                Err(directive.refuse(&format!("no value for \"{parameter}\"")))
            }
            value => Ok(Some(word.with_bytes(value.as_bytes()))),
        };
        let is_second = match (parameter, value) {
            ("domain", Some(value)) => std::mem::replace(&mut line.domain, text(value)?).is_some(),
            ("path", Some(value)) => std::mem::replace(&mut line.path, text(value)?).is_some(),
            ("expires", Some(value)) => {
                let expires =
                    match value {
                        "max" => Expires::Max,
                        value => Expires::After(time(value, Unit::Seconds).ok_or_else(|| {
                            directive.refuse("invalid \"expires\" parameter value")
                        })?),
                    };
                line.expires.replace(expires).is_some()
            }
            ("httponly", None) => std::mem::replace(&mut line.is_http_only, true),
            ("secure", None) => std::mem::replace(&mut line.is_secure, true),
            ("samesite", Some(value)) => {
                if !has_variables(value.as_bytes()) && !is_same_site(value.as_bytes()) {
                    return Err(directive.refuse("invalid \"samesite\" parameter value"));
                }
                std::mem::replace(&mut line.same_site, text(value)?).is_some()
            }
            _ => return Err(word.refuse(format!("unknown parameter \"{word}\""))),
        };
        if is_second {
            return Err(again());
        }
    }
    Ok(line)
}

/// Source: `ngx_http_upstream_sticky_learn`.
fn learn(directive: &Directive) -> Result<LearnLine, ConfError> {
    let mut line = LearnLine::default();
    for word in &directive.arguments()[1..] {
        let variable = |name: &str, value: &str| match value.starts_with('$') {
            true => Ok(word.with_bytes(value.as_bytes())),
            false => {
                Err(directive.refuse(&format!("missing variable in the \"{name}\" parameter")))
            }
        };
        match word.split_once('=') {
            Some(("zone", _)) if line.zone.is_some() => {
                return Err(directive.refuse("duplicate zone"));
            }
            Some(("zone", value)) => {
                let refuse = |text| Err(directive.refuse(text));
                let Some((name, text)) = value.split_once(':') else {
                    return refuse("zone size is not specified");
                };
                line.zone = match (name, size(text)) {
                    ("", _) => return refuse("zone name is not specified"),
                    (_, None) => return refuse("invalid zone size"),
                    (_, Some(..SMALLEST_ZONE)) => return refuse("zone is too small"),
                    (name, Some(size)) => Some((name.to_owned(), size)),
                };
            }
            Some(("timeout", _)) if line.timeout.is_some() => {
                return Err(directive.refuse("duplicate timeout"));
            }
            Some(("timeout", value)) => {
                let timeout = time(value, Unit::Milliseconds).filter(|it| !it.is_zero());
                line.timeout = Some(timeout.ok_or_else(|| directive.refuse("invalid timeout"))?);
            }
            Some(("create", value)) => line.create.push(variable("create", value)?),
            Some(("lookup", value)) => line.lookup.push(variable("lookup", value)?),
            None if *word == "header" => line.after_header = true,
            _ => return Err(word.refuse(format!("unknown parameter \"{word}\""))),
        }
    }
    let missing = [
        ("lookup", line.lookup.is_empty()),
        ("create", line.create.is_empty()),
        ("zone", line.zone.is_none()),
    ];
    match missing.into_iter().find(|(_, is_missing)| *is_missing) {
        Some((name, _)) => Err(directive.refuse(&format!("\"{name}\" parameter is not specified"))),
        None => Ok(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        let actual = Line::read(&directive(text)).map(drop).map_err(|it| it.reason);
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn lines_are_accepted_as_nginx_accepts_them() {
        check(
            "sticky cookie srv expires=1h domain=.a path=/ httponly secure samesite=lax;",
            Ok(()),
        );
        check("sticky cookie srv expires=max samesite=$x;", Ok(()));
        check("sticky route $route_cookie $route_uri;", Ok(()));
        check("sticky learn create=$a lookup=$b zone=z:1m timeout=1h header;", Ok(()));
    }

    #[test]
    fn lines_are_refused_with_nginxs_words() {
        check("sticky cookie '';", Err("\"sticky\" directive empty cookie name"));
        check("sticky cookie a nope;", Err("unknown parameter \"nope\""));
        check(
            "sticky cookie a path=/ path=/;",
            Err("\"sticky\" directive parameter \"path\" is duplicate"),
        );
        check("sticky cookie a domain=;", Err("\"sticky\" directive no value for \"domain\""));
        check(
            "sticky cookie a expires=x;",
            Err("\"sticky\" directive invalid \"expires\" parameter value"),
        );
        check("sticky route a;", Err("invalid variable name \"a\""));
        check("sticky other a;", Err("unknown parameter \"other\""));
        check(
            "sticky learn create=a lookup=$b zone=z:1m;",
            Err("\"sticky\" directive missing variable in the \"create\" parameter"),
        );
        check(
            "sticky learn create=$a zone=z:1m;",
            Err("\"sticky\" directive \"lookup\" parameter is not specified"),
        );
        check(
            "sticky learn create=$a lookup=$a zone=z:1k;",
            Err("\"sticky\" directive zone is too small"),
        );
    }
}
