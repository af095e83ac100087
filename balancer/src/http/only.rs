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
    ("absolute_redirect", "on", "redirects are made absolute"),
    ("auth_basic", "off", ACCESS),
    ("auth_request", "off", ACCESS),
    ("charset", "off", "name the charset in the application's Content-Type"),
    ("chunked_transfer_encoding", "on", "answers of unknown length are chunked"),
    ("client_body_in_file_only", "off", "bodies are streamed and never meet a file"),
    ("disable_symlinks", "off", "this version serves no files"),
    ("expires", "off", "send `Expires` and `Cache-Control` with `add_header`"),
    ("gunzip", "off", GZIP),
    ("gzip", "off", GZIP),
    ("gzip_static", "off", GZIP),
    ("http2", "off", "HTTP/2 is not part of this version"),
    ("keepalive_disable", "none", "every browser may keep its connection"),
    ("limit_rate", "0", "the speed of answers is not limited"),
    ("lingering_close", "on", "a client that still sends is heard out"),
    ("mirror", "off", "requests go to one upstream only"),
    ("msie_padding", "on", "pages are padded"),
    ("msie_refresh", "off", "redirects have a Location"),
    ("open_log_file_cache", "off", "log files stay open"),
    ("port_in_redirect", "on", "redirects name the port"),
    ("proxy_bind", "off", "the system chooses the address to connect from"),
    ("proxy_cache", "off", "no answers are kept"),
    ("proxy_force_ranges", "off", ANSWERS),
    ("proxy_intercept_errors", "off", ANSWERS),
    ("proxy_limit_rate", "0", "the speed of upstreams is not limited"),
    ("proxy_pass_request_body", "on", REQUESTS),
    ("proxy_pass_request_headers", "on", REQUESTS),
    ("proxy_pass_trailers", "off", ANSWERS),
    ("proxy_socket_keepalive", "off", "timeouts find dead connections"),
    ("proxy_store", "off", "no answers are kept"),
    ("recursive_error_pages", "off", "nginx's own pages are sent"),
    ("reset_timedout_connection", "off", "connections are closed in order"),
    ("satisfy", "all", ACCESS),
    ("server_name_in_redirect", "off", "redirects name the host of the request"),
];

const ACCESS: &str = "access is left to the application";
const ANSWERS: &str = "the answer of the upstream is passed on as it is";
const GZIP: &str = "answers are passed on as they come: compress in the application";
const REQUESTS: &str = "the request is passed on with the header and body of the client";

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
    row("absolute_redirect"),
    row("auth_basic"),
    row("auth_request"),
    row("charset"),
    row("chunked_transfer_encoding"),
    row("client_body_in_file_only"),
    row("disable_symlinks"),
    row("expires"),
    row("gunzip"),
    row("gzip"),
    row("gzip_static"),
    row("http2"),
    row("keepalive_disable"),
    row("limit_rate"),
    row("lingering_close"),
    row("mirror"),
    row("msie_padding"),
    row("msie_refresh"),
    row("open_log_file_cache"),
    row("port_in_redirect"),
    row("proxy_bind"),
    row("proxy_cache"),
    row("proxy_force_ranges"),
    row("proxy_intercept_errors"),
    row("proxy_limit_rate"),
    row("proxy_pass_request_body"),
    row("proxy_pass_request_headers"),
    row("proxy_pass_trailers"),
    row("proxy_socket_keepalive"),
    row("proxy_store"),
    row("recursive_error_pages"),
    row("reset_timedout_connection"),
    row("satisfy"),
    row("server_name_in_redirect"),
    condition("proxy_cache_bypass"),
    condition("proxy_no_cache"),
];

fn check(directive: &Directive) -> Result<(), ConfError> {
    let (name, words) = (directive.name(), directive.arguments());
    let Some((_, value, help)) = ONLY.iter().find(|(it, ..)| *name == **it) else { return Ok(()) };
    let wrong =
        words.iter().enumerate().find(|(at, it)| *at > 0 || !it.eq_ignore_ascii_case(value));
    let Some((_, word)) = wrong else { return Ok(()) };
    let text = format!("invalid value \"{word}\" in \"{name}\" directive");
    let help = format!("this version knows `{name} {value}` only: {help}");
    Err(word.refuse(text).with_help(help))
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
        let refusal = check(&directive("gzip on;")).unwrap_err();
        assert_eq!(refusal.reason, "invalid value \"on\" in \"gzip\" directive");
        assert!(refusal.help.unwrap().starts_with("this version knows `gzip off` only: "));
    }
}
