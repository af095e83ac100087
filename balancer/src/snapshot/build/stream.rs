//! `stream`: its servers, their groups and logs, and the addresses they listen on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use super::formats;
use super::upstreams::Groups;
use crate::conf::address::{Address, Host, Purpose};
use crate::conf::{ConfError, Word};
use crate::http::proxy_pass::rows::Target;
use crate::logs::rows::{AccessLine, Escape};
use crate::modules::stream::{StreamBlock, StreamScope, StreamServerBlock};
use crate::snapshot::{Bind, StreamListener};
use crate::stream::listen::Listen;
use crate::stream::log::AccessLog;
use crate::stream::variable::Template;
use crate::stream::{Content, Server};
use crate::upstream::resolve::Answers;

/// Shows the host of every name in the block.
pub(super) fn names(stream: &StreamBlock, add: &mut dyn FnMut(&Host)) {
    stream.upstreams.iter().flat_map(|it| &it.servers).for_each(|it| add(&it.address.host));
    stream.servers.iter().flat_map(|it| &it.listen.lines).for_each(|it| add(&it.address.host));
    for target in stream.servers.iter().filter_map(|it| it.own.target.as_ref()) {
        let address = Address::parse(target, Purpose::Peer);
        let is_group =
            |name: &str| stream.upstreams.iter().any(|it| it.name.eq_ignore_ascii_case(name));
        match address.map(|it| it.host) {
            Ok(Host::Name(name)) if is_group(&name) => {}
            Ok(host) => add(&host),
            Err(_) => {}
        }
    }
}

/// Compiles the block.
pub(super) struct Compiler<'a> {
    stream: &'a StreamBlock,
    formats: BTreeMap<String, (Arc<Template>, Escape)>,
    /// What sessions are hashed by, by group.
    keys: Vec<(String, Arc<Template>)>,
    prefix: &'a Path,
    /// The groups asked for.
    pub(super) groups: Groups<'a>,
    /// What is wrong.
    pub(super) problems: Vec<ConfError>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(stream: &'a StreamBlock, groups: Groups<'a>, prefix: &'a Path) -> Self {
        let mut problems = Vec::new();
        let mut formats = BTreeMap::new();
        for line in &stream.formats.formats {
            let text: String = line.parts.iter().map(Word::as_str).collect();
            match Template::compile(&text, &line.name) {
                Ok(format) => {
                    formats.insert(line.name.to_string(), (Arc::new(format), line.escape));
                }
                Err(problem) => problems.push(problem),
            }
        }
        let mut keys = Vec::new();
        for block in &stream.upstreams {
            let Some(key) = block.method.as_ref().and_then(|it| it.key.as_ref()) else { continue };
            match Template::compile(key, key) {
                Ok(key) => keys.push((block.name.to_string(), Arc::new(key))),
                Err(problem) => problems.push(problem),
            }
        }
        Self { stream, formats, keys, prefix, groups, problems }
    }

    /// The listeners, in the order of the file.
    pub(super) fn listeners(&mut self, answers: &Answers) -> Vec<StreamListener> {
        let mut listeners: Vec<StreamListener> = Vec::new();
        let mut taken = BTreeSet::new();
        for block in &self.stream.servers {
            let server = match self.server(block) {
                Ok(server) => Arc::new(server),
                Err(problem) => {
                    self.problems.push(problem);
                    continue;
                }
            };
            for line in &block.listen.lines {
                let found = match binds(line, answers) {
                    Ok(found) => found,
                    Err(problem) => {
                        self.problems.push(problem);
                        continue;
                    }
                };
                for bind in found {
                    if !taken.insert(bind.clone()) {
                        let text = format!("a duplicate listen {bind}");
                        self.problems.push(ConfError::new(text, line.span.clone()));
                        continue;
                    }
                    listeners.push(StreamListener {
                        bind,
                        options: line.options,
                        proxy_protocol: line.proxy_protocol,
                        server: Arc::clone(&server),
                    });
                }
            }
        }
        listeners
    }

    fn server(&mut self, block: &StreamServerBlock) -> Result<Server, ConfError> {
        let scope = block.scope.clone().within(&self.stream.scope);
        let content = match (&block.own.target, &block.own.answer) {
            (Some(target), _) => self.proxy(&scope, target)?,
            (None, Some(word)) => Content::Return(Template::compile(word, word)?),
            (None, None) => {
                return Err(ConfError::new("no handler for server", block.span.clone()));
            }
        };
        let lines = scope.logs.access().unwrap_or_default();
        Ok(Server {
            proxy_protocol_timeout: scope.core.proxy_protocol_timeout(),
            rules: scope.access.rules.0,
            trusted: scope.access.trusted,
            content,
            error_logs: formats::errors(&scope.logs.errors, self.prefix)?,
            logs: lines.iter().map(|it| self.log(it)).collect::<Result<_, _>>()?,
        })
    }

    fn proxy(&mut self, scope: &StreamScope, word: &Word) -> Result<Content, ConfError> {
        let address = Address::parse(word, Purpose::Peer)
            .map_err(|it| word.refuse(format!("{it} in upstream \"{word}\"")))?;
        let target = Target { address, authority: word.to_string(), word: word.clone() };
        let upstream = self.groups.of_target(&target)?;
        let key = self.keys.iter().find(|it| it.0 == upstream.name).map(|it| Arc::clone(&it.1));
        Ok(Content::Proxy(Box::new(scope.proxy.compile(upstream, key))))
    }

    fn log(&self, line: &AccessLine) -> Result<AccessLog, ConfError> {
        let word = line.format.as_ref().unwrap_or(&line.path);
        let found = self.formats.get(word.as_str());
        let (format, escape) =
            found.ok_or_else(|| word.refuse(format!("unknown log format \"{word}\"")))?;
        if line.path.contains('$') || line.gzip.is_some() {
            let text = format!("invalid parameter \"{}\"", line.path);
            let help = "this version logs to plain files whose names are known at the start";
            return Err(line.path.refuse(text).with_help(help));
        }
        let condition = line.condition.as_ref();
        let condition = condition
            .map(|it| Template::compile(it.parameter("if").unwrap_or_default(), it))
            .transpose()?;
        let file = line.open(self.prefix).map_err(ConfError::unplaced)?;
        Ok(AccessLog { format: Arc::clone(format), escape: *escape, file, condition })
    }
}

/// The addresses of a line: one for each port and each address of a name.
fn binds(line: &Listen, answers: &Answers) -> Result<Vec<Bind>, ConfError> {
    let word = &line.word;
    let hosts: Vec<IpAddr> = match &line.address.host {
        Host::Unix(path) => return Ok(vec![Bind::Unix(path.into())]),
        Host::Any => vec![Ipv4Addr::UNSPECIFIED.into()],
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) => answers.get(name).cloned().unwrap_or_default(),
    };
    let refuse =
        |text: &str| word.refuse(format!("{text} in \"{word}\" of the \"listen\" directive"));
    if hosts.is_empty() {
        return Err(refuse("host not found"));
    }
    let ports = line.address.ports.clone().ok_or_else(|| refuse("no port"))?;
    let bind = |port, host: &IpAddr| Bind::Inet(SocketAddr::new(*host, port));
    Ok(ports.flat_map(|port| hosts.iter().map(move |it| bind(port, it))).collect())
}
