//! Which policy is in force, and how that changes while the group serves.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::{Choice, Entry};

use super::Upstream;
use super::probe::Probe;
use super::roster::Refused;
use crate::engine::clock;
use crate::http::variable::Template;
use crate::variable::Names;

impl Upstream {
    /// The policy in force.
    pub fn policy(&self) -> &'static Entry {
        self.lock().entry
    }

    /// Places requests by another policy from now on, asked for as in an `upstream` block: without
    /// words the default, or such as `least_conn` or `hash $request_uri consistent`.
    ///
    /// Requests in progress and the records of servers stay; what the policy before had learned
    /// does not. A key may use the variables that need no configuration; a group of `stream` has no
    /// other key than that of its file.
    pub fn set_policy(&self, words: &[&str]) -> Result<(), Refused> {
        let choice = || Choice::of_directive(words).map_err(|it| Refused::Policy(it.word));
        let (first, second) = (choice()?, choice()?);
        let entry = first.entry;
        let probe = match words.iter().position(|it| it.starts_with("uri=")) {
            None => None,
            Some(word) => {
                let uri = words[word].trim_start_matches("uri=");
                if !uri.starts_with('/') || !entry.needs.probes || self.is_stream {
                    return Err(Refused::Policy(word));
                }
                Some(Arc::new(Probe::new(&self.name, uri)))
            }
        };
        let key = match first.key {
            Some(_) if self.is_stream => {
                return Err(Refused::Key("sessions have no such key".to_owned()));
            }
            Some(key) => {
                let names = Names::new(&BTreeSet::new());
                let template = Template::compile(key, &names);
                Some(Arc::new(template.map_err(|it| Refused::Key(it.to_string()))?))
            }
            None => None,
        };
        let mut chooser = self.lock();
        let servers = chooser.groups.iter().flat_map(|it| &it.servers);
        for terms in servers.map(|it| it.terms) {
            let used = [("backup", terms.backup), ("slow_start", terms.slow_start.is_some())];
            let is_refused = |it: &&(&str, bool)| it.1 && entry.refuses.contains(&it.0);
            if let Some((parameter, _)) = used.iter().find(is_refused) {
                return Err(Refused::Parameter(parameter));
            }
        }
        self.key.store(key);
        self.probe.store(probe);
        chooser.entry = entry;
        for (group, choice) in chooser.groups.iter_mut().zip([first, second]) {
            group.replace_policy(choice.policy, clock::now());
        }
        let (name, policy) = (&self.name, entry.id);
        tracing::info!(upstream = %name, policy, "Upstream {name} is served by {policy} now");
        Ok(())
    }
}
