//! Which servers does a group have whose list stands in a file of its own?
//!
//! The file is read with the configuration, and written when the servers are changed through the
//! API. With `watch` it is read again, too, when somebody else has changed it.
//!
//! Source: nginx.org, `ngx_http_upstream_module`, `state`. Watching is an extension.

pub mod rows;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::Terms;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::member::Member;
use super::resolve::look_up;
use super::rows::{Line, SERVER_ROWS, STREAM_SERVER_ROWS, Settings};
use super::{Binding, Upstream};
use crate::conf::address::Host;
use crate::conf::error::os_text;
use crate::conf::{self, Block, Catalog, ConfError, Dialect, Reader, Reading, Table};
use crate::engine::Shared;

/// The file of a group, and what it held last.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    /// How often is looked whether it has changed.
    watch: Option<Duration>,
    /// The block without its servers: its policy decides what their lines may ask for.
    block: Settings,
    is_stream: bool,
    /// What was read last, or written.
    seen: Mutex<Vec<u8>>,
}

/// Reads the file of a block that has one; where there is no file yet, there are no servers.
///
/// # Errors
///
/// What is wrong with the file, each with its line.
pub fn read(block: &mut Settings, is_stream: bool, prefix: &Path) -> Result<(), Vec<ConfError>> {
    let Some(asked) = &mut block.state else { return Ok(()) };
    asked.path = prefix.join(asked.file.to_path());
    asked.text = match fs::read(&asked.path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let path = asked.path.display();
            let text = format!("open() \"{path}\" failed {}", os_text(&error));
            return Err(vec![asked.file.refuse(text)]);
        }
    };
    let (path, text) = (asked.path.clone(), asked.text.clone());
    block.servers = lines(block, is_stream, &path, &text)?;
    Ok(())
}

/// The `server` lines of a file, which holds nothing else.
fn lines(
    block: &Settings,
    is_stream: bool,
    path: &Path,
    text: &[u8],
) -> Result<Vec<Line>, Vec<ConfError>> {
    let syntax = conf::read(path, "", &Held { path, text });
    let mut block = Settings { servers: Vec::new(), ..block.clone() };
    let catalog = Catalog::default();
    let mut reading = Reading::new(&catalog, Dialect::Extended);
    reading.problems = syntax.problems;
    let (within, rows) = match is_stream {
        true => (Block::StreamUpstream, STREAM_SERVER_ROWS),
        false => (Block::Upstream, SERVER_ROWS),
    };
    reading.apply(within, &syntax.directives, &[&Table::new(rows, |it| it)], &mut block);
    let watched = block.state.as_ref().is_some_and(|it| it.watch.is_some());
    for line in block.servers.iter().filter(|it| watched && it.resolve) {
        reading.tell(line.word.refuse("a name is not followed in a file that is watched"));
    }
    if reading.is_refused() { Err(reading.problems) } else { Ok(block.servers) }
}

/// A file whose text is known already; it includes no other.
struct Held<'a> {
    path: &'a Path,
    text: &'a [u8],
}

impl Reader for Held<'_> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == self.path { Ok(self.text.to_vec()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

impl State {
    /// That of a block whose file has been read.
    pub fn of(block: &Settings, is_stream: bool) -> Option<Self> {
        let asked = block.state.as_ref()?;
        Some(Self {
            path: asked.path.clone(),
            watch: asked.watch,
            block: Settings { servers: Vec::new(), ..block.clone() },
            is_stream,
            seen: Mutex::new(asked.text.clone()),
        })
    }

    /// The members that a text comes to; nothing while one of its names does not resolve.
    async fn members(&self, text: &[u8]) -> Result<Option<Vec<Member>>, Vec<ConfError>> {
        let lines = lines(&self.block, self.is_stream, &self.path, text)?;
        let names = lines.iter().filter_map(|it| match &it.address.host {
            Host::Name(name) => Some(name.clone()),
            _ => None,
        });
        let answers = look_up(names.collect::<BTreeSet<_>>()).await;
        if let Some((name, _)) = answers.iter().find(|(_, it)| it.is_empty()) {
            let path = self.path.display();
            tracing::warn!(%name, "{name} could not be resolved, {path} waits for it");
            return Ok(None);
        }
        let member = |(number, line): (usize, &Line)| {
            let member = Member::of_line(line, None, &answers, self.is_stream)?;
            Ok(Member { number, ..member })
        };
        let members = lines.iter().enumerate().map(member);
        members.collect::<Result<_, _>>().map(Some).map_err(|it| vec![it])
    }

