//! `stream`: its servers, their groups and logs, and the addresses they listen on.

use std::path::Path;
use std::sync::Arc;

use super::formats::{self, Formats};
use super::listeners::{Asked, Place, add_line, binds, merge};
use super::upstreams::Groups;
use crate::client::Trusted;
use crate::conf::address::{Address, Host, Purpose};
use crate::conf::{ConfError, Word};
use crate::http::limit_zone::Zone;
use crate::http::name_table::NameTable;
use crate::http::proxy_pass::rows::Target;
use crate::modules::stream::{StreamBlock, StreamScope, StreamServerBlock};
use crate::snapshot::{Snapshot, StreamListener};
use crate::stream::core::Handler;
use crate::stream::pass::Pass;
use crate::stream::proxy::aim::{self, Dynamic};
use crate::stream::session::Session;
use crate::stream::upstream::Habits;
use crate::stream::{Content, Server, Servers};
use crate::upstream::check::{Check, rows::Line};
use crate::upstream::dns::Resolver;
use crate::upstream::resolve::Answers;
use crate::variable::{Definitions, Names, compile, has_variables};

/// Shows the host of every name in the block.
pub(super) fn names(stream: &StreamBlock, add: &mut dyn FnMut(&Host)) {
    let lines = stream.upstreams.iter().flat_map(|it| &it.servers);
    // Names that are followed are not the system's to know.
    lines.filter(|it| !it.resolve).for_each(|it| add(&it.address.host));
    let of_groups = stream.upstreams.iter().map(|it| &it.resolver);
    let of_servers = stream.servers.iter().map(|it| &it.scope.resolver);
    let resolvers = of_groups.chain(of_servers).chain([&stream.scope.resolver]);
    let resolvers = resolvers.filter_map(|it| it.resolver.as_ref());
    resolvers.flat_map(|it| &it.servers).for_each(|(it, _)| add(&it.host));
    stream.servers.iter().flat_map(|it| &it.listen.lines).for_each(|it| add(&it.address.host));
    let access = stream.servers.iter().map(|it| &it.scope.access).chain([&stream.scope.access]);
    for name in access.flat_map(|it| &it.trusted).filter_map(Trusted::name) {
        add(&Host::Name(name.to_owned()));
    }
    for server in &stream.servers {
        let Some(Handler::Proxy(target)) = &server.own.handler else { continue };
        if has_variables(target.as_bytes()) {
            continue;
        }
        let is_group =
            |name: &str| stream.upstreams.iter().any(|it| it.name.eq_ignore_ascii_case(name));
        match Address::parse(target, Purpose::Peer).map(|it| it.host) {
            Ok(Host::Name(name)) if is_group(&name) => {}
            Ok(host) => add(&host),
            Err(_) => {}
        }
    }
}

