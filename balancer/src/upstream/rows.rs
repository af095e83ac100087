//! The `upstream` block: its servers, its policy, its idle connections.

mod line;

use std::ops::RangeInclusive;

use policy::{Choice, Entry, Terms};

pub use self::line::Line;
use super::protection::Asked;
use super::{Binding, Keepalive, dns, state, sticky};
use crate::conf::address::{Address, Purpose};
use crate::conf::value::{number, size};
use crate::conf::{Block, ConfError, Directive, Effect, MANY, Reading, Row, Span, Word};

/// One `upstream` block.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub name: Word,
    /// Where the block ends.
    pub close: Span,
    /// The `server` lines.
    pub servers: Vec<Line>,
    /// The file that they stand in, where it is not the configuration.
    pub state: Option<state::rows::Asked>,
    /// How requests are placed, `None` for nginx's default.
    pub method: Option<Method>,
    /// Of idle connections.
    pub keepalive: Keepalive,
    /// How clients are bound to servers.
    pub sticky: Option<sticky::rows::Line>,
    /// Whether the group has a `zone`.
    pub has_zone: bool,
    /// Who follows the names of its servers.
    pub resolver: dns::rows::Settings,
    /// What keeps it serving.
    pub protection: Asked,
}

/// A policy, as a block asks for it.
#[derive(Clone, Debug)]
pub struct Method {
    /// What it is.
    pub entry: &'static Entry,
    /// The words that asked for it.
    pub words: Vec<String>,
    /// What the requests' keys are made from.
    pub key: Option<Word>,
    /// In `stream`: whether it learns from the time to connect, not from that to the first byte.
    pub learns_from_connect: bool,
}

const UPSTREAM: &[Block] = &[Block::Upstream];

const fn row(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: UPSTREAM, arguments: 1..=1, effect }
}

/// Notes a word of a method of nginx's that is our own.
fn own_word(name: &str, directive: &Directive, reading: &mut Reading<'_>) -> Result<(), ConfError> {
    let word = directive.arguments().iter().find(|it| it.parameter(name).is_some());
    word.map_or(Ok(()), |it| reading.extension(directive, Block::Upstream, it))
}

pub(super) const fn method(name: &'static str, arguments: RangeInclusive<usize>) -> Row<Settings> {
    Row { name, within: UPSTREAM, arguments, effect: Effect::Add(Settings::method) }
}

/// `server` of `upstream`, which a file of its own may hold, too.
pub const SERVER_ROWS: &[Row<Settings>] = &[Row {
    name: "server",
    within: UPSTREAM,
    arguments: 1..=MANY,
    effect: Effect::Add(Settings::server),
}];

/// The other directives of `upstream`.
pub const ROWS: &[Row<Settings>] = &[
    method("least_conn", 0..=0),
    method("ip_hash", 0..=0),
    Row {
        name: "hash",
        within: UPSTREAM,
        arguments: 1..=3,
        effect: Effect::Read(|it, directive, reading| {
            own_word("bounded", directive, reading)?;
            it.method(directive)
        }),
    },
    method("random", 0..=2),
    Row {
        name: "least_time",
        within: UPSTREAM,
        arguments: 1..=3,
        effect: Effect::Read(|it, directive, reading| {
            own_word("penalty", directive, reading)?;
            it.method(directive)
        }),
    },
    Row { name: "zone", within: UPSTREAM, arguments: 1..=2, effect: Effect::Set(zone) },
    Row {
        name: "sticky",
        within: UPSTREAM,
        arguments: 2..=MANY,
        effect: Effect::Set(|it, directive| {
            it.sticky = Some(sticky::rows::Line::read(directive)?);
            Ok(())
        }),
    },
    Row {
        name: "keepalive",
        within: UPSTREAM,
        arguments: 1..=2,
        effect: Effect::Set(Settings::keepalive),
    },
    row(
        "keepalive_requests",
        Effect::Set(|it, directive| {
            it.keepalive.requests = directive.number()?;
            Ok(())
        }),
    ),
    row(
        "keepalive_time",
        Effect::Set(|it, directive| {
            it.keepalive.time = directive.milliseconds()?;
            Ok(())
        }),
    ),
    row(
        "keepalive_timeout",
        Effect::Set(|it, directive| {
            it.keepalive.timeout = directive.milliseconds()?;
            Ok(())
        }),
    ),
];

