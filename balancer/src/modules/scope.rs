//! What is handed on from `http` to `server` to `location`, and to the blocks within.

use crate::conf::{Rows, Table};
use crate::http::{
    access, auth_basic, auth_request, autoindex, browser, charset, client_body, closing, core,
    error_page, expires, gzip, header, index, limit_conn, limit_rate, limit_req, mirror, only,
    otel, packed, proxy_pass, real_ip, redirect, referer, rewrite, root, static_file, sub,
};
use crate::logs::rows as logs;
use crate::upstream::dns;

/// Settings that are handed on from `http` to `server` to `location`.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Limits and times of the client's side.
    pub core: core::Settings,
    /// `client_body_temp_path` and its relatives
    pub client_body: client_body::Settings,
    /// `add_header`, `add_trailer`
    pub header: header::Settings,
    /// `expires`
    pub expires: expires::Settings,
    /// `gzip` and its relatives
    pub gzip: gzip::Settings,
    /// `gunzip`, `gzip_static`
    pub packed: packed::Settings,
    /// `sub_filter` and its relatives
    pub sub: sub::Settings,
    /// `valid_referers`
    pub referer: referer::Settings,
    /// `charset` and its relatives
    pub charset: charset::Settings,
    /// `lingering_close` and its relatives
    pub closing: closing::Settings,
    /// `msie_padding` and its relatives
    pub browser: browser::Settings,
    /// `absolute_redirect` and its relatives
    pub redirect: redirect::Settings,
    /// `allow`, `deny`
    pub access: access::Settings,
    /// `auth_basic` and its relatives
    pub auth_basic: auth_basic::Settings,
    /// `mirror`, `mirror_request_body`
    pub mirror: mirror::Settings,
    /// `otel_trace` and its relatives
    pub otel: otel::Settings,
    /// `auth_request`, `auth_request_set`
    pub auth_request: auth_request::Settings,
    /// `set_real_ip_from` and its relatives
    pub real_ip: real_ip::Settings,
    /// `limit_req` and its relatives
    pub limit_req: limit_req::Settings,
    /// `limit_conn` and its relatives
    pub limit_conn: limit_conn::Settings,
    /// `limit_rate`
    pub limit_rate: limit_rate::Settings,
    /// `access_log`, `error_log`
    pub logs: logs::Settings,
    /// `proxy_*`
    pub proxy: proxy_pass::rows::Settings,
    /// `error_page`
    pub error_page: error_page::Settings,
    /// `root`, `alias`
    pub root: root::Settings,
    /// `index`
    pub index: index::Settings,
    /// `autoindex` and its relatives
    pub auto_index: autoindex::Settings,
    /// `etag` and its relatives
    pub files: static_file::Settings,
    /// `resolver`, `resolver_timeout`
    pub resolver: dns::rows::Settings,
    /// `rewrite_log`
    pub rewrite_log: rewrite::LogSettings,
}

impl Scope {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            core: self.core.within(&outer.core),
            client_body: self.client_body.within(&outer.client_body),
            header: self.header.within(&outer.header),
            expires: self.expires.within(&outer.expires),
            gzip: self.gzip.within(&outer.gzip),
            packed: self.packed.within(&outer.packed),
            sub: self.sub.within(&outer.sub),
            referer: self.referer.within(&outer.referer),
            charset: self.charset.within(&outer.charset),
            closing: self.closing.within(&outer.closing),
            browser: self.browser.within(&outer.browser),
            redirect: self.redirect.within(&outer.redirect),
            access: self.access.within(&outer.access),
            auth_basic: self.auth_basic.within(&outer.auth_basic),
            mirror: self.mirror.within(&outer.mirror),
            otel: self.otel.within(&outer.otel),
            auth_request: self.auth_request.within(&outer.auth_request),
            real_ip: self.real_ip.within(&outer.real_ip),
            limit_req: self.limit_req.within(&outer.limit_req),
            limit_conn: self.limit_conn.within(&outer.limit_conn),
            limit_rate: self.limit_rate.within(&outer.limit_rate),
            logs: self.logs.within(&outer.logs),
            proxy: self.proxy.within(&outer.proxy),
            error_page: self.error_page.within(&outer.error_page),
            root: self.root.within(&outer.root),
            index: self.index.within(&outer.index),
            auto_index: self.auto_index.within(&outer.auto_index),
            files: self.files.within(&outer.files),
            resolver: self.resolver.within(&outer.resolver),
            rewrite_log: self.rewrite_log.within(&outer.rewrite_log),
        }
    }
}

