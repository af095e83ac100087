//! Addresses: which servers are behind each, and by which names they are found there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use nix::unistd::geteuid;

use crate::conf::address::{Address, Host};
use crate::conf::{ConfError, Span, Word};
use crate::engine::exchange::Exchange;
use crate::http::listen::DEFAULT_PORT;
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
    /// Whether connections begin with a PROXY header: where any line asks for it.
    pub(super) proxy_protocol: bool,
    agreement: Agreement,
}

/// Whether the lines of an address agree on its protocols.
#[derive(Clone, Copy, Debug, Default)]
struct Agreement {
    /// What the last line has asked for, once there are two.
    last: Option<bool>,
    /// Whether a line has changed it.
    is_changed: bool,
}

/// What a line asks for at an address.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) options: Option<ListenOptions>,
    pub(super) is_default: bool,
    pub(super) proxy_protocol: bool,
    pub(super) span: &'a Span,
    /// The server's position among all.
    pub(super) server: usize,
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
            let asked = Asked {
                options: line.options,
                is_default: line.is_default,
                proxy_protocol: line.proxy_protocol,
                span: &line.span,
                server: at,
            };
            let binds = binds(&line.word, &line.address, Some(DEFAULT_PORT), answers);
            add_line(&mut places, binds, &asked, problems);
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

/// The addresses of a line, one for each port and each address of a name; `port` stands for none.
pub(super) fn binds(
    word: &Word,
    address: &Address,
    port: Option<u16>,
    answers: &Answers,
) -> Result<Vec<Bind>, ConfError> {
    let hosts: Vec<IpAddr> = match &address.host {
        Host::Unix(path) => return Ok(vec![Bind::Unix(path.into())]),
        Host::Any => vec![Ipv4Addr::UNSPECIFIED.into()],
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) => answers.get(name).cloned().unwrap_or_default(),
    };
    let refuse =
        |text: &str| word.refuse(format!("{text} in \"{word}\" of the \"listen\" directive"));
    if hosts.is_empty() {
        return Err(refuse("host not found"));
    }
    let ports = address.ports.clone().or(port.map(|it| it..=it));
    let ports = ports.ok_or_else(|| refuse("no port"))?;
    let bind = |port, host: &IpAddr| Bind::Inet(SocketAddr::new(*host, port));
    Ok(ports.flat_map(|port| hosts.iter().map(move |it| bind(port, it))).collect())
}

/// Puts a server behind the addresses of a line, or tells why it has none.
pub(super) fn add_line(
    places: &mut Vec<Place>,
    binds: Result<Vec<Bind>, ConfError>,
    asked: &Asked<'_>,
    problems: &mut Vec<ConfError>,
) {
    match binds {
        Ok(binds) => binds.into_iter().for_each(|it| add(places, it, asked, problems)),
        Err(problem) => problems.push(problem),
    }
}

fn place(places: &mut Vec<Place>, bind: Bind) -> &mut Place {
    let found = places.iter().position(|it| it.bind == bind);
    let at = found.unwrap_or_else(|| {
        places.push(Place {
            bind,
            options: None,
            default: None,
            servers: Vec::new(),
            proxy_protocol: false,
            agreement: Agreement::default(),
        });
        places.len() - 1
    });
    &mut places[at]
}

/// Puts a server behind an address.
///
/// Source: nginx `ngx_http.c`, `ngx_http_add_addresses` and `ngx_http_add_server`, and the same of
/// `ngx_stream.c`.
fn add(places: &mut Vec<Place>, bind: Bind, asked: &Asked<'_>, problems: &mut Vec<ConfError>) {
    let shown = bind.to_string();
    let place = place(places, bind);
    let problem = |text: &str| ConfError::new(format!("{text} {shown}"), asked.span.clone());
    if place.servers.contains(&asked.server) {
        return problems.push(problem("a duplicate listen"));
    }
    if asked.options.is_some() && place.options.is_some() {
        return problems.push(problem("duplicate listen options for"));
    }
    if asked.is_default && place.default.is_some() {
        return problems.push(problem("a duplicate default server for"));
    }
    if !place.servers.is_empty() && place.disagrees(asked) {
        problems.push(problem("protocol options redefined for").warning());
    }
    place.proxy_protocol |= asked.proxy_protocol;
    place.options = asked.options.or(place.options);
    if asked.is_default {
        place.default = Some(place.servers.len());
    }
    place.servers.push(asked.server);
}

impl Place {
    /// Keeps what a further line says of the protocols; whether nginx warns of it.
    ///
    /// Source: nginx `ngx_http.c`, `ngx_http_add_addresses`.
    fn disagrees(&mut self, asked: &Asked<'_>) -> bool {
        let Agreement { last, is_changed } = self.agreement;
        let (before, now) = (self.proxy_protocol, asked.proxy_protocol);
        let (is_set, sets) = (self.options.is_some(), asked.options.is_some());
        let differs_from_last = last.is_some_and(|it| it != now);
        match (before, now) {
            (false, true) => {
                self.agreement = Agreement { last: Some(before), is_changed: true };
                is_set && !sets || is_changed
            }
            (true, false) => {
                self.agreement = Agreement { last: Some(now), is_changed: true };
                sets || differs_from_last
            }
            _ => {
                self.agreement.last = Some(now);
                sets && is_changed || differs_from_last
            }
        }
    }
}

fn listener(
    place: Place,
    http: &HttpBlock,
    servers: &[Arc<Server>],
    variables: &Names<Exchange>,
    problems: &mut Vec<ConfError>,
) -> Listener {
    let Place { bind, options, default, servers: positions, proxy_protocol, .. } = place;
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
    Listener { bind, options, proxy_protocol, servers }
}