/// Compiles the block.
pub(super) struct Compiler<'a> {
    stream: &'a StreamBlock,
    variables: &'a Names<Session>,
    definitions: Arc<Definitions<Session>>,
    formats: Formats<'a, Session>,
    habits: Arc<Habits>,
    /// Those of `limit_conn`.
    pub(super) zones: Vec<Arc<Zone<Session>>>,
    prefix: &'a Path,
    /// The groups asked for.
    pub(super) groups: Groups<'a>,
    /// The health checks of the groups.
    pub(super) checks: Vec<Arc<Check>>,
    /// What is wrong.
    pub(super) problems: Vec<ConfError>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        stream: &'a StreamBlock,
        variables: &'a Names<Session>,
        groups: Groups<'a>,
        previous: Option<&Snapshot>,
        prefix: &'a Path,
    ) -> Self {
        let mut problems = Vec::new();
        let mut definitions = stream.variables.compile(variables, &mut problems);
        stream.servers.iter().for_each(|it| it.set.define(variables, &mut definitions));
        let definitions = Arc::new(definitions);
        let formats = Formats::new(&stream.formats.formats, variables, prefix, &mut problems);
        let habits = Arc::new(Habits::compile(&stream.upstreams, variables, &mut problems));
        let zones = previous.map_or(&[][..], |it| &it.stream_zones);
        let zones = stream.zones.compile(zones, variables);
        let zones = zones.map_err(|it| problems.push(it)).unwrap_or_default();
        let checks = Vec::new();
        Self {
            stream,
            variables,
            definitions,
            formats,
            habits,
            zones,
            prefix,
            groups,
            checks,
            problems,
        }
    }

    /// The listeners, in the order of the file.
    pub(super) fn listeners(&mut self, answers: &Answers) -> Vec<StreamListener> {
        let (mut places, mut servers) = (Vec::new(), Vec::new());
        for (at, block) in self.stream.servers.iter().enumerate() {
            match self.server(block) {
                Ok(server) => servers.push(Arc::new(server)),
                Err(problem) => self.problems.push(problem),
            }
            for line in &block.listen.lines {
                let asked = Asked {
                    options: line.options,
                    is_default: line.is_default,
                    proxy_protocol: line.proxy_protocol,
                    span: &line.span,
                    server: at,
                };
                let binds = binds(&line.word, &line.address, None, answers);
                add_line(&mut places, binds, &asked, &mut self.problems);
            }
        }
        if servers.len() < self.stream.servers.len() {
            // What is wrong with them has been told.
            return Vec::new();
        }
        merge(&mut places);
        places.into_iter().map(|it| self.listener(it, &servers)).collect()
    }

    fn listener(&mut self, place: Place, servers: &[Arc<Server>]) -> StreamListener {
        let Place { bind, options, default, servers: positions, proxy_protocol, .. } = place;
        let is_alone = positions.len() == 1;
        let mut names = NameTable::default();
        for (at, position) in positions.iter().enumerate() {
            let own = &self.stream.servers[*position].names;
            names.enter(own, at, &bind, is_alone, self.variables, &mut self.problems);
        }
        let servers = positions.iter().map(|it| Arc::clone(&servers[*it])).collect();
        let servers = Servers { servers, default: default.unwrap_or_default(), names };
        StreamListener { bind, options, proxy_protocol, servers }
    }

    fn server(&mut self, block: &StreamServerBlock) -> Result<Server, ConfError> {
        let scope = block.scope.clone().within(&self.stream.scope);
        let answers = self.groups.answers;
        let answer = |name: &str| answers.get(name).cloned().unwrap_or_default();
        let trusted = Trusted::resolve(&scope.access.trusted, &answer)?;
        let resolver = self.groups.resolvers.of(&scope.resolver)?;
        let content = match &block.own.handler {
            Some(Handler::Proxy(target)) => self.proxy(&scope, target, resolver)?,
            Some(Handler::Return(word)) => Content::Return(compile(word, self.variables)?),
            Some(Handler::Pass(word)) => Content::Pass(Pass::compile(word, self.variables)?),
            None => {
                // nginx looks for it when everything has been read.
                let text = format!("no handler for server in {}", block.span);
                return Err(ConfError::unplaced(text));
            }
        };
        for line in &block.checks.lines {
            let check = self.check(&scope, line, &content)?;
            self.checks.push(Arc::new(check));
        }
        let lines = scope.logs.access().unwrap_or_default();
        Ok(Server {
            name: block.names.first(),
            definitions: Arc::clone(&self.definitions),
            error_logs: formats::errors(&scope.logs.errors, self.prefix)?,
            proxy_protocol_timeout: scope.core.proxy_protocol_timeout(),
            trusted,
            assignments: block.set.compile(self.variables)?,
            limit_conn: scope.limit_conn.compile(&self.zones)?,
            rules: scope.access.rules.0,
            preread: scope.core.preread(),
            sends_at_once: scope.core.sends_at_once(),
            content,
            logs: self.formats.access(lines, scope.logs.keeping(), &mut self.problems),
        })
    }

    /// The check that a server asks for.
    fn check(
        &self,
        scope: &StreamScope,
        line: &Line,
        content: &Content,
    ) -> Result<Check, ConfError> {
        let Content::Proxy(proxy) = content else {
            let text = "\"health_check\" requires \"proxy_pass\" to an upstream";
            return Err(line.word.refuse(text));
        };
        let aim::Target::Group(upstream) = &proxy.target else {
            let text = "\"health_check\" does not support variables in \"proxy_pass\"";
            return Err(line.word.refuse(text));
        };
        let talk = match &line.test {
            Some(name) => {
                let talk = self.stream.talks.iter().find(|(it, _)| **it == **name);
                let (_, talk) =
                    talk.ok_or_else(|| name.refuse(format!("match \"{name}\" not found")))?;
                Some(Arc::new(talk.clone()))
            }
            None => None,
        };
        let patience = scope.patience.timeout();
        Ok(Check::of_stream(Arc::clone(upstream), line, patience, talk))
    }

    fn proxy(
        &mut self,
        scope: &StreamScope,
        word: &Word,
        resolver: Option<Arc<Resolver>>,
    ) -> Result<Content, ConfError> {
        let target = if has_variables(word.as_bytes()) {
            aim::Target::Variable(Dynamic {
                text: compile(word, self.variables)?,
                directory: Arc::clone(&self.groups.directory),
                resolver,
                patience: scope.resolver.patience(),
            })
        } else {
            let address = Address::parse(word, Purpose::Peer)
                .map_err(|it| word.refuse(format!("{it} in upstream \"{word}\"")))?;
            let target = Target { address, authority: word.to_string(), word: word.clone() };
            aim::Target::Group(self.groups.of_target(&target)?)
        };
        let proxy = scope.proxy.compile(target, &self.habits, self.variables)?;
        Ok(Content::Proxy(Box::new(proxy)))
    }
}
