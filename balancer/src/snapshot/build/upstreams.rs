//! Groups: those with a block, and those a `proxy_pass` to a plain host implies.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;

use policy::{Choice, Terms};

use crate::conf::address::{Address, Host};
use crate::conf::{ConfError, Word};
use crate::http::proxy_pass::rows::Target;
use crate::http::variable::compile;
use crate::modules::HttpBlock;
use crate::snapshot::Snapshot;
use crate::upstream::resolve::{Answers, Member, Place, Roster, servers};
use crate::upstream::rows::Settings;
use crate::upstream::{self, Keepalive, Plan, Upstream};

/// The port of a server that names none.
const DEFAULT_PORT: u16 = 80;

/// The groups of a configuration, as far as they have been asked for.
pub(super) struct Groups<'a> {
    answers: &'a Answers,
    previous: Option<&'a Snapshot>,
    is_strict: bool,
    /// Those with a block come first.
    pub(super) upstreams: Vec<Arc<Upstream>>,
    explicit: usize,
    /// Groups with names that have no address.
    pub(super) unresolved: Vec<Arc<Roster>>,
    /// What is wrong with them.
    pub(super) problems: Vec<ConfError>,
}

impl<'a> Groups<'a> {
    /// Builds those that have a block.
    pub(super) fn new(
        http: &HttpBlock,
        answers: &'a Answers,
        previous: Option<&'a Snapshot>,
        is_strict: bool,
    ) -> Self {
        let mut groups = Self {
            answers,
            previous,
            is_strict,
            upstreams: Vec::new(),
            explicit: 0,
            unresolved: Vec::new(),
            problems: Vec::new(),
        };
        for block in &http.upstreams {
            if let Err(problem) = groups.explicit(block) {
                groups.problems.push(problem);
            }
        }
        groups.explicit = groups.upstreams.len();
        groups
    }

    /// The group that a `proxy_pass` names.
    pub(super) fn of_target(&mut self, target: &Target) -> Result<Arc<Upstream>, ConfError> {
        let name = match &target.address.host {
            Host::Unix(path) => format!("unix:{path}"),
            _ => target.authority.clone(),
        };
        if let Host::Name(host) = &target.address.host {
            let explicit = &self.upstreams[..self.explicit];
            if let Some(group) = explicit.iter().find(|it| it.name.eq_ignore_ascii_case(host)) {
                return match &target.address.ports {
                    None => Ok(Arc::clone(group)),
                    Some(ports) => {
                        let text =
                            format!("upstream \"{host}\" may not have port {}", ports.start());
                        Err(target.word.refuse(text))
                    }
                };
            }
        }
        let implicit = &self.upstreams[self.explicit..];
        if let Some(group) = implicit.iter().find(|it| it.name.eq_ignore_ascii_case(&name)) {
            return Ok(Arc::clone(group));
        }
        let member = self.member(&target.address, &target.word, Terms::default())?;
        let choice = || Choice::of_directive(&[]).expect("the default policy is in the catalog");
        let plan = Plan {
            name,
            policy: choice().entry.id,
            hears: choice().entry.needs.hears,
            key: None,
            policies: [choice().policy, choice().policy],
            servers: Vec::new(),
            keepalive: Keepalive::NONE,
            idle: Arc::default(),
            seed: seed(),
        };
        Ok(self.add(plan, vec![member]))
    }

    fn explicit(&mut self, block: &Settings) -> Result<(), ConfError> {
        let method = block.method.as_ref();
        let words: Vec<&str> = method.iter().flat_map(|it| &it.words).map(String::as_str).collect();
        let choice = || Choice::of_directive(&words).expect("the rows accepted the same words");
        let members = block.servers.iter().map(|it| self.member(&it.address, &it.word, it.terms));
        let members = members.collect::<Vec<_>>();
        let members = members.into_iter().collect::<Result<_, _>>()?;
        let plan = Plan {
            name: block.name.to_string(),
            policy: choice().entry.id,
            hears: choice().entry.needs.hears,
            key: method.and_then(|it| it.key.as_ref()).map(compile).transpose()?,
            policies: [choice().policy, choice().policy],
            servers: Vec::new(),
            keepalive: block.keepalive,
            idle: Arc::default(),
            seed: seed(),
        };
        self.add(plan, members);
        Ok(())
    }

    /// Puts a group together from its lines and from what the configuration before it knew.
    fn add(&mut self, plan: Plan, members: Vec<Member>) -> Arc<Upstream> {
        let groups = self.previous.map_or(&[][..], |it| &it.upstreams);
        let before = groups.iter().find(|it| it.name == plan.name);
        let present = before.map(|it| it.servers()).unwrap_or_default();
        let known = |address: &upstream::Address| {
            let found = present.iter().find(|it| it.backend.address == *address);
            found.map(|it| Arc::clone(&it.backend))
        };
        let servers = servers(&members, &known);
        let idle = before.map(|it| Arc::clone(&it.idle)).unwrap_or_default();
        let upstream = Arc::new(Upstream::new(Plan { servers, idle, ..plan }));
        let is_open = |it: &Member| match &it.place {
            Place::Named { addresses, .. } => addresses.is_empty(),
            Place::Fixed(_) => false,
        };
        if members.iter().any(is_open) {
            let upstream = Arc::clone(&upstream);
            self.unresolved.push(Arc::new(Roster { upstream, members }));
        }
        self.upstreams.push(Arc::clone(&upstream));
        upstream
    }

    /// A line, with the addresses of its name.
    fn member(
        &mut self,
        address: &Address,
        word: &Word,
        terms: Terms,
    ) -> Result<Member, ConfError> {
        let port = address.port_or(DEFAULT_PORT);
        let line = match &address.host {
            Host::Any => return Err(word.refuse(format!("no host in upstream \"{word}\""))),
            Host::Unix(path) => format!("unix:{path}"),
            Host::Ip(_) | Host::Name(_) => {
                word.trim_start_matches("http://").trim_end_matches(&address.uri).to_owned()
            }
        };
        let place = match &address.host {
            Host::Unix(path) => Place::Fixed(upstream::Address::Unix(path.into())),
            Host::Ip(ip) => Place::Fixed(upstream::Address::Inet(SocketAddr::new(*ip, port))),
            Host::Name(name) => {
                let addresses = self.answers.get(name).cloned().unwrap_or_default();
                if addresses.is_empty() {
                    self.unresolved_name(word)?;
                }
                Place::Named { name: name.clone(), port, addresses }
            }
            Host::Any => unreachable!("refused above"),
        };
        Ok(Member { terms, line, place })
    }

    fn unresolved_name(&mut self, word: &Word) -> Result<(), ConfError> {
        let url = word.strip_prefix("http://").unwrap_or(word);
        let text = format!("host not found in upstream \"{url}\"");
        if self.is_strict {
            return Err(word.refuse(text));
        }
        let text = format!("{text}, will retry in background");
        self.problems.push(word.refuse(text).warning());
        Ok(())
    }
}

/// Differs from group to group and from start to start, so that balancers do not march in step.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
