//! What `-v` and `-V` say: nginx's version, ours, and honestly what is missing.

use nix::sys::resource::{Resource, getrlimit};

use crate::args::Version;
use crate::conf::{Block, Catalog, Origin};
use crate::process::complain;
use crate::{NGINX, modules};

/// Modules nginx is built with only when asked; each with a directive that it brings.
const WITH: &[(&str, &str)] = &[
    ("http_ssl_module", "ssl_certificate"),
    ("http_v2_module", "http2"),
    ("http_realip_module", "real_ip_header"),
    ("http_stub_status_module", "stub_status"),
    ("http_auth_request_module", "auth_request"),
    ("http_sub_module", "sub_filter"),
    ("http_gunzip_module", "gunzip"),
    ("http_gzip_static_module", "gzip_static"),
];

/// Modules nginx is built with unless told not to; each with a directive that it brings.
const WITHOUT: &[(&str, &str)] = &[
    ("http-cache", "proxy_cache_path"),
    ("http_access_module", "allow"),
    ("http_auth_basic_module", "auth_basic"),
    ("http_autoindex_module", "autoindex"),
    ("http_browser_module", "modern_browser"),
    ("http_charset_module", "charset_types"),
    ("http_empty_gif_module", "empty_gif"),
    ("http_fastcgi_module", "fastcgi_pass"),
    ("http_geo_module", "geo"),
    ("http_grpc_module", "grpc_pass"),
    ("http_gzip_module", "gzip"),
    ("http_limit_conn_module", "limit_conn"),
    ("http_limit_req_module", "limit_req"),
    ("http_map_module", "map"),
    ("http_memcached_module", "memcached_pass"),
    ("http_mirror_module", "mirror"),
    ("http_proxy_module", "proxy_pass"),
    ("http_referer_module", "valid_referers"),
    ("http_rewrite_module", "rewrite"),
    ("http_scgi_module", "scgi_pass"),
    ("http_split_clients_module", "split_clients"),
    ("http_ssi_module", "ssi"),
    ("http_tunnel_module", "tunnel_pass"),
    ("http_userid_module", "userid"),
    ("http_uwsgi_module", "uwsgi_pass"),
    ("http_upstream_hash_module", "hash"),
    ("http_upstream_ip_hash_module", "ip_hash"),
    ("http_upstream_keepalive_module", "keepalive"),
    ("http_upstream_least_conn_module", "least_conn"),
    ("http_upstream_least_time_module", "least_time"),
    ("http_upstream_random_module", "random"),
    ("http_upstream_sticky_module", "sticky"),
    ("http_upstream_zone_module", "zone"),
];

/// As [`WITH`], with directives of `stream`.
const WITH_STREAM: &[(&str, &str)] = &[
    ("stream", "proxy_pass"),
    ("stream_ssl_module", "ssl_handshake_timeout"),
    ("stream_realip_module", "set_real_ip_from"),
    ("stream_ssl_preread_module", "ssl_preread"),
];

/// As [`WITHOUT`], with directives of `stream`.
const WITHOUT_STREAM: &[(&str, &str)] = &[
    ("stream_access_module", "allow"),
    ("stream_geo_module", "geo"),
    ("stream_limit_conn_module", "limit_conn"),
    ("stream_map_module", "map"),
    ("stream_pass_module", "pass"),
    ("stream_return_module", "return"),
    ("stream_set_module", "set"),
    ("stream_split_clients_module", "split_clients"),
    ("stream_upstream_hash_module", "hash"),
    ("stream_upstream_least_conn_module", "least_conn"),
    ("stream_upstream_least_time_module", "least_time"),
    ("stream_upstream_random_module", "random"),
    ("stream_upstream_zone_module", "zone"),
];

/// Prints nginx's lines.
pub(crate) fn tell(version: Version) {
    let ours = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    complain(&format!("nginx version: {NGINX} ({ours})"));
    if version == Version::Long {
        complain(&format!("built by rustc {}", env!("BALANCER_RUSTC")));
        let catalog = modules::catalog();
        if does(&catalog, "ssl_certificate", false) {
            complain("TLS SNI support enabled");
        }
        let words = configure_arguments(&catalog);
        complain(&format!("configure arguments: {}", words.join(" ")));
    }
}