/// The rows that write it.
pub(super) const SCOPE: &[&dyn Rows<Scope>] = &[
    &Table::new(core::ROWS, |it: &mut Scope| &mut it.core),
    &Table::new(client_body::ROWS, |it: &mut Scope| &mut it.client_body),
    &Table::new(header::ROWS, |it: &mut Scope| &mut it.header),
    &Table::new(expires::ROWS, |it: &mut Scope| &mut it.expires),
    &Table::new(gzip::ROWS, |it: &mut Scope| &mut it.gzip),
    &Table::new(packed::ROWS, |it: &mut Scope| &mut it.packed),
    &Table::new(sub::ROWS, |it: &mut Scope| &mut it.sub),
    &Table::new(referer::ROWS, |it: &mut Scope| &mut it.referer),
    &Table::new(charset::ROWS, |it: &mut Scope| &mut it.charset),
    &Table::new(closing::ROWS, |it: &mut Scope| &mut it.closing),
    &Table::new(browser::ROWS, |it: &mut Scope| &mut it.browser),
    &Table::new(redirect::ROWS, |it: &mut Scope| &mut it.redirect),
    &Table::new(access::ROWS, |it: &mut Scope| &mut it.access),
    &Table::new(auth_basic::ROWS, |it: &mut Scope| &mut it.auth_basic),
    &Table::new(mirror::ROWS, |it: &mut Scope| &mut it.mirror),
    &Table::new(otel::ROWS, |it: &mut Scope| &mut it.otel),
    &Table::new(auth_request::ROWS, |it: &mut Scope| &mut it.auth_request),
    &Table::new(real_ip::ROWS, |it: &mut Scope| &mut it.real_ip),
    &Table::new(limit_req::ROWS, |it: &mut Scope| &mut it.limit_req),
    &Table::new(limit_conn::ROWS, |it: &mut Scope| &mut it.limit_conn),
    &Table::new(limit_rate::ROWS, |it: &mut Scope| &mut it.limit_rate),
    &Table::new(logs::ROWS, |it: &mut Scope| &mut it.logs),
    &Table::new(proxy_pass::rows::ROWS, |it: &mut Scope| &mut it.proxy),
    &Table::new(proxy_pass::hints::ROWS, |it: &mut Scope| &mut it.proxy.hints),
    &Table::new(proxy_pass::socket::ROWS, |it: &mut Scope| &mut it.proxy.sockets),
    &Table::new(proxy_pass::ahead::ROWS, |it: &mut Scope| &mut it.proxy.ahead),
    &Table::new(error_page::ROWS, |it: &mut Scope| &mut it.error_page),
    &Table::new(root::ROWS, |it: &mut Scope| &mut it.root),
    &Table::new(index::ROWS, |it: &mut Scope| &mut it.index),
    &Table::new(autoindex::ROWS, |it: &mut Scope| &mut it.auto_index),
    &Table::new(static_file::ROWS, |it: &mut Scope| &mut it.files),
    &Table::new(dns::rows::ROWS, |it: &mut Scope| &mut it.resolver),
    &Table::new(rewrite::LOG_ROWS, |it: &mut Scope| &mut it.rewrite_log),
    &Table::new(only::ROWS, |it: &mut Scope| it),
];
