//! Groups: those with a block, and those a `proxy_pass` to a plain host implies.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use policy::Choice;

use super::resolvers::Resolvers;
use crate::conf::address::{Address, Host};
use crate::conf::{ConfError, Word};
use crate::engine::exchange::Exchange;
use crate::http::proxy_pass::dynamic::Directory;
use crate::http::proxy_pass::rows::Target;
use crate::http::variable::compile;
use crate::snapshot::Snapshot;
use crate::upstream::member::{Lookup, Member, Place};
use crate::upstream::probe::Probe;
use crate::upstream::protection::Protections;
use crate::upstream::resolve::Answers;
use crate::upstream::rows::{Line, Settings};
use crate::upstream::state::State;
use crate::upstream::sticky::How;
use crate::upstream::{Keepalive, Plan, Upstream, default_choices, dns};
use crate::variable::Names;

/// The groups of a configuration, as far as they have been asked for.
pub(super) struct Groups<'a> {
    pub(super) answers: &'a Answers,
    /// Those of the configuration before this one.
    previous: &'a [Arc<Upstream>],
    is_strict: bool,
    /// Whether they are those of `stream`: servers have ports, connections serve once.
    is_stream: bool,
    /// Those with a block come first.
    pub(super) upstreams: Vec<Arc<Upstream>>,
    explicit: usize,
    /// Who follows names.
    pub(super) resolvers: Resolvers<'a>,
    /// The `resolver` of the block around.
    outer: &'a dns::rows::Settings,
    /// Where variables look for groups.
    pub(super) directory: Arc<Directory>,
    /// What is wrong with them.
    pub(super) problems: Vec<ConfError>,
}

impl<'a> Groups<'a> {
    /// Builds those of `http` that have a block.
    pub(super) fn of_http(
        blocks: &[Settings],
        answers: &'a Answers,
        previous: Option<&'a Snapshot>,
        is_strict: bool,
        outer: &'a dns::rows::Settings,
        names: &Names<Exchange>,
    ) -> Self {
        let upstreams = previous.map_or(&[][..], |it| &it.upstreams);
        Self::new(blocks, answers, upstreams, is_strict, outer, Some(names))
    }

    /// Builds those of `stream` that have a block.
    pub(super) fn of_stream(
        blocks: &[Settings],
        answers: &'a Answers,
        previous: Option<&'a Snapshot>,
        is_strict: bool,
        outer: &'a dns::rows::Settings,
    ) -> Self {
        let upstreams = previous.map_or(&[][..], |it| &it.stream_upstreams);
        Self::new(blocks, answers, upstreams, is_strict, outer, None)
    }

    fn new(
        blocks: &[Settings],
        answers: &'a Answers,
        previous: &'a [Arc<Upstream>],
        is_strict: bool,
        outer: &'a dns::rows::Settings,
        names: Option<&Names<Exchange>>,
    ) -> Self {
        let mut groups = Self {
            answers,
            previous,
            is_strict,
            is_stream: names.is_none(),
            upstreams: Vec::new(),
            explicit: 0,
            resolvers: Resolvers::new(answers),
            outer,
            directory: Arc::default(),
            problems: Vec::new(),
        };
        for block in blocks {
            if let Err(problem) = groups.explicit(block, names) {
                groups.problems.push(problem);
                // It has its name all the same: who passes on to it makes no mistake.
                let plan = groups.plan(block.name.to_string(), default_choices(), Keepalive::NONE);
                groups.add(plan, Vec::new());
            }
        }
        groups.explicit = groups.upstreams.len();
        groups
    }

    /// Shows the groups to those that look for them by variables.
    pub(super) fn fill_directory(&self) {
        let (explicit, implicit) = self.upstreams.split_at(self.explicit);
        self.directory.fill(explicit, implicit);
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
        let member = self.member(&target.address, &target.word, None)?;
        let plan = self.plan(name, default_choices(), Keepalive::NONE);
        Ok(self.add(plan, vec![member]))
    }

