//! The view under the paths and with the field names of nginx's commercial status API.
//!
//! Source: `nginx.org`, `yaml/nginx_api.yaml`, version 9. What is not counted here has no field.

use std::borrow::Cow;
use std::net::IpAddr;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::view::{Group, View};

use self::refusal::Refusal;

mod line;
pub(super) mod refusal;
mod shape;
pub(super) mod write;

/// The version whose paths and fields these are.
const VERSION: &str = "9";

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// What follows `/api/`.
    pub(super) path: &'a str,
    /// What follows the question mark.
    pub(super) query: Option<&'a str>,
    /// The address that was connected to.
    pub(super) local: IpAddr,
}

/// What is there, as JSON.
pub(super) fn read(asked: &Asked<'_>, view: &View) -> Result<Value, Refusal> {
    let words = words(asked.path);
    let words: Vec<&str> = words.iter().map(|it| &**it).collect();
    let (version, words) = match words.as_slice() {
        [] => return Ok(json!([9])),
        [version, words @ ..] => (*version, words),
    };
    if version != VERSION {
        return Err(Refusal::UNKNOWN_VERSION);
    }
    let fields = Fields::of(asked.query);
    match words {
        [] => Ok(json!(["nginx", "processes", "connections", "http", "stream"])),
        ["nginx"] => Ok(fields.of_one(shape::program(view, asked.local))),
        ["processes"] => Ok(fields.of_one(json!({"respawned": 0}))),
        ["connections"] => Ok(fields.of_one(shape::connections(view))),
        ["http"] => Ok(json!(["requests", "server_zones", "upstreams"])),
        ["http", "requests"] => Ok(fields.of_one(shape::requests(view))),
        ["http", "server_zones"] => {
            let zones = view.virtual_servers.iter();
            Ok(fields.of_many(zones.map(|it| (shape::zone_name(it), shape::server_zone(it)))))
        }
        ["http", "server_zones", name] => {
            let zone = view.virtual_servers.iter().find(|it| shape::zone_name(it) == *name);
            let zone = zone.ok_or(Refusal::NO_SERVER_ZONE)?;
            Ok(fields.of_one(shape::server_zone(zone)))
        }
        ["stream"] => Ok(json!(["upstreams"])),
        ["http", "upstreams", words @ ..] => upstreams(&fields, words, view, false),
        ["stream", "upstreams", words @ ..] => upstreams(&fields, words, view, true),
        _ => Err(Refusal::NO_PATH),
    }
}

fn upstreams(
    fields: &Fields<'_>,
    words: &[&str],
    view: &View,
    is_stream: bool,
) -> Result<Value, Refusal> {
    let mut groups = view.upstreams.iter().filter(|it| it.is_stream == is_stream);
    let [name, words @ ..] = words else {
        return Ok(fields.of_many(groups.map(|it| (&*it.zone, shape::group(it)))));
    };
    let group = groups.find(|it| it.zone == **name).ok_or(Refusal::NO_UPSTREAM)?;
    match words {
        [] => Ok(fields.of_one(shape::group(group))),
        ["servers"] => Ok(group.servers.iter().map(|it| shape::server(group, it)).collect()),
        ["servers", id] => Ok(shape::server(group, server(group, id)?)),
        _ => Err(Refusal::NO_PATH),
    }
}

fn server<'a>(group: &'a Group, id: &str) -> Result<&'a super::view::Server, Refusal> {
    let id: u32 = id.parse().map_err(|_| Refusal::BAD_SERVER_ID)?;
    group.servers.iter().find(|it| it.id == id).ok_or_else(|| Refusal::no_server(id))
}

/// Which fields are wanted, `None` for all.
struct Fields<'a>(Option<Vec<&'a str>>);

impl<'a> Fields<'a> {
    fn of(query: Option<&'a str>) -> Self {
        let mut words = query.unwrap_or_default().split('&');
        let fields = words.find_map(|it| it.strip_prefix("fields="));
        Self(fields.map(|it| it.split(',').filter(|it| !it.is_empty()).collect()))
    }

    fn of_one(&self, mut value: Value) -> Value {
        if let (Some(fields), Value::Object(all)) = (&self.0, &mut value) {
            all.retain(|name, _| fields.contains(&&**name));
        }
        value
    }

    /// Of values by name; names alone where no field is wanted of them.
    fn of_many<'b>(&self, values: impl Iterator<Item = (&'b str, Value)>) -> Value {
        match &self.0 {
            Some(fields) if fields.is_empty() => values.map(|(name, _)| name).collect(),
            _ => {
                let limited = values.map(|(name, it)| (name.to_owned(), self.of_one(it)));
                Value::Object(limited.collect::<Map<_, _>>())
            }
        }
    }
}

/// The words of a path, without its escapes and without an empty last one.
fn words(path: &str) -> Vec<Cow<'_, str>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').filter(|_| !path.is_empty()).map(plain).collect()
}

/// A word of a path without its escapes.
fn plain(word: &str) -> Cow<'_, str> {
    if !word.contains('%') {
        return Cow::Borrowed(word);
    }
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let [first, after @ ..] = rest {
        let code = (*first == b'%').then_some(after).and_then(|it| it.get(..2));
        let code = code.and_then(|it| std::str::from_utf8(it).ok());
        let byte = code.and_then(|it| u8::from_str_radix(it, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// The answer to what only reads.
pub(super) fn answer(asked: &Asked<'_>, view: &View) -> (StatusCode, Value) {
    read(asked, view).map_or_else(|it| it.answer(), |it| (StatusCode::OK, it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: &str) {
        let zone = |name| (name, json!({"a": 1, "b": 2}));
        let fields = Fields::of(Some(query));
        assert_eq!(fields.of_many([zone("x"), zone("y")].into_iter()).to_string(), expected);
    }

    #[test]
    fn fields_are_limited_to_those_that_are_named() {
        check("", r#"{"x":{"a":1,"b":2},"y":{"a":1,"b":2}}"#);
        check("fields=b,c", r#"{"x":{"b":2},"y":{"b":2}}"#);
        check("fields=", r#"["x","y"]"#);
    }

    #[test]
    fn escapes_of_a_path_are_resolved() {
        assert_eq!(plain("a%3A80%2f"), "a:80/");
        assert_eq!(plain("100%"), "100%");
        assert_eq!(plain("%zz%"), "%zz%");
    }
}
