//! Who belongs to a group, and how that changes while it serves.
//!
//! What the file says, what names lead to and what an operator asks for meet here; the servers that
//! come of it are handed to the group in one step. A server that stays keeps its requests in
//! progress, its record and its place in the rotation.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use policy::Terms;

use super::member::{Known, Member, Place, Spot, servers};
use super::{Address, Binding, Server, Upstream, state};

/// The lines of a group, and what was asked for since they were read.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// In the order of the file, those that came later last.
    members: Vec<Member>,
    /// By the address of a server; what is asked of one outlasts its name's next answer.
    edits: HashMap<Address, Edit>,
    /// Addresses of names that were removed.
    removed: BTreeSet<Address>,
}

/// What is to be different about a server; `None` leaves it as it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edit {
    /// Its share.
    pub weight: Option<NonZeroU32>,
    /// Requests in progress at which no more are placed, `Some(None)` for no limit.
    pub max_conns: Option<Option<NonZeroU32>>,
    /// Failures that take it out, `Some(None)` for never.
    pub max_fails: Option<Option<NonZeroU32>>,
    /// How long it is out.
    pub fail_timeout: Option<Duration>,
    /// How long it takes to get its whole share, `Some(None)` for no time.
    pub slow_start: Option<Option<Duration>>,
    /// Whether it serves only when the others cannot.
    pub backup: Option<bool>,
    /// Whether it is never picked.
    pub down: Option<bool>,
    /// Whether it serves only requests that are bound to it.
    pub drain: Option<bool>,
    /// What binds requests to it, `Some(None)` for its address.
    pub route: Option<Option<Arc<str>>>,
}

/// Why a group stays as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// It has no such server.
    Unknown,
    /// It has that server already.
    Known,
    /// Its policy does not support this parameter of a server.
    Parameter(&'static str),
    /// There is no such policy; the position of the first word that is not understood.
    Policy(usize),
    /// The key of the policy cannot be read, for this reason.
    Key(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("server not found"),
            Self::Known => f.write_str("server exists already"),
            Self::Parameter(name) => {
                write!(f, "balancing method does not support parameter \"{name}\"")
            }
            Self::Policy(word) => write!(f, "balancing method not understood at word {word}"),
            Self::Key(reason) => write!(f, "key not understood: {reason}"),
        }
    }
}

impl std::error::Error for Refused {}

impl Edit {
    /// Takes over what the later edit changes.
    fn then(&mut self, later: &Self) {
        self.weight = later.weight.or(self.weight);
        self.max_conns = later.max_conns.or(self.max_conns);
        self.max_fails = later.max_fails.or(self.max_fails);
        self.fail_timeout = later.fail_timeout.or(self.fail_timeout);
        self.slow_start = later.slow_start.or(self.slow_start);
        self.backup = later.backup.or(self.backup);
        self.down = later.down.or(self.down);
        self.drain = later.drain.or(self.drain);
        self.route = later.route.clone().or(self.route.take());
    }

    /// Makes what is asked of a server different.
    pub fn apply(&self, terms: &mut Terms, binding: &mut Binding) {
        terms.weight = self.weight.unwrap_or(terms.weight);
        terms.max_conns = self.max_conns.unwrap_or(terms.max_conns);
        terms.max_fails = self.max_fails.unwrap_or(terms.max_fails);
        terms.fail_timeout = self.fail_timeout.unwrap_or(terms.fail_timeout);
        terms.slow_start = self.slow_start.unwrap_or(terms.slow_start);
        terms.backup = self.backup.unwrap_or(terms.backup);
        terms.down = self.down.unwrap_or(terms.down);
        binding.drain = self.drain.unwrap_or(binding.drain);
        if let Some(route) = &self.route {
            binding.route.clone_from(route);
        }
    }

    /// What some policies do not support, as these terms have it.
    fn asking(terms: &Terms) -> Self {
        let (backup, slow_start) = (Some(terms.backup), Some(terms.slow_start));
        Self { slow_start, backup, ..Self::default() }
    }

    /// The parameters it turns on that some policies do not support.
    fn asks(&self) -> impl Iterator<Item = &'static str> {
        let backup = (self.backup == Some(true)).then_some("backup");
        let slow_start = matches!(self.slow_start, Some(Some(_))).then_some("slow_start");
        backup.into_iter().chain(slow_start)
    }
}

impl Roster {
    pub(super) fn new(members: Vec<Member>) -> Self {
        Self { members, ..Self::default() }
    }

    /// The servers all of that comes to.
    pub(super) fn servers(&self, known: Known) -> Vec<Server> {
        let mut servers = servers(&self.members, known);
        if !self.removed.is_empty() {
            servers.retain(|it| !self.removed.contains(&it.backend.address));
        }
        if !self.edits.is_empty() {
            for server in &mut servers {
                if let Some(edit) = self.edits.get(&server.backend.address) {
                    edit.apply(&mut server.terms, &mut server.binding);
                }
            }
        }
        servers
    }

    fn is_fixed(&self, address: &Address) -> bool {
        self.members.iter().any(|it| matches!(&it.place, Place::Fixed(fixed) if fixed == address))
    }
}

impl Upstream {
    /// Lines whose addresses are not known, or not for ever.
    pub fn open_members(&self) -> Vec<Member> {
        let roster = self.roster();
        let is_open = |it: &&Member| match &it.place {
            Place::Named { spots, lookup, .. } => spots.is_empty() || lookup.is_some(),
            Place::Fixed(_) => false,
        };
        roster.members.iter().filter(is_open).cloned().collect()
    }

