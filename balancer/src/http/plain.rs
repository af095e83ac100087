//! Settings of TLS in a program whose every address is plain: checked, and without effect.
//!
//! Distributions ship them in `http`, where they wait for an address that speaks TLS. `listen …
//! ssl` and certificates are refused, so there is none.

use crate::conf::value::size;
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Row};
use crate::http::core::{flag, number, seconds, size as bytes};
use crate::http::server::EntranceSettings;

const PLAIN: &str = "no address speaks TLS: `listen … ssl` is refused";

const fn one(
    name: &'static str,
    check: fn(&Directive) -> Result<(), ConfError>,
) -> Row<EntranceSettings> {
    let within = &[Block::Http, Block::Server];
    Row { name, within, arguments: 1..=1, effect: Effect::Checked(check, PLAIN) }
}

/// Directives of `http` and `server`.
pub const ROWS: &[Row<EntranceSettings>] = &[
    Row {
        name: "ssl_protocols",
        within: &[Block::Http, Block::Server],
        arguments: 1..=MANY,
        effect: Effect::CheckedEach(protocols, PLAIN),
    },
    Row {
        name: "ssl_session_cache",
        within: &[Block::Http, Block::Server],
        arguments: 1..=2,
        effect: Effect::CheckedEach(session_cache, PLAIN),
    },
    one("ssl_prefer_server_ciphers", flag),
    one("ssl_session_tickets", flag),
    one("ssl_session_timeout", seconds),
    one("ssl_buffer_size", bytes),
    one("ssl_early_data", flag),
    one("ssl_stapling", flag),
    one("ssl_stapling_verify", flag),
    one("ssl_verify_depth", number),
    one("ssl_ciphers", |_| Ok(())),
    one("ssl_ecdh_curve", |_| Ok(())),
    one("ssl_dhparam", |_| Ok(())),
];

const PROTOCOLS: [&str; 6] = ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];

fn protocols(directive: &Directive) -> Result<(), ConfError> {
    let mut warning = None;
    for (at, word) in directive.arguments().iter().enumerate() {
        if !PROTOCOLS.iter().any(|it| it.eq_ignore_ascii_case(word)) {
            return Err(word.invalid_value());
        }
        if directive.arguments()[..at].iter().any(|it| it.eq_ignore_ascii_case(word)) {
            let text = format!("duplicate value \"{word}\"");
            warning.get_or_insert(word.refuse(text).warning());
        }
    }
    warning.map_or(Ok(()), Err)
}

/// Source: nginx `ngx_http_ssl_module.c`, `ngx_http_ssl_session_cache`.
fn session_cache(directive: &Directive) -> Result<(), ConfError> {
    for word in directive.arguments() {
        let refuse = || word.refuse(format!("invalid session cache \"{word}\""));
        if matches!(word.as_str(), "off" | "none" | "builtin") {
            continue;
        }
        if let Some(count) = word.strip_prefix("builtin:") {
            count.parse::<u32>().map_err(|_| refuse())?;
            continue;
        }
        let shared = word.strip_prefix("shared:").and_then(|it| it.split_once(':'));
        let (name, bytes) = shared.ok_or_else(refuse)?;
        let bytes = size(bytes).filter(|_| !name.is_empty()).ok_or_else(refuse)?;
        if bytes < 8 * 4096 {
            return Err(word.refuse(format!("session cache \"{word}\" is too small")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        let directive = directive(text);
        let row = ROWS.iter().find(|it| *directive.name() == *it.name).unwrap();
        let (Effect::Checked(check, _) | Effect::CheckedEach(check, _)) = row.effect else {
            panic!("{text} has an effect")
        };
        let actual = check(&directive).map_err(|it| it.reason);
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn values_are_checked_as_nginx_checks_them() {
        check("ssl_protocols TLSv1.2 tlsv1.3;", Ok(()));
        check("ssl_protocols TLSv2;", Err("invalid value \"TLSv2\""));
        check("ssl_protocols TLSv1 TLSv1;", Err("duplicate value \"TLSv1\""));
        check("ssl_session_cache shared:SSL:10m;", Ok(()));
        check("ssl_session_cache builtin:1000 shared:SSL:10m;", Ok(()));
        let small = "session cache \"shared:SSL:1k\" is too small";
        check("ssl_session_cache shared:SSL:1k;", Err(small));
        check("ssl_session_cache shared:10m;", Err("invalid session cache \"shared:10m\""));
    }
}
