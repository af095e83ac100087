//! Changes of a group that serves: servers come, change and go, and another policy takes over.
//!
//! What is changed here holds until the configuration is read again, except servers of a group with
//! `state`.
//!
//! Source: `nginx.org`, `yaml/nginx_api.yaml`, version 9. The policy is an extension.

use std::sync::Arc;

use http::{Method, StatusCode};
use policy::Terms;
use serde_json::Value;

use super::line::Line;
use super::refusal::Refusal;
use super::{VERSION, shape, words};
use crate::admin::view::{Group, Server, State, View};
use crate::conf::error::os_text;
use crate::engine::Shared;
use crate::upstream::{Binding, Upstream};

/// What became of a change.
#[derive(Debug)]
pub(in crate::admin) struct Done {
    pub(in crate::admin) status: StatusCode,
    pub(in crate::admin) json: Value,
    /// Where what was made is found.
    pub(in crate::admin) location: Option<String>,
}

/// Does what is asked for.
pub(in crate::admin) fn obey(
    method: &Method,
    path: &str,
    body: &[u8],
    shared: &Shared,
) -> Result<Done, Refusal> {
    let words = words(path);
    let words: Vec<&str> = words.iter().map(|it| &**it).collect();
    let [version, kind, "upstreams", name, rest @ ..] = words.as_slice() else {
        return Err(Refusal::METHOD_DISABLED);
    };
    if *version != VERSION {
        return Err(Refusal::UNKNOWN_VERSION);
    }
    let is_stream = match *kind {
        "http" => false,
        "stream" => true,
        _ => return Err(Refusal::NO_PATH),
    };
    let group = find(shared, name, is_stream).ok_or(Refusal::NO_UPSTREAM)?;
    match (method, rest) {
        (&Method::POST, ["servers"]) => add(shared, path, &group, &Line::parse(body)?),
        (&Method::PATCH, ["servers", id]) => edit(shared, &group, id, &Line::parse(body)?),
        (&Method::DELETE, ["servers", id]) => remove(shared, &group, id),
        (&Method::PATCH, []) => set_policy(shared, &group, body),
        _ => Err(Refusal::METHOD_DISABLED),
    }
}

fn find(shared: &Shared, name: &str, is_stream: bool) -> Option<Arc<Upstream>> {
    let snapshot = shared.snapshot.load();
    let groups = if is_stream { &snapshot.stream_upstreams } else { &snapshot.upstreams };
    groups.iter().find(|it| it.name == name).cloned()
}

fn add(shared: &Shared, path: &str, group: &Upstream, line: &Line) -> Result<Done, Refusal> {
    let address = line.address(group.is_stream)?;
    let (mut terms, mut binding) = (Terms::default(), Binding::default());
    line.edit.apply(&mut terms, &mut binding);
    let id = group.add(&address, terms, binding)?.backend.id();
    keep(group);
    let json = shown(shared, group, |it| server(it, id));
    let location = Some(format!("/api/{}/{id}", path.trim_end_matches('/')));
    Ok(Done { status: StatusCode::CREATED, json, location })
}

fn edit(shared: &Shared, group: &Upstream, id: &str, line: &Line) -> Result<Done, Refusal> {
    if line.server.is_some() {
        return Err(Refusal::IMMUTABLE);
    }
    let (id, address) = numbered(group, id)?;
    group.edit(&address, &line.edit)?;
    keep(group);
    Ok(done(shown(shared, group, |it| server(it, id))))
}

fn remove(shared: &Shared, group: &Upstream, id: &str) -> Result<Done, Refusal> {
    group.remove(&numbered(group, id)?.1)?;
    keep(group);
    Ok(done(shown(shared, group, |it| {
        // One that only finishes what it has is shown, but belongs to the group no more.
        let stays =
            |one: &&Server| one.state != State::Draining || group.numbered(one.id).is_some();
        it.servers.iter().filter(stays).map(|one| shape::server(it, one)).collect()
    })))
}

/// Has the file of a group follow a change, which stands in any case.
fn keep(group: &Upstream) {
    if let Err(error) = group.keep() {
        let (upstream, why) = (&group.name, os_text(&error));
        tracing::error!(severity = "crit", %upstream, "The state of {upstream} is not kept {why}");
    }
}

fn set_policy(shared: &Shared, group: &Upstream, body: &[u8]) -> Result<Done, Refusal> {
    let asked: Value = serde_json::from_slice(body).map_err(|_| Refusal::JSON)?;
    let policy = asked.as_object().map(|it| (it.len(), it.get("policy")));
    let Some((1, Some(Value::String(words)))) = policy else {
        return Err(Refusal::format("\"policy\" is asked for, as a directive names it"));
    };
    let words: Vec<&str> = words.split_whitespace().collect();
    group.set_policy(if words == ["round_robin"] { &[] } else { &words })?;
    Ok(done(shown(shared, group, shape::group)))
}

/// The number and the address of a server that is not leaving.
fn numbered(group: &Upstream, id: &str) -> Result<(u32, crate::upstream::Address), Refusal> {
    let id = id.parse().map_err(|_| Refusal::BAD_SERVER_ID)?;
    let server = group.numbered(id).ok_or_else(|| Refusal::no_server(id))?;
    Ok((id, server.backend.address.clone()))
}

fn done(json: Value) -> Done {
    Done { status: StatusCode::OK, json, location: None }
}

/// What is shown of a group now; nothing when a reload has just taken it away.
fn shown(shared: &Shared, group: &Upstream, show: impl FnOnce(&Group) -> Value) -> Value {
    let view = View::read(shared);
    let mut groups = view.upstreams.iter();
    let found = groups.find(|it| it.zone == group.name && it.is_stream == group.is_stream);
    found.map_or(Value::Null, show)
}

fn server(group: &Group, id: u32) -> Value {
    let mut servers = group.servers.iter();
    servers.find(|it| it.id == id).map_or(Value::Null, |it| shape::server(group, it))
}