    /// What a line that follows the same name, or the same service of it, leads to now.
    ///
    /// Source: nginx `ngx_http_upstream_zone_module.c`, `ngx_http_upstream_zone_preresolve`.
    pub fn spots(&self, place: &Place) -> Vec<Spot> {
        let Place::Named { name: wanted, port, lookup: Some(of), .. } = place else {
            return Vec::new();
        };
        let roster = self.roster();
        let spots = roster.members.iter().find_map(|it| match &it.place {
            Place::Named { name, spots, lookup: Some(lookup), .. } => {
                (name == wanted && lookup.service == of.service).then(|| spots.clone())
            }
            _ => None,
        });
        let mut spots = spots.unwrap_or_default();
        if of.service.is_none() {
            // The port is that of the line.
            for spot in &mut spots {
                spot.address.set_port(*port);
            }
        }
        spots
    }

    /// Enters what the name of a line leads to now.
    pub fn enter(&self, number: usize, found: &[Spot]) {
        let mut roster = self.roster();
        let line = roster.members.iter_mut().find(|it| it.number == number);
        if let Some(Member { place: Place::Named { spots, .. }, .. }) = line {
            *spots = found.to_vec();
        }
        self.take_over(&roster);
    }

    /// Adds a server; it may be picked at once.
    pub fn add(
        &self,
        address: &Address,
        terms: Terms,
        binding: Binding,
    ) -> Result<Server, Refused> {
        self.check(&Edit::asking(&terms))?;
        let mut roster = self.roster();
        if self.find(address).is_some() {
            return Err(Refused::Known);
        }
        roster.edits.remove(address);
        // That of a name is there as soon as it is not removed any more.
        let was_removed = roster.removed.remove(address);
        if !was_removed || self.served_from(&roster, address).is_none() {
            let number = roster.members.iter().map(|it| it.number + 1).max().unwrap_or(0);
            let line = address.to_string();
            let place = Place::Fixed(address.clone());
            let words = Vec::new();
            roster.members.push(Member { number, terms, line, words, binding, place });
        }
        self.take_over(&roster);
        self.find(address).ok_or(Refused::Unknown)
    }

    /// Changes what is asked of a server. Requests in progress stay.
    pub fn edit(&self, address: &Address, edit: &Edit) -> Result<Server, Refused> {
        self.check(edit)?;
        let mut roster = self.roster();
        self.find(address).ok_or(Refused::Unknown)?;
        roster.edits.entry(address.clone()).or_default().then(edit);
        self.take_over(&roster);
        self.find(address).ok_or(Refused::Unknown)
    }

    /// Removes a server: it gets no more requests, and those in progress end.
    ///
    /// Until then it is shown as draining.
    pub fn remove(&self, address: &Address) -> Result<(), Refused> {
        let mut roster = self.roster();
        self.find(address).ok_or(Refused::Unknown)?;
        if roster.is_fixed(address) {
            let is_other = |it: &Member| !matches!(&it.place, Place::Fixed(it) if it == address);
            roster.members.retain(is_other);
        }
        if self.served_from(&roster, address).is_some() {
            // Its name may lead to it still, and will again.
            roster.removed.insert(address.clone());
        }
        roster.edits.remove(address);
        self.take_over(&roster);
        Ok(())
    }

    /// Takes over other lines; what was asked for since those before were read is over.
    pub(super) fn replace(&self, members: Vec<Member>) -> Result<(), Refused> {
        for Member { terms, .. } in &members {
            self.check(&Edit::asking(terms))?;
        }
        let mut roster = self.roster();
        *roster = Roster::new(members);
        self.take_over(&roster);
        Ok(())
    }

    /// The lines that come to its servers, as a file holds them.
    ///
    /// What was asked of single addresses of a name does not stand in its line.
    pub(super) fn lines(&self) -> Vec<String> {
        let roster = self.roster();
        let line = |member: &Member| match &member.place {
            Place::Fixed(address) => {
                let (mut terms, mut binding) = (member.terms, member.binding.clone());
                if let Some(edit) = roster.edits.get(address) {
                    edit.apply(&mut terms, &mut binding);
                }
                state::line(&member.line, &terms, &binding)
            }
            Place::Named { .. } => {
                state::written(&[&["server".to_owned()], member.words.as_slice()].concat())
            }
        };
        roster.members.iter().map(line).collect()
    }

    /// The server of an address, `None` for one that is leaving.
    pub fn find(&self, address: &Address) -> Option<Server> {
        let chooser = self.lock();
        let mut servers = chooser.groups.iter().flat_map(|it| &it.servers);
        servers.find(|it| it.backend.address == *address).cloned()
    }

    /// The server of a number, see [`super::Backend::id`].
    pub fn numbered(&self, id: u32) -> Option<Server> {
        let chooser = self.lock();
        let mut servers = chooser.groups.iter().flat_map(|it| &it.servers);
        servers.find(|it| it.backend.id() == id).cloned()
    }

    /// Servers by address, those that are leaving included: one that comes back is the same.
    pub fn known(&self) -> Known {
        self.servers().into_iter().collect()
    }

    fn served_from(&self, roster: &Roster, address: &Address) -> Option<Server> {
        roster.servers(self.known()).into_iter().find(|it| it.backend.address == *address)
    }

    fn check(&self, edit: &Edit) -> Result<(), Refused> {
        let refuses = self.policy().refuses;
        match edit.asks().find(|it| refuses.contains(it)) {
            Some(parameter) => Err(Refused::Parameter(parameter)),
            None => Ok(()),
        }
    }

    /// Hands the group what a roster comes to.
    fn take_over(&self, roster: &Roster) {
        let servers = roster.servers(self.known());
        let (name, count) = (&self.name, servers.len());
        tracing::info!(upstream = %name, count, "Upstream {name} has {count} servers now");
        self.relist(servers);
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        // Each change is made in one step at its end.
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
