//! What `-v` and `-V` say: nginx's version, ours, and honestly what is missing.

use crate::args::Version;
use crate::conf::Dialect;
use crate::conf::catalog::Catalog;
use crate::process::complain;
use crate::{NGINX, modules};

/// Modules nginx is built with only when asked; each with a directive that it brings.
const WITH: &[(&str, &str)] = &[
    ("stream", "stream"),
    ("stream_ssl_module", "ssl_handshake_timeout"),
    ("stream_ssl_preread_module", "ssl_preread"),
    ("http_ssl_module", "ssl_certificate"),
    ("http_v2_module", "http2"),
    ("http_realip_module", "real_ip_header"),
    ("http_stub_status_module", "stub_status"),
    ("http_auth_request_module", "auth_request"),
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
    ("http_charset_module", "charset"),
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

/// Prints nginx's lines.
pub(crate) fn tell(version: Version) {
    let ours = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    complain(&format!("nginx version: {NGINX} ({ours})"));
    if version == Version::Long {
        complain(&format!("built by rustc {}", env!("BALANCER_RUSTC")));
        let words = configure_arguments(&modules::catalog());
        complain(&format!("configure arguments: {}", words.join(" ")));
    }
}

/// A switch for every module that is there, or is not although nginx has it.
fn configure_arguments(catalog: &Catalog) -> Vec<String> {
    let has = |directive: &str| !catalog.blocks_of(directive, Dialect::Strict).is_empty();
    let with = WITH.iter().filter(|it| has(it.1)).map(|it| format!("--with-{}", it.0));
    let without = WITHOUT.iter().filter(|it| !has(it.1)).map(|it| format!("--without-{}", it.0));
    with.chain(without).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_is_claimed_or_denied_as_its_directives_are() {
        let words = configure_arguments(&modules::catalog());
        assert!(words.contains(&"--with-http_stub_status_module".to_owned()), "{words:?}");
        assert!(words.contains(&"--without-http_fastcgi_module".to_owned()), "{words:?}");
        assert!(!words.iter().any(|it| it.contains("http_proxy_module")), "{words:?}");
    }
}
