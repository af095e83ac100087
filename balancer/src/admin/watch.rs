//! Keeps an eye on the counters, so that whoever looks is told of the last seconds, too.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::Time;
use tokio::sync::watch::{self, Receiver, Sender};
use tokio::time::sleep;

use super::view::pace::Sample;
use super::view::{Happening, State, View};
use crate::engine::{Shared, clock};

/// How often it looks while somebody watches, and while nobody does.
const WATCHED: Duration = Duration::from_millis(500);
const UNWATCHED: Duration = Duration::from_secs(1);

/// How far apart samples are, and how many are kept: rates are those of the last ten seconds.
const APART: Duration = Duration::from_secs(2);
const SAMPLES: usize = 5;

/// Most things that are remembered.
const EVENTS: usize = 50;

/// What is remembered between two looks.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    /// Whether whoever knows the token may change something.
    pub(super) can_change: bool,
    memory: Mutex<Memory>,
    /// Says that there is something new, with its number.
    news: Sender<u64>,
}

#[derive(Debug, Default)]
struct Memory {
    samples: VecDeque<Sample>,
    states: HashMap<(String, String), State>,
    reloads: Option<(u64, u64)>,
    events: VecDeque<Happening>,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, can_change: bool) -> Self {
        Self { shared, can_change, memory: Mutex::default(), news: watch::channel(0).0 }
    }

    /// Looks again and again; never ends.
    pub(super) async fn keep(&self) {
        loop {
            self.look();
            self.news.send_modify(|it| *it += 1);
            let is_watched = self.news.receiver_count() > 0;
            sleep(if is_watched { WATCHED } else { UNWATCHED }).await;
        }
    }

    /// Hears of every look from now on.
    pub(super) fn listen(&self) -> Receiver<u64> {
        self.news.subscribe()
    }

    /// How many listen.
    pub(super) fn listeners(&self) -> usize {
        self.news.receiver_count()
    }

    /// Everything as it is now, with what happened lately.
    pub(super) fn view(&self) -> View {
        let mut view = View::read(&self.shared);
        let memory = self.lock();
        if let Some(oldest) = memory.samples.front() {
            oldest.pace(&mut view, clock::now());
        }
        view.events = memory.events.iter().cloned().collect();
        view
    }

    fn look(&self) {
        let view = View::read(&self.shared);
        let now = clock::now();
        let mut memory = self.lock();
        memory.compare(&view, clock::unix_millis());
        memory.sample(&view, now);
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn sample(&mut self, view: &View, now: Time) {
        // A little early, so that a look that comes a moment too soon need not wait for the next.
        let is_due = |it: &Sample| it.age(now) + WATCHED / 2 >= APART;
        if self.samples.back().is_none_or(is_due) {
            if self.samples.len() == SAMPLES {
                self.samples.pop_front();
            }
            self.samples.push_back(Sample::of(view, now));
        }
    }

    /// Notes what has become different since the last look.
    fn compare(&mut self, view: &View, unix_ms: u64) {
        let reloads = (view.reloads.succeeded, view.reloads.refused);
        let before = self.reloads.replace(reloads);
        let mut note = |is_bad, subject: String, text: String| {
            self.events.push_front(Happening { unix_ms, is_bad, subject, text });
            self.events.truncate(EVENTS);
        };
        if let Some(before) = before.filter(|it| *it != reloads) {
            let subject = || "configuration".to_owned();
            if reloads.1 > before.1 {
                let text = "refused: the one before it serves on, the error log says why";
                note(true, subject(), text.to_owned());
            }
            if reloads.0 > before.0 {
                note(false, subject(), format!("{} is in force", view.generation));
            }
        }
        let servers =
            view.upstreams.iter().flat_map(|it| it.servers.iter().map(move |one| (it, one)));
        let mut states = HashMap::with_capacity(self.states.len());
        for (group, server) in servers {
            let name = (group.name.clone(), server.name.clone());
            let known = self.states.get(&name).copied();
            // Somebody may have failed before the first look.
            let was_up = before.is_none() && server.state.is_result();
            let is_new = known.is_none() && !was_up;
            if known.is_some_and(|it| it != server.state) || was_up || is_new && before.is_some() {
                let is_bad = !matches!(server.state, State::Up | State::Draining);
                let why =
                    if server.why.is_empty() { String::new() } else { format!(": {}", server.why) };
                let new = if is_new { "new, " } else { "" };
                let text = format!("{new}{}{why}", server.state.word());
                note(is_bad, format!("{} {}", group.name, server.name), text);
            }
            states.insert(name, server.state);
        }
        for (group, server) in self.states.keys().filter(|it| !states.contains_key(it)) {
            note(false, format!("{group} {server}"), "gone".to_owned());
        }
        self.states = states;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::{self, Paths};
    use std::fs;

    /// What is read of a group whose first server has failed, or not yet.
    fn view(has_failed: bool) -> View {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("nginx.conf");
        let text = "events {} http { access_log off; upstream u { server 127.0.0.1:1; \
                    server 127.0.0.1:2 down; } server { listen 127.0.0.1:8080; location / { \
                    proxy_pass http://u; } } }";
        fs::write(&conf, text).unwrap();
        let paths = Paths { prefix: folder.path().to_owned(), conf };
        let configuration = build::read(&paths, None, false).unwrap();
        let shared = Shared::new(build::build(&configuration, None).unwrap(), 1);
        let mut view = View::read(&shared);
        if has_failed {
            view.upstreams[0].servers[0].state = State::Unavail;
        }
        view
    }

    #[track_caller]
    fn check(looks: &[bool], expected: &[&str]) {
        let mut memory = Memory::default();
        looks.iter().for_each(|it| memory.compare(&view(*it), 1));
        let events: Vec<_> = memory.events.iter().map(|it| it.text.as_str()).collect();
        assert_eq!(events, expected, "{looks:?}");
    }

    #[test]
    fn what_happened_before_the_first_look_is_told_and_what_the_configuration_says_is_not() {
        check(&[false, false], &[]);
        check(&[false, true], &["unavail"]);
        check(&[true], &["unavail"]);
        check(&[true, true], &["unavail"]);
        check(&[true, false], &["up", "unavail"]);
    }
}