const fn stream(name: &'static str, arguments: RangeInclusive<usize>) -> Row<Settings> {
    let effect = Effect::Add(Settings::stream_method);
    Row { name, within: &[Block::StreamUpstream], arguments, effect }
}

/// As [`SERVER_ROWS`], in `stream`.
pub const STREAM_SERVER_ROWS: &[Row<Settings>] = &[Row {
    name: "server",
    within: &[Block::StreamUpstream],
    arguments: 1..=MANY,
    effect: Effect::Add(Settings::stream_server),
}];

/// The other directives of `upstream` in `stream`: no idle connections, no `ip_hash`.
pub const STREAM_ROWS: &[Row<Settings>] = &[
    stream("least_conn", 0..=0),
    stream("hash", 1..=2),
    stream("random", 0..=2),
    stream("least_time", 1..=2),
    Row {
        name: "zone",
        within: &[Block::StreamUpstream],
        arguments: 1..=2,
        effect: Effect::Set(zone),
    },
];

impl Settings {
    /// A block without a line.
    #[must_use]
    pub fn new(name: Word, close: Span) -> Self {
        let keepalive = Keepalive::DEFAULT;
        let (servers, resolver) = (Vec::new(), dns::rows::Settings::default());
        let (method, sticky, protection) = (None, None, Asked::default());
        Self {
            name,
            close,
            servers,
            state: None,
            method,
            keepalive,
            sticky,
            has_zone: false,
            resolver,
            protection,
        }
    }

    /// The check nginx makes at the end of the block.
    pub fn check(&self) -> Result<(), ConfError> {
        if self.state.is_some() {
            // They are looked for there, and may come later.
            return self.servers.first().map_or(Ok(()), |it| {
                Err(it.word.refuse("\"server\" may not stand beside \"state\" in upstream"))
            });
        }
        if self.servers.is_empty() {
            return Err(ConfError::new("no servers are inside upstream", self.close.clone()));
        }
        if self.servers.iter().all(|it| it.terms.backup) {
            let text = format!("no servers in upstream \"{}\"", self.name);
            return Err(self.name.refuse(text));
        }
        Ok(())
    }

    /// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_server`.
    fn server(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        let address = Address::parse(word, Purpose::Peer)
            .map_err(|it| word.refuse(format!("{it} in upstream \"{word}\"")))?;
        let (terms, word) = (Terms::default(), word.clone());
        let (service, binding) = (None, Binding::default());
        let words = directive.arguments().iter().map(|it| it.as_str().to_owned()).collect();
        let mut line = Line { address, word, words, terms, resolve: false, service, binding };
        for parameter in &directive.arguments()[1..] {
            line.parameter(parameter)?;
            let name = parameter.split_once('=').map_or(&**parameter, |(name, _)| name);
            let refuses = self.method.as_ref().is_some_and(|it| it.entry.refuses.contains(&name));
            if refuses {
                let text = format!("balancing method does not support parameter \"{parameter}\"");
                return Err(parameter.refuse(text));
            }
        }
        line.check()?;
        self.servers.push(line);
        Ok(())
    }

    /// As [`Self::server`]: sessions carry nothing that binds them.
    fn stream_server(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let binds = |it: &&Word| **it == "drain" || it.parameter("route").is_some();
        match directive.arguments()[1..].iter().find(binds) {
            Some(word) => Err(word.invalid_parameter()),
            None => self.server(directive),
        }
    }

