//! Addresses: which servers are behind each, and by which names they are found there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use nix::unistd::geteuid;

use crate::conf::ConfError;
use crate::conf::address::Host;
use crate::engine::exchange::Exchange;
use crate::http::listen::{DEFAULT_PORT, Listen};
use crate::http::server::{Server, Servers};
use crate::modules::{HttpBlock, ServerBlock};
use crate::regex::Matcher;
use crate::snapshot::{Bind, ListenOptions, Listener};
use crate::upstream::resolve::Answers;
use crate::variable::Names;

/// An address while its servers are collected.
struct Place {
    bind: Bind,
    options: Option<ListenOptions>,
    default: Option<usize>,
    /// Positions among all servers.
    servers: Vec<usize>,
}

/// The listeners, in the order in which the file names their addresses.
pub(super) fn listeners(
    http: &HttpBlock,
    servers: &[Arc<Server>],
    answers: &Answers,
    variables: &Names<Exchange>,
    problems: &mut Vec<ConfError>,
) -> Vec<Listener> {
    let mut places: Vec<Place> = Vec::new();
    for (at, block) in http.servers.iter().enumerate() {
        if block.listen.lines.is_empty() {
            place(&mut places, default_bind()).servers.push(at);
        }
        for line in &block.listen.lines {
            let added = binds(line, answers).and_then(|binds| {
                binds.into_iter().try_for_each(|bind| add(&mut places, bind, line, at))
            });
            problems.extend(added.err());
        }
    }
    places.into_iter().map(|it| listener(it, http, servers, variables, problems)).collect()
}

/// Where a server listens that does not say where.
fn default_bind() -> Bind {
    let port = if geteuid().is_root() { 80 } else { 8000 };
    Bind::Inet(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
}

/// The addresses of a line: one for each port and each address of a name.
fn binds(line: &Listen, answers: &Answers) -> Result<Vec<Bind>, ConfError> {
    let hosts: Vec<IpAddr> = match &line.address.host {
        Host::Unix(path) => return Ok(vec![Bind::Unix(path.into())]),
        Host::Any => vec![Ipv4Addr::UNSPECIFIED.into()],
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) => answers.get(name).cloned().unwrap_or_default(),
    };
    if hosts.is_empty() {
        let word = &line.word;
        let text = format!("host not found in \"{word}\" of the \"listen\" directive");
        return Err(word.refuse(text));
    }
    let ports = line.address.ports.clone().unwrap_or(DEFAULT_PORT..=DEFAULT_PORT);
    let bind = |port, host: &IpAddr| Bind::Inet(SocketAddr::new(*host, port));
    Ok(ports.flat_map(|port| hosts.iter().map(move |it| bind(port, it))).collect())
}

fn place(places: &mut Vec<Place>, bind: Bind) -> &mut Place {
    let found = places.iter().position(|it| it.bind == bind);
    let at = found.unwrap_or_else(|| {
        places.push(Place { bind, options: None, default: None, servers: Vec::new() });
        places.len() - 1
    });
    &mut places[at]
}

/// Source: nginx `ngx_http.c`, `ngx_http_add_addresses` and `ngx_http_add_server`.
fn add(places: &mut Vec<Place>, bind: Bind, line: &Listen, server: usize) -> Result<(), ConfError> {
    let refuse = |text: String| Err(ConfError::new(text, line.span.clone()));
    let place = place(places, bind);
    if place.servers.contains(&server) {
        return refuse(format!("a duplicate listen {}", place.bind));
    }
    if let Some(options) = line.options
        && place.options.replace(options).is_some()
    {
        return refuse(format!("duplicate listen options for {}", place.bind));
    }
    if line.is_default && place.default.is_some() {
        return refuse(format!("a duplicate default server for {}", place.bind));
    }
    if line.is_default {
        place.default = Some(place.servers.len());
    }
    place.servers.push(server);
    Ok(())
}

fn listener(
    place: Place,
    http: &HttpBlock,
    servers: &[Arc<Server>],
    variables: &Names<Exchange>,
    problems: &mut Vec<ConfError>,
) -> Listener {
    let Place { bind, options, default, servers: positions } = place;
    let default = default.unwrap_or_default();
    let block = |at: usize| &http.servers[positions[at]];
    let entrance = block(default).entrance.clone().within(&http.entrance).compile();
    let mut found = Servers {
        entrance,
        servers: positions.iter().map(|it| Arc::clone(&servers[*it])).collect(),
        default,
        exact: HashMap::new(),
        leading: HashMap::new(),
        trailing: HashMap::new(),
        regexes: Vec::new(),
    };
    for at in 0..positions.len() {
        names(block(at), at, &bind, &mut found, problems);
        let expressions = block(at).names.regexes.iter();
        found.regexes.extend(expressions.map(|(_, it)| (Matcher::new(it, variables), at)));
    }
    Listener { bind, options: options.unwrap_or_default(), servers: found }
}

/// Source: nginx `ngx_http.c`, `ngx_http_server_names`, and `ngx_hash.c`, `ngx_hash_add_key`.
fn names(
    block: &ServerBlock,
    at: usize,
    bind: &Bind,
    servers: &mut Servers,
    problems: &mut Vec<ConfError>,
) {
    for (name, word) in block.names.lower() {
        let mut conflict = |it: &mut HashMap<Vec<u8>, usize>, key: &[u8]| {
            if it.contains_key(key) {
                let text = format!("conflicting server name \"{name}\" on {bind}, ignored");
                problems.push(ConfError::unplaced(text).warning());
            } else {
                it.insert(key.to_vec(), at);
            }
        };
        let bytes = name.as_bytes();
        match bytes {
            [b'~', ..] => {}
            [b'.', rest @ ..] if is_plain(rest) => {
                conflict(&mut servers.exact, rest);
                servers.leading.entry(bytes.to_vec()).or_insert(at);
            }
            [b'*', rest @ ..] if is_plain(rest) => conflict(&mut servers.leading, rest),
            [rest @ .., b'*'] if rest.ends_with(b".") && is_plain(rest) => {
                conflict(&mut servers.trailing, rest);
            }
            _ if is_plain(bytes) => conflict(&mut servers.exact, bytes),
            // A single server of an address is never looked up by its names.
            _ if servers.servers.len() > 1 => {
                let text = format!("invalid server name or wildcard \"{name}\" on {bind}");
                let problem = ConfError::unplaced(text);
                problems.push(match word {
                    Some(word) => problem.with_help(format!("it stands in {}", word.span)),
                    None => problem,
                });
            }
            _ => {}
        }
    }
}

/// Whether a name has no star, and no two dots in a row.
fn is_plain(name: &[u8]) -> bool {
    !name.contains(&b'*') && !name.windows(2).any(|it| it == b"..")
}
