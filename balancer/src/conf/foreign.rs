//! To which module does a name belong that is not part of this program?
//!
//! The names are those of nginx's own modules that are not built, and of the add-ons met most in
//! the wild. The line that is printed is nginx's own for a module that is not there; the help
//! names the module and the nearest way.

/// A module that is not part of this program.
#[derive(Debug, Eq, PartialEq)]
pub struct Module {
    /// Its name, as nginx's documentation has it.
    pub name: &'static str,
    /// What its names begin with, or whole names.
    pub(crate) names: &'static [&'static str],
    /// What to do instead.
    pub(crate) instead: &'static str,
}

impl Module {
    /// The sentence for the operator.
    #[must_use]
    pub fn help(&self) -> String {
        format!("module {} is not part of balancer; {}", self.name, self.instead)
    }
}

/// The module that has a directive of this name.
#[must_use]
pub fn module_of(directive: &str) -> Option<&'static Module> {
    let owns = |it: &&str| match it.strip_suffix('*') {
        Some(prefix) => directive.starts_with(prefix),
        None => directive == *it,
    };
    MODULES.iter().find(|module| module.names.iter().any(owns))
}

const PROXY: &str = "let the application speak HTTP and use `proxy_pass`";
const APPLICATION: &str = "do this in the application behind `proxy_pass`";

/// A name that ends in `*` stands for all that begin like it.
pub(crate) const MODULES: &[Module] = &[
    Module { name: "fastcgi", names: &["fastcgi_*"], instead: PROXY },
    Module { name: "uwsgi", names: &["uwsgi_*"], instead: PROXY },
    Module { name: "scgi", names: &["scgi_*"], instead: PROXY },
    Module {
        name: "memcached",
        names: &["memcached_*"],
        instead: "ask memcached from the application behind `proxy_pass`",
    },
    Module { name: "ssi", names: &["ssi", "ssi_*"], instead: APPLICATION },
    Module {
        name: "addition",
        names: &["add_before_body", "add_after_body", "addition_types"],
        instead: APPLICATION,
    },
    Module {
        name: "image_filter",
        names: &["image_filter", "image_filter_*"],
        instead: APPLICATION,
    },
    Module { name: "xslt", names: &["xml_entities", "xslt_*"], instead: APPLICATION },
    Module { name: "perl", names: &["perl", "perl_*"], instead: "use `map`, `set` and `rewrite`" },
    Module {
        name: "dav",
        names: &["dav_*", "create_full_put_path", "min_delete_depth"],
        instead: "put a WebDAV server behind `proxy_pass`",
    },
    Module { name: "flv", names: &["flv"], instead: "serve the files as they are" },
    Module { name: "mp4", names: &["mp4", "mp4_*"], instead: "serve the files as they are" },
    Module {
        name: "hls",
        names: &["hls", "hls_*"],
        instead: "serve playlists made beforehand as files",
    },
    Module {
        name: "secure_link",
        names: &["secure_link", "secure_link_*"],
        instead: "let `auth_request` ask the application",
    },
    Module {
        name: "random_index",
        names: &["random_index"],
        instead: "name the file with `index`",
    },
    Module {
        name: "userid",
        names: &["userid", "userid_*"],
        instead: "set the cookie with `add_header Set-Cookie`",
    },
    Module {
        name: "browser",
        names: &[
            "ancient_browser",
            "ancient_browser_value",
            "modern_browser",
            "modern_browser_value",
        ],
        instead: "use `map $http_user_agent`",
    },
    Module { name: "empty_gif", names: &["empty_gif"], instead: "answer with `return 204`" },
    Module {
        name: "geoip",
        names: &["geoip_*", "geoip2", "geoip2_*"],
        instead: "use `geo` with a list of networks",
    },
    Module {
        name: "mail",
        names: &["mail", "imap_*", "pop3_*", "smtp_*", "auth_http", "auth_http_*", "starttls"],
        instead: "balance mail servers as plain TCP in `stream`",
    },
    Module {
        name: "http_v3",
        names: &["http3", "http3_*", "quic_*"],
        instead: "leave it out: clients are served HTTP/1.1",
    },
    Module {
        name: "tunnel",
        names: &["tunnel_*", "proxy_connect", "proxy_connect_address", "proxy_connect_bind"],
        instead: "balancer is no forward proxy",
    },
    Module {
        name: "lua",
        names: &[
            "lua_*",
            "init_by_lua*",
            "init_worker_by_lua*",
            "set_by_lua*",
            "rewrite_by_lua*",
            "access_by_lua*",
            "content_by_lua*",
            "header_filter_by_lua*",
            "body_filter_by_lua*",
            "log_by_lua*",
            "balancer_by_lua*",
            "preread_by_lua*",
            "ssl_certificate_by_lua*",
            "ssl_client_hello_by_lua*",
            "exit_worker_by_lua*",
        ],
        instead: "use `map`, `set`, `rewrite` and `auth_request`",
    },
    Module {
        name: "njs",
        names: &["js_*"],
        instead: "use `map`, `set`, `rewrite` and `auth_request`",
    },
    Module {
        name: "opentracing",
        names: &["opentracing", "opentracing_*", "opentelemetry", "opentelemetry_*"],
        instead: "trace with `otel_exporter` and `otel_trace`",
    },
    Module { name: "brotli", names: &["brotli", "brotli_*"], instead: "compress with `gzip`" },
    Module { name: "zstd", names: &["zstd", "zstd_*"], instead: "compress with `gzip`" },
    Module {
        name: "headers_more",
        names: &[
            "more_set_headers",
            "more_clear_headers",
            "more_set_input_headers",
            "more_clear_input_headers",
        ],
        instead: "use `add_header`, `proxy_hide_header` and `proxy_set_header`",
    },
    Module {
        name: "pagespeed",
        names: &["pagespeed"],
        instead: "optimize pages where they are built",
    },
    Module {
        name: "modsecurity",
        names: &["modsecurity", "modsecurity_*"],
        instead: "let `auth_request` ask a filter, or put one before the application",
    },
    Module {
        name: "vhost_traffic_status",
        names: &["vhost_traffic_status", "vhost_traffic_status_*"],
        instead: "use `status_zone`, `api` and `metrics`",
    },
    Module {
        name: "upstream_check",
        names: &["check", "check_*"],
        instead: "use `health_check` in the `location`",
    },
    Module { name: "upstream_fair", names: &["fair"], instead: "use `least_conn` or `least_time`" },
    Module { name: "upload", names: &["upload_*"], instead: APPLICATION },
    Module { name: "rtmp", names: &["rtmp", "rtmp_*"], instead: "balance it as TCP in `stream`" },
    Module {
        name: "google_perftools",
        names: &["google_perftools_profiles"],
        instead: "remove the line",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(directive: &str, expected: Option<&str>) {
        assert_eq!(module_of(directive).map(|it| it.name), expected, "{directive}");
    }

    #[test]
    fn a_name_leads_to_its_module() {
        check("fastcgi_pass", Some("fastcgi"));
        check("content_by_lua_block", Some("lua"));
        check("ssi", Some("ssi"));
        check("http3", Some("http_v3"));
        check("brotli_comp_level", Some("brotli"));
    }

    #[test]
    fn a_name_that_only_resembles_one_has_no_module() {
        check("http", None);
        check("http2", None);
        check("checks", None);
        check("mailer", None);
        check("ssid", None);
    }

    #[test]
    fn the_help_names_module_and_way_out() {
        let help = module_of("brotli").unwrap().help();
        assert_eq!(help, "module brotli is not part of balancer; compress with `gzip`");
    }
}