    /// As [`Self::method`]: the times of sessions have names of their own.
    fn stream_method(&mut self, directive: &Directive) -> Result<(), ConfError> {
        const TIMES: [(&str, &str); 4] = [
            ("connect", "header"),
            ("first_byte", "header"),
            ("least_time=connect", "least_time=header"),
            ("least_time=first_byte", "least_time=header"),
        ];
        let mut translated = directive.clone();
        let mut learns_from_connect = false;
        for word in &mut translated.words[1..] {
            if word.ends_with("header") || word.parameter("penalty").is_some() {
                return Err(word.invalid_parameter());
            }
            // A key may be any text.
            let time = TIMES.iter().find(|it| *word == it.0 && *directive.name() != "hash");
            if let Some((_, ours)) = time {
                learns_from_connect |= word.ends_with("connect");
                *word = word.with_bytes(ours.as_bytes());
            }
        }
        let told = self.method(&translated);
        if let Some(method) = &mut self.method {
            method.learns_from_connect = learns_from_connect;
        }
        told
    }

    fn method(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let words: Vec<&str> = directive.words.iter().map(Word::as_str).collect();
        let choice = Choice::of_directive(&words).map_err(|refusal| {
            let missing = || {
                let text = format!("invalid number of arguments in \"{}\" directive", words[0]);
                ConfError::new(text, directive.span.clone())
            };
            directive.words.get(refusal.word).map_or_else(missing, Word::invalid_parameter)
        })?;
        let is_bad = |it: &&Word| it.parameter("uri").is_some_and(|it| !it.starts_with('/'));
        if let Some(word) = directive.arguments().iter().find(is_bad) {
            return Err(word.invalid_parameter());
        }
        let own = choice.entry.directive.unwrap_or_default();
        let key = own.iter().position(|it| *it == "KEY").map(|it| directive.words[it].clone());
        let words = words.into_iter().map(str::to_owned).collect();
        let was = self.method.replace(Method {
            entry: choice.entry,
            words,
            key,
            learns_from_connect: false,
        });
        // As in nginx, a method that comes late takes the place of what binds, too.
        match (was, self.sticky.take()) {
            (None, None) => Ok(()),
            _ => Err(directive.name().refuse("load balancing method redefined").warning()),
        }
    }

    fn keepalive(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let word = directive.text();
        let refuse = || word.refuse(format!("invalid value \"{word}\" in \"keepalive\" directive"));
        let idle = number(word).and_then(|it| u32::try_from(it).ok());
        self.keepalive.idle = idle.ok_or_else(refuse)?;
        self.keepalive.local = match directive.arguments().get(1) {
            None => false,
            Some(word) if *word == "local" => true,
            Some(word) => return Err(word.invalid_parameter()),
        };
        Ok(())
    }
}

/// The port of a server that names none.
pub const DEFAULT_PORT: u16 = 80;

/// nginx's `NGX_HTTP_UPSTREAM_SID_LEN`.
pub const LONGEST_ROUTE: usize = 32;

/// nginx needs eight pages.
const SMALLEST_ZONE: u64 = 8 * 4096;