    fn seen(&self) -> MutexGuard<'_, Vec<u8>> {
        // Each change is made in one step.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream {
    /// Writes the servers to the file of the group, if it has one.
    ///
    /// # Errors
    ///
    /// The file stays as it was when another cannot be put in its place.
    pub fn keep(&self) -> io::Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let mut seen = state.seen();
        let text = self.lines().concat();
        let mut new = state.path.clone().into_os_string();
        new.push(".new");
        fs::write(&new, &text)?;
        fs::rename(&new, &state.path)?;
        *seen = text.into_bytes();
        Ok(())
    }

    /// Takes over what somebody else wrote; whether that is done with.
    async fn follow(&self, state: &State, text: &[u8]) -> bool {
        let (name, path) = (&self.name, state.path.display());
        match state.members(text).await {
            Ok(None) => return false,
            Ok(Some(members)) => {
                let mut seen = state.seen();
                text.clone_into(&mut seen);
                if let Err(refused) = self.replace(members) {
                    tracing::error!(upstream = %name, "{path} is not followed: {refused}");
                }
            }
            Err(problems) => {
                text.clone_into(&mut state.seen());
                for problem in problems {
                    tracing::error!(upstream = %name, "{path} is not followed: {problem}");
                }
            }
        }
        true
    }
}

/// How often is looked for a new configuration.
const LOOK: Duration = Duration::from_secs(1);

/// Follows files that are watched; never ends.
pub async fn follow(shared: Arc<Shared>) {
    loop {
        let snapshot = shared.snapshot.load_full();
        // Those of the configuration before end when this is dropped.
        let mut watching = JoinSet::new();
        for upstream in snapshot.upstreams.iter().chain(&snapshot.stream_upstreams) {
            if upstream.state.as_ref().is_some_and(|it| it.watch.is_some()) {
                watching.spawn(watch(Arc::clone(upstream)));
            }
        }
        while shared.snapshot.load().generation == snapshot.generation {
            sleep(LOOK).await;
        }
    }
}

async fn watch(upstream: Arc<Upstream>) {
    let Some(state) = &upstream.state else { return };
    let Some(pause) = state.watch else { return };
    // Whoever writes may not be done: what counts is found twice.
    let mut found_before = None;
    loop {
        sleep(pause).await;
        let path = state.path.clone();
        let read = spawn_blocking(move || fs::read(path)).await;
        // A file that is gone, or in the making, says nothing: those who serve go on.
        let Ok(Ok(text)) = read else { continue };
        if *state.seen() == text {
            found_before = None;
        } else if found_before.as_ref() != Some(&text) {
            found_before = Some(text);
        } else if upstream.follow(state, &text).await {
            found_before = None;
        }
    }
}

/// A `server` line that asks for this, as the file keeps it.
pub(super) fn line(place: &str, terms: &Terms, binding: &Binding) -> String {
    let default = Terms::default();
    let mut words = vec!["server".to_owned(), place.to_owned()];
    let mut add = |is_said: bool, text: String| words.extend(is_said.then_some(text));
    let count = |it: Option<NonZeroU32>| it.map_or(0, NonZeroU32::get);
    add(terms.weight != default.weight, format!("weight={}", terms.weight));
    add(terms.max_conns != default.max_conns, format!("max_conns={}", count(terms.max_conns)));
    add(terms.max_fails != default.max_fails, format!("max_fails={}", count(terms.max_fails)));
    let is_said = terms.fail_timeout != default.fail_timeout;
    add(is_said, format!("fail_timeout={}s", terms.fail_timeout.as_secs()));
    if let Some(window) = terms.slow_start {
        add(true, format!("slow_start={}s", window.as_secs()));
    }
    if let Some(route) = &binding.route {
        add(true, format!("route={route}"));
    }
    add(terms.backup, "backup".to_owned());
    add(terms.down, "down".to_owned());
    add(binding.drain, "drain".to_owned());
    written(&words)
}

/// Words as a line; those that would not be read as one stand in quotes.
pub(super) fn written(words: &[String]) -> String {
    let quoted = |it: &String| {
        let is_plain = |it: char| it.is_alphanumeric() || "._-:/=[]@%+~,*".contains(it);
        if !it.is_empty() && it.chars().all(is_plain) {
            it.clone()
        } else {
            format!("\"{}\"", it.replace('\\', "\\\\").replace('"', "\\\""))
        }
    };
    format!("{};\n", words.iter().map(quoted).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests;
