//! Servers and their locations: settings merged, variables looked up, groups found.

use std::path::Path;
use std::sync::Arc;

use super::formats::Logs;
use super::upstreams::Groups;
use crate::conf::{ConfError, Span};
use crate::http::location::{Content, Entry, Kind, Location, Locations, RegexEntry};
use crate::http::rewrite::Return;
use crate::http::server::{Counters, Server};
use crate::http::variable::Template;
use crate::modules::{HttpBlock, LocationBlock, Own, Scope, ServerBlock};
use crate::snapshot::Snapshot;

/// Compiles the servers of a configuration.
pub(super) struct Compiler<'a> {
    http: &'a HttpBlock,
    previous: Option<&'a Snapshot>,
    logs: Logs<'a>,
    /// The groups asked for.
    pub(super) groups: Groups<'a>,
    /// What is wrong.
    pub(super) problems: Vec<ConfError>,
    /// Locations with a `proxy_pass` so far.
    proxies: u32,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        http: &'a HttpBlock,
        groups: Groups<'a>,
        previous: Option<&'a Snapshot>,
        prefix: &'a Path,
    ) -> Self {
        let mut problems = Vec::new();
        let logs = Logs::new(&http.formats.formats, prefix, &mut problems);
        Self { http, previous, logs, groups, problems, proxies: 0 }
    }

    /// The servers, in the order of the file.
    pub(super) fn servers(&mut self) -> Vec<Arc<Server>> {
        let http = self.http;
        http.servers.iter().map(|it| Arc::new(self.server(it))).collect()
    }

    fn server(&mut self, block: &ServerBlock) -> Server {
        let scope = block.scope.clone().within(&self.http.scope);
        let mut locations = Vec::new();
        let mut tree = self.level(&block.locations, &scope, &block.span, &mut locations);
        let mut fallback = self.location(String::new(), &scope, &block.own, 0);
        if block.own.rewrite.answer.is_some() {
            // It is given before a location is looked for, and before a body is measured.
            tree = Locations::default();
            fallback.core.client_max_body_size = None;
        }
        let name = block.names.first();
        let counters = self.counters(&name);
        Server { name, locations, tree, fallback, counters }
    }

    /// Those of the server of this name in the configuration before this one.
    fn counters(&self, name: &str) -> Arc<Counters> {
        let listeners = self.previous.into_iter().flat_map(|it| &it.listeners);
        let mut servers = listeners.flat_map(|it| &it.servers.servers);
        let same = servers.find(|it| it.name == name);
        same.map(|it| Arc::clone(&it.counters)).unwrap_or_default()
    }

    /// The locations of one level; each is added to `all` under its number.
    fn level(
        &mut self,
        blocks: &[LocationBlock],
        outer: &Scope,
        around: &Span,
        all: &mut Vec<Location>,
    ) -> Locations {
        let (mut exact, mut prefixes, mut regexes) = (Vec::new(), Vec::new(), Vec::new());
        for (at, block) in blocks.iter().enumerate() {
            let pattern = &block.pattern;
            let is_exact = pattern.kind == Kind::Exact;
            let same = |it: &LocationBlock| {
                it.pattern.regex.is_none()
                    && it.pattern.path == pattern.path
                    && (it.pattern.kind == Kind::Exact) == is_exact
            };
            let name = String::from_utf8_lossy(&pattern.path).into_owned();
            if pattern.kind != Kind::Regex && blocks[..at].iter().any(same) {
                let text = format!("duplicate location \"{name}\"");
                let problem = ConfError::new(text, pattern.span.clone());
                self.problems.push(problem.noticed_at(around));
            }
            let scope = block.scope.clone().within(outer);
            let length = pattern.path.len();
            let location = all.len();
            all.push(self.location(name, &scope, &block.own, length));
            let nested = self.level(&block.locations, &scope, &block.close, all);
            let path = pattern.path.clone();
            if let Some(regex) = pattern.regex.clone() {
                regexes.push(RegexEntry { regex, location, nested });
            } else if is_exact {
                exact.push((path, location));
            } else {
                let shields = pattern.kind == Kind::Shield;
                prefixes.push(Entry { path, location, shields, nested });
            }
        }
        self.slashes(blocks, outer, all, &mut exact);
        Locations::new(exact, prefixes, regexes)
    }

    /// A location that ends in `/` and has a `proxy_pass` is where its name without it leads.
    ///
    /// Source: nginx `ngx_http_core_module.c`, `auto_redirect`.
    fn slashes(
        &mut self,
        blocks: &[LocationBlock],
        outer: &Scope,
        all: &mut Vec<Location>,
        exact: &mut Vec<(Vec<u8>, usize)>,
    ) {
        let leads =
            |it: &&LocationBlock| it.pattern.kind != Kind::Regex && it.scope.proxy.target.is_some();
        for block in blocks.iter().filter(leads) {
            let Some(path) = block.pattern.path.strip_suffix(b"/") else { continue };
            if path.is_empty() || exact.iter().any(|(it, _)| it == path) {
                continue;
            }
            let scope = block.scope.clone().within(outer);
            let name = String::from_utf8_lossy(path).into_owned();
            let mut location = self.location(name, &scope, &Own::default(), path.len());
            let target = Template::redirect_to(&block.pattern.path);
            location.content = Content::Return(Return { status: 301, text: Some(target) });
            exact.push((path.to_vec(), all.len()));
            all.push(location);
        }
    }

    /// One location; `prefix` is the length of the path it is written with.
    fn location(&mut self, name: String, scope: &Scope, own: &Own, prefix: usize) -> Location {
        let content = self.content(scope, own, prefix);
        let add_headers = scope.header.compile();
        let access_logs = self.logs.access(scope.logs.access(), &mut self.problems);
        Location {
            name,
            core: scope.core.compile(),
            content: self.kept(content).unwrap_or(Content::Nothing),
            add_headers: self.kept(add_headers).unwrap_or_default(),
            access_logs,
        }
    }

    fn content(&mut self, scope: &Scope, own: &Own, prefix: usize) -> Result<Content, ConfError> {
        scope.proxy.check_buffers()?;
        if let Some(answer) = &own.rewrite.answer {
            return Ok(Content::Return(answer.compile()?));
        }
        if let Some(target) = &scope.proxy.target {
            let upstream = self.groups.of_target(target)?;
            self.proxies += 1;
            let proxy = scope.proxy.compile(target, upstream, self.proxies, prefix)?;
            return Ok(Content::Proxy(Box::new(proxy)));
        }
        Ok(if own.stub_status { Content::StubStatus } else { Content::Nothing })
    }

    /// The value, or nothing and one problem more.
    fn kept<T>(&mut self, result: Result<T, ConfError>) -> Option<T> {
        result.map_err(|it| self.problems.push(it)).ok()
    }
}