fn zone(settings: &mut Settings, directive: &Directive) -> Result<(), ConfError> {
    settings.has_zone = true;
    let name = directive.text();
    if name.is_empty() {
        return Err(name.refuse("invalid zone name \"\""));
    }
    let Some(word) = directive.arguments().get(1) else { return Ok(()) };
    let bytes = size(word).ok_or_else(|| word.refuse(format!("invalid zone size \"{word}\"")))?;
    if bytes < SMALLEST_ZONE {
        let text = format!("zone \"{}\" is too small", directive.text());
        return Err(word.refuse(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use policy::CATALOG;

    use super::*;
    use crate::conf::testing::directive;
    use crate::conf::{Catalog, Dialect};

    fn read(text: &str) -> Result<Settings, ConfError> {
        let block = directive(&format!("upstream u {{ {text} }}"));
        let mut settings = Settings::new(block.words[1].clone(), block.close.clone());
        for line in block.children() {
            let rows = SERVER_ROWS.iter().chain(ROWS).chain(crate::upstream::extensions::ROWS);
            let row = rows.clone().find(|it| *line.name() == *it.name).unwrap();
            match row.effect {
                Effect::Add(set) | Effect::Set(set) => set(&mut settings, line)?,
                Effect::Checked(check, _) => check(line)?,
                Effect::Read(read) => {
                    let catalog = Catalog::default();
                    read(&mut settings, line, &mut Reading::new(&catalog, Dialect::Extended))?;
                }
                _ => unreachable!(),
            }
        }
        settings.check()?;
        Ok(settings)
    }

    #[track_caller]
    fn check(text: &str, expected: Result<Terms, &str>) {
        let actual = read(text).map(|it| it.servers[0].terms).map_err(|it| it.reason);
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_server_has_terms() {
        let default = Terms::default();
        check("server a;", Ok(default));
        check("server a weight=3;", Ok(Terms { weight: NonZeroU32::new(3).unwrap(), ..default }));
        check("server a max_fails=0;", Ok(Terms { max_fails: None, ..default }));
        let minute = Duration::from_mins(1);
        check("server a fail_timeout=1m;", Ok(Terms { fail_timeout: minute, ..default }));
        check("server a max_conns=2;", Ok(Terms { max_conns: NonZeroU32::new(2), ..default }));
        check("server a down;", Ok(Terms { down: true, ..default }));
    }

    #[test]
    fn wrong_parameters_are_refused_with_their_text() {
        check("server a weight=0;", Err("invalid parameter \"weight=0\""));
        check("server a weight=;", Err("invalid parameter \"weight=\""));
        check("server a nope;", Err("invalid parameter \"nope\""));
        check("server a:x;", Err("invalid port in upstream \"a:x\""));
        check("", Err("no servers are inside upstream"));
        check("server a backup;", Err("no servers in upstream \"u\""));
        check("zone z 8k; server a;", Err("zone \"z\" is too small"));
    }

    #[test]
    fn a_method_refuses_parameters_of_the_lines_after_it() {
        let refused = "balancing method does not support parameter \"backup\"";
        check("ip_hash; server a; server b backup;", Err(refused));
        check("server b; server a backup; ip_hash;", Ok(Terms::default()));
        check("least_conn; server a; server b backup;", Ok(Terms::default()));
    }

    #[test]
    fn every_policy_of_the_catalog_has_its_directive() {
        for entry in CATALOG {
            let Some(own) = entry.directive else { continue };
            let words = own.iter().map(|it| match *it {
                "KEY" => "$request_uri",
                "bounded=" => "bounded=1.5",
                "least_time=" => "least_time=header",
                other => other,
            });
            let words = words.collect::<Vec<_>>().join(" ");
            let needs = if words == "least_time" { " header" } else { "" };
            let line = if words.is_empty() { String::new() } else { format!("{words}{needs};") };
            let settings = read(&format!("{line} server a;")).unwrap();
            let chosen = settings.method.map(|it| (it.entry.id, it.key.is_some()));
            let expected = (!own.is_empty()).then_some((entry.id, entry.needs.key));
            assert_eq!(chosen, expected, "{line}");
        }
    }

    #[test]
    fn a_policy_that_is_not_understood_is_refused_at_its_word() {
        let reason = |text| read(text).unwrap_err().reason;
        assert_eq!(reason("random three; server a;"), "invalid parameter \"three\"");
        assert_eq!(reason("hash; server a;"), "invalid number of arguments in \"hash\" directive");
        assert_eq!(reason("ip_hash; random; server a;"), "load balancing method redefined");
    }

    #[test]
    fn idle_connections_are_kept_per_location_unless_a_number_is_given() {
        let keepalive = |text| read(text).unwrap().keepalive;
        assert_eq!(keepalive("server a;"), Keepalive::DEFAULT);
        let given = keepalive("server a; keepalive 16; keepalive_requests 10;");
        assert_eq!((given.idle, given.requests, given.local), (16, 10, false));
        assert!(keepalive("server a; keepalive 16 local;").local);
        assert_eq!(keepalive("server a; keepalive 0;").idle, 0);
    }
}
