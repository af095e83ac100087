//! Addresses: which servers are behind each, and by which names they are found there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use nix::unistd::geteuid;

use crate::conf::address::Host;
use crate::conf::{ConfError, Span};
use crate::engine::exchange::Exchange;
use crate::http::listen::{DEFAULT_PORT, Listen};
use crate::http::name_table::NameTable;
use crate::http::server::{Server, Servers};
use crate::modules::HttpBlock;
use crate::snapshot::{Bind, ListenOptions, Listener};
use crate::upstream::resolve::Answers;
use crate::variable::Names;

/// An address while its servers are collected.
pub(super) struct Place {
    pub(super) bind: Bind,
    pub(super) options: Option<ListenOptions>,
    pub(super) default: Option<usize>,
    /// Positions among all servers.
    pub(super) servers: Vec<usize>,
    /// Whether connections begin with a PROXY header.
    pub(super) proxy_protocol: bool,
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
                binds.into_iter().try_for_each(|bind| {
                    let (options, is_default) = (line.options, line.is_default);
                    add(&mut places, bind, options, is_default, &line.span, at).map(drop)
                })
            });
            problems.extend(added.err());
        }
    }
    merge(&mut places);
    places.into_iter().map(|it| listener(it, http, servers, variables, problems)).collect()
}

/// Has the socket for all addresses of a port take the connections of those that ask for nothing
/// of their own; every other place has options from here on.
///
/// Source: nginx `ngx_http.c`, `ngx_http_init_listening`.
pub(super) fn merge(places: &mut [Place]) {
    let all: Vec<Bind> = places.iter().map(|it| it.bind.clone()).collect();
    for place in places {
        let is_taken = place.bind.wildcard().is_some_and(|it| all.contains(&it));
        if !is_taken {
            place.options.get_or_insert_default();
        }
    }
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
        let (options, default, servers) = (None, None, Vec::new());
        places.push(Place { bind, options, default, servers, proxy_protocol: false });
        places.len() - 1
    });
    &mut places[at]
}

/// Puts a server behind an address.
///
/// Source: nginx `ngx_http.c`, `ngx_http_add_addresses` and `ngx_http_add_server`, and the same of
/// `ngx_stream.c`.
pub(super) fn add<'p>(
    places: &'p mut Vec<Place>,
    bind: Bind,
    options: Option<ListenOptions>,
    is_default: bool,
    span: &Span,
    server: usize,
) -> Result<&'p mut Place, ConfError> {
    let refuse = |text: String| Err(ConfError::new(text, span.clone()));
    let place = place(places, bind);
    if place.servers.contains(&server) {
        return refuse(format!("a duplicate listen {}", place.bind));
    }
    if let Some(options) = options
        && place.options.replace(options).is_some()
    {
        return refuse(format!("duplicate listen options for {}", place.bind));
    }
    if is_default && place.default.is_some() {
        return refuse(format!("a duplicate default server for {}", place.bind));
    }
    if is_default {
        place.default = Some(place.servers.len());
    }
    place.servers.push(server);
    Ok(place)
}

fn listener(
    place: Place,
    http: &HttpBlock,
    servers: &[Arc<Server>],
    variables: &Names<Exchange>,
    problems: &mut Vec<ConfError>,
) -> Listener {
    let Place { bind, options, default, servers: positions, .. } = place;
    let default = default.unwrap_or_default();
    let block = |at: usize| &http.servers[positions[at]];
    let entrance = block(default).entrance.clone().within(&http.entrance).compile();
    let mut names = NameTable::default();
    for at in 0..positions.len() {
        let is_alone = positions.len() == 1;
        names.enter(&block(at).names, at, &bind, is_alone, variables, problems);
    }
    let servers = positions.iter().map(|it| Arc::clone(&servers[*it])).collect();
    let servers = Servers { entrance, servers, default, names };
    Listener { bind, options, servers }
}
