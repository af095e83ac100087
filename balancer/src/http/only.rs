//! Directives of modules that are not part of this version, accepted where they ask for nothing.
//!
//! Many configurations turn a feature off that is off anyway, or on that is always on. Such a line
//! changes no answer and is accepted; any other value is refused with a way out.

use crate::conf::{ConfError, Directive, Effect, MANY, Row};
use crate::http::EVERYWHERE;
use crate::modules::Scope;

/// A name, the one value that is accepted, and what to do instead of any other.
type Only = (&'static str, &'static str, &'static str);

const ONLY: &[Only] = &[
    ("disable_symlinks", "off", "symbolic links are followed"),
    ("http2", "off", "HTTP/2 is not part of this version"),
    ("proxy_cache", "off", "no answers are kept"),
    ("proxy_store", "off", "no answers are kept"),
];

/// Why such a line does nothing.
const ANYWAY: &str = "it asks for what is done anyway";

const fn row(name: &'static str) -> Row<Scope> {
    let effect = Effect::Checked(check, ANYWAY);
    Row { name, within: EVERYWHERE, arguments: 1..=MANY, effect }
}

const fn condition(name: &'static str) -> Row<Scope> {
    let effect = Effect::CheckedEach(|_| Ok(()), "no answers are kept");
    Row { name, within: EVERYWHERE, arguments: 1..=MANY, effect }
}

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Scope>] = &[
    row("disable_symlinks"),
    row("http2"),
    row("proxy_cache"),
    row("proxy_store"),
    condition("proxy_cache_bypass"),
    condition("proxy_no_cache"),
];

fn check(directive: &Directive) -> Result<(), ConfError> {
    let (name, words) = (directive.name(), directive.arguments());
    let Some((_, value, help)) = ONLY.iter().find(|(it, ..)| *name == **it) else { return Ok(()) };
    let wrong =
        words.iter().enumerate().find(|(at, it)| *at > 0 || !it.eq_ignore_ascii_case(value));
    let Some((_, word)) = wrong else { return Ok(()) };
    nginx_refuses(directive)?;
    let text = format!("invalid value \"{word}\" in \"{name}\" directive");
    let help = format!("this version knows `{name} {value}` only: {help}");
    Err(word.refuse(text).with_help(help))
}

/// What nginx itself would refuse is refused in its words.
fn nginx_refuses(directive: &Directive) -> Result<(), ConfError> {
    let (name, word) = (directive.name().as_str(), directive.text());
    match name {
        "proxy_store" => Ok(()),
        "disable_symlinks" => match word.as_str() {
            "on" | "off" | "if_not_owner" => Ok(()),
            _ => Err(word.invalid_parameter()),
        },
        "proxy_cache" if word.contains('$') => Ok(()),
        // No zone can be defined.
        "proxy_cache" => Err(word
            .refuse(format!("\"{name}\" zone \"{word}\" is unknown"))
            .with_help("no answers are kept by this version")),
        _ if 1 < directive.arguments().len() => {
            let text = format!("invalid number of arguments in \"{name}\" directive");
            Err(ConfError::new(text, directive.span.clone()))
        }
        _ => directive.flag().map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[test]
    fn only_the_value_that_changes_nothing_is_accepted() {
        for (name, value, _) in ONLY {
            assert!(check(&directive(&format!("{name} {value};"))).is_ok(), "{name}");
            assert!(check(&directive(&format!("{name} other;"))).is_err(), "{name}");
            assert!(check(&directive(&format!("{name} {value} more;"))).is_err(), "{name}");
        }
        let names = ROWS.iter().map(|it| it.name).filter(|it| !it.ends_with("_bypass"));
        let names = names.filter(|it| *it != "proxy_no_cache");
        assert!(names.eq(ONLY.iter().map(|(name, ..)| *name)));
    }

    #[test]
    fn every_other_value_is_refused_with_a_way_out() {
        let refusal = check(&directive("http2 on;")).unwrap_err();
        assert_eq!(refusal.reason, "invalid value \"on\" in \"http2\" directive");
        assert!(refusal.help.unwrap().starts_with("this version knows `http2 off` only: "));
    }
}
