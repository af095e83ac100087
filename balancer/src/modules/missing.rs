//! Directives of nginx that this version refuses, each with the nearest way out.

use super::MainBlock;
use crate::conf::{Effect, MANY, Row};

/// They stand in no block: wherever one is met, it is unknown, and the help is told.
const fn row(name: &'static str, help: &'static str) -> Row<MainBlock> {
    Row { name, within: &[], arguments: 0..=MANY, effect: Effect::Refused(help) }
}

const TLS: &str = "TLS is not part of this version: end it before balancer";
const CACHE: &str = "this version keeps no answers";
const COMMERCIAL: &str = "a server is taken out by `max_fails` and `fail_timeout` in this version";

/// The rows.
pub(super) const ROWS: &[Row<MainBlock>] = &[
    row("charset_map", "name the charset in the application's Content-Type"),
    row("source_charset", "name the charset in the application's Content-Type"),
    row("proxy_store_access", CACHE),
    row("post_action", "have `mirror` show the request to another location"),
    row("proxy_cache_path", CACHE),
    row("proxy_cache_key", CACHE),
    row("proxy_cache_valid", CACHE),
    row("proxy_cache_methods", CACHE),
    row("proxy_cache_min_uses", CACHE),
    row("proxy_cache_use_stale", CACHE),
    row("proxy_cache_lock", CACHE),
    row("proxy_cache_lock_timeout", CACHE),
    row("proxy_cache_lock_age", CACHE),
    row("proxy_cache_revalidate", CACHE),
    row("proxy_cache_background_update", CACHE),
    row("proxy_cache_convert_head", CACHE),
    row("proxy_cache_max_range_offset", CACHE),
    row("ssl_certificate", TLS),
    row("ssl_certificate_key", TLS),
    row("ssl_session_ticket_key", TLS),
    row("ssl_verify_client", TLS),
    row("ssl_client_certificate", TLS),
    row("ssl_trusted_certificate", TLS),
    row("ssl_crl", TLS),
    row("ssl_reject_handshake", TLS),
    row("proxy_ssl_server_name", TLS),
    row("proxy_ssl_name", TLS),
    row("proxy_ssl_verify", TLS),
    row("proxy_ssl_verify_depth", TLS),
    row("proxy_ssl_trusted_certificate", TLS),
    row("proxy_ssl_protocols", TLS),
    row("proxy_ssl_ciphers", TLS),
    row("proxy_ssl_certificate", TLS),
    row("proxy_ssl_certificate_key", TLS),
    row("proxy_ssl_session_reuse", TLS),
    row("http2_max_concurrent_streams", "HTTP/2 is not part of this version: remove the line"),
    row("grpc_pass", "gRPC is not part of this version"),
    row("ntlm", COMMERCIAL),
    row("status_zone", "the counters are shown by `--admin`"),
    row("api", "the counters are shown by `--admin`"),
];