    fn explicit(
        &mut self,
        block: &Settings,
        names: Option<&Names<Exchange>>,
    ) -> Result<(), ConfError> {
        let method = block.method.as_ref();
        let words: Vec<&str> = method.iter().flat_map(|it| &it.words).map(String::as_str).collect();
        let choice = || Choice::of_directive(&words).expect("the rows accepted the same words");
        let mut members = Vec::new();
        for line in &block.servers {
            let lookup = self.lookup(block, line)?;
            let member = self.member(&line.address, &line.word, lookup)?;
            let (terms, words, binding) = (line.terms, line.words.clone(), line.binding.clone());
            members.push(Member { terms, words, binding, ..member });
        }
        let name = block.name.to_string();
        let keepalive = if self.is_stream { Keepalive::NONE } else { block.keepalive };
        let choices =
            [choice(), choice()].map(|it| Choice { entry: it.entry, key: None, policy: it.policy });
        let plan = Plan {
            // Keys of sessions are compiled beside: they have other variables.
            key: match (method.and_then(|it| it.key.as_ref()), names) {
                (Some(key), Some(names)) => Some(compile(key, names)?),
                _ => None,
            },
            sticky: match (&block.sticky, names) {
                (Some(line), Some(names)) => Some(line.compile(names, &|zone| {
                    let before = self.previous.iter().find(|it| *it.name == *block.name)?;
                    match &before.sticky.as_ref()?.how {
                        How::Learn(learn) if learn.sessions.name == zone => {
                            Some(Arc::clone(&learn.sessions))
                        }
                        _ => None,
                    }
                })?),
                _ => None,
            },
            protections: Protections { asked: block.protection, ..Protections::default() },
            state: State::of(block, self.is_stream),
            probe: method.and_then(|it| {
                let uri = it.words.iter().find_map(|it| it.strip_prefix("uri="))?;
                it.entry.needs.probes.then(|| Probe::new(&block.name, uri))
            }),
            ..self.plan(name, choices, keepalive)
        };
        self.add(plan, members);
        Ok(())
    }

    /// A group without lines.
    fn plan(&self, name: String, choices: [Choice<'static>; 2], keepalive: Keepalive) -> Plan {
        Plan {
            name,
            choices,
            key: None,
            sticky: None,
            members: Vec::new(),
            is_stream: self.is_stream,
            keepalive,
            idle: Arc::default(),
            totals: Arc::default(),
            before: Vec::new(),
            protections: Protections::default(),
            state: None,
            probe: None,
            seed: seed(),
        }
    }

    /// Puts a group together from its lines and from what the configuration before it knew.
    fn add(&mut self, plan: Plan, mut members: Vec<Member>) -> Arc<Upstream> {
        let before = self.previous.iter().find(|it| it.name == plan.name);
        for (number, member) in members.iter_mut().enumerate() {
            member.number = number;
            // What was found out about a name that is followed holds until it is asked for anew.
            let found = before.map(|it| it.spots(&member.place)).unwrap_or_default();
            if let Place::Named { spots, lookup: Some(_), .. } = &mut member.place {
                *spots = found;
            }
        }
        let asked = plan.protections.asked;
        let known = before.map(|it| &it.protections);
        let plan = Plan { protections: Protections::new(asked, known, seed()), ..plan };
        let plan = match before {
            Some(before) => Plan {
                idle: Arc::clone(&before.idle),
                totals: Arc::clone(&before.totals),
                before: before.servers(),
                ..plan
            },
            None => plan,
        };
        let upstream = Arc::new(Upstream::new(Plan { members, ..plan }));
        self.upstreams.push(Arc::clone(&upstream));
        upstream
    }

    /// A line, with the addresses of its name.
    fn member(
        &mut self,
        address: &Address,
        word: &Word,
        lookup: Option<Arc<Lookup>>,
    ) -> Result<Member, ConfError> {
        let member = Member::of_address(address, word, lookup, self.answers, self.is_stream)?;
        if let Place::Named { spots, lookup: None, .. } = &member.place
            && spots.is_empty()
        {
            self.unresolved_name(word)?;
        }
        Ok(member)
    }

    /// How the name of a line is followed.
    ///
    /// Source: nginx `ngx_http_upstream_round_robin.c`, `ngx_http_upstream_init_round_robin`.
    fn lookup(&mut self, block: &Settings, line: &Line) -> Result<Option<Arc<Lookup>>, ConfError> {
        let Some((_, service)) = line.followed() else { return Ok(None) };
        let name = &block.name;
        let place = &name.span;
        if !block.has_zone && self.is_strict {
            return Err(ConfError::unplaced(format!(
                "resolving names at run time requires upstream \"{name}\" in {place} to be in \
                 shared memory"
            )));
        }
        let settings = block.resolver.clone().within(self.outer);
        let resolver = self.resolvers.of(&settings)?;
        // The system knows addresses, but no services.
        if resolver.is_none() && (self.is_strict || service.is_some()) {
            return Err(ConfError::unplaced(format!(
                "no resolver defined to resolve names at run time in upstream \"{name}\" in {place}"
            )));
        }
        Ok(Some(Arc::new(Lookup { resolver, patience: settings.patience(), service })))
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