/// Writes nginx's lines of a start.
///
/// Source: nginx `ngx_posix_init.c`, `ngx_os_status`, and `ngx_linux_init.c`.
pub(crate) fn tell_log() {
    let ours = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    tracing::info!("using the \"epoll\" event method");
    tracing::info!("{NGINX} ({ours})");
    tracing::info!("built by rustc {}", env!("BALANCER_RUSTC"));
    let system = rustix::system::uname();
    let [name, release] = [system.sysname(), system.release()].map(|it| it.to_string_lossy());
    tracing::info!("OS: {name} {release}");
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        tracing::info!("getrlimit(RLIMIT_NOFILE): {soft}:{hard}");
    }
}

/// A switch for every module that is there, or is not although nginx has it.
fn configure_arguments(catalog: &Catalog) -> Vec<String> {
    let mut words = Vec::new();
    for (modules, is_stream) in [(WITH_STREAM, true), (WITH, false)] {
        let there = modules.iter().filter(|it| does(catalog, it.1, is_stream));
        words.extend(there.map(|it| format!("--with-{}", it.0)));
    }
    for (modules, is_stream) in [(WITHOUT, false), (WITHOUT_STREAM, true)] {
        let missing = modules.iter().filter(|it| !does(catalog, it.1, is_stream));
        words.extend(missing.map(|it| format!("--without-{}", it.0)));
    }
    words
}

/// Whether a directive does something; one that may only be switched off is not there.
fn does(catalog: &Catalog, directive: &str, is_stream: bool) -> bool {
    let here = |it: &Block| {
        matches!(it, Block::Stream | Block::StreamServer | Block::StreamUpstream) == is_stream
    };
    catalog.iter().any(|it| {
        it.name == directive
            && it.refused.is_none()
            && it.origin == Origin::Nginx
            && it.within.iter().any(here)
            // A group is shared by all workers, with the line or without.
            && (it.without_effect.is_none() || it.name == "zone")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Effect, Row, Table};

    #[test]
    fn every_module_is_claimed_or_denied_as_its_directives_are() {
        let words = configure_arguments(&modules::catalog());
        assert!(words.contains(&"--with-http_stub_status_module".to_owned()), "{words:?}");
        assert!(words.contains(&"--without-http_fastcgi_module".to_owned()), "{words:?}");
        assert!(!words.iter().any(|it| it.contains("http_proxy_module")), "{words:?}");
    }

    #[test]
    fn a_module_is_there_only_if_its_directive_does_something() {
        let catalog = modules::catalog();
        let words = configure_arguments(&catalog);
        let known = |word: &str| words.iter().any(|it| it == word);
        for (name, directive) in WITHOUT {
            let accepted: Vec<_> = catalog.iter().filter(|it| it.name == *directive).collect();
            let only_off = accepted.iter().all(|it| it.without_effect.is_some());
            let is_denied = known(&format!("--without-{name}"));
            assert!(!only_off || is_denied || *directive == "zone", "{name}");
        }
        for word in &words {
            assert!(word.starts_with("--with-") || word.starts_with("--without-"), "{word}");
        }
        assert_eq!(known("--with-stream"), does(&catalog, "proxy_pass", true));
    }

    #[test]
    fn a_directive_that_is_only_switched_off_does_nothing() {
        const ROWS: &[Row<()>] = &[
            Row {
                name: "gzip",
                within: &[Block::Http],
                arguments: 1..=1,
                effect: Effect::Nothing(""),
            },
            Row {
                name: "map",
                within: &[Block::Stream],
                arguments: 1..=1,
                effect: Effect::Set(|(), _| Ok(())),
            },
        ];
        let catalog = Catalog::default().with(&[&Table::new(ROWS, |it: &mut ()| it)]);
        let words = configure_arguments(&catalog);
        for word in ["--without-http_gzip_module", "--without-http_map_module"] {
            assert!(words.iter().any(|it| it == word), "{words:?}");
        }
        assert!(!words.iter().any(|it| it == "--without-stream_map_module"), "{words:?}");
    }
}
