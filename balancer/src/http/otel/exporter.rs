//! `otel_exporter` and who we are to the collector.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::conf::address::{Address, Host, Purpose};
use crate::conf::{Block, ConfError, Directive, Effect, Row, Word};
use crate::otel::Target;

/// What the `http` block says of it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    exporter: Option<Lines>,
    service_name: Option<Word>,
    resource: BTreeMap<String, String>,
}

/// The lines of an `otel_exporter` block.
#[derive(Clone, Debug, Default)]
struct Lines {
    endpoint: Option<(Address, bool)>,
    trusted_certificate: Option<Word>,
    headers: Vec<(HeaderName, HeaderValue)>,
    interval: Option<Duration>,
    batch_size: Option<usize>,
    batch_count: Option<usize>,
}

/// Directives of `http`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "otel_exporter",
        within: &[Block::Http],
        arguments: 0..=0,
        effect: Effect::Open(|it, directive, _| {
            if it.exporter.is_some() {
                return Err(directive.refuse("is duplicate"));
            }
            it.exporter = Some(Lines::read(directive)?);
            Ok(())
        }),
    },
    Row {
        name: "otel_service_name",
        within: &[Block::Http],
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| {
            it.service_name = Some(directive.text().clone());
            Ok(())
        }),
    },
    Row {
        name: "otel_resource_attr",
        within: &[Block::Http],
        arguments: 2..=2,
        effect: Effect::Add(|it, directive| {
            let [name, value] = [1, 2].map(|at: usize| directive.words[at].to_string());
            it.resource.insert(name, value);
            Ok(())
        }),
    },
];

impl Lines {
    /// Source: nginx-otel `http_module.cpp`, `setExporter`.
    fn read(block: &Directive) -> Result<Self, ConfError> {
        let mut lines = Self::default();
        for line in block.entries() {
            let line = line?;
            let name = line.name();
            let wanted = match name.as_str() {
                "endpoint" | "trusted_certificate" | "interval" | "batch_size" | "batch_count" => 1,
                "header" => 2,
                _ => {
                    let text = format!("unknown directive \"{name}\" in \"otel_exporter\"");
                    return Err(name.refuse(text));
                }
            };
            if line.arguments().len() != wanted {
                let text = format!(
                    "invalid number of arguments in \"{name}\" directive of \"otel_exporter\""
                );
                return Err(name.refuse(text));
            }
            lines.set(line)?;
        }
        if lines.endpoint.is_none() {
            let text = "\"otel_exporter\" requires \"endpoint\"";
            return Err(ConfError::new(text, block.close.clone()));
        }
        Ok(lines)
    }

    fn set(&mut self, line: &Directive) -> Result<(), ConfError> {
        let refuse = |what: &str| {
            let text = format!("\"{}\" directive of \"otel_exporter\" {what}", line.name());
            line.text().refuse(text)
        };
        let invalid = |_| refuse("invalid value");
        let count = || line.size().map(|it| usize::try_from(it).unwrap_or(usize::MAX));
        let is_second = match line.name().as_str() {
            "endpoint" => self.endpoint.replace(endpoint(line.text())?).is_some(),
            "trusted_certificate" => {
                // As in the module, the last one counts.
                self.trusted_certificate = Some(line.text().clone());
                false
            }
            "header" => {
                // Names of HTTP/2 are lower case; nobody has to write them so.
                let name = HeaderName::from_bytes(line.words[1].as_bytes());
                let name = name.map_err(|_| refuse("has invalid header name"))?;
                let value = HeaderValue::from_bytes(line.words[2].as_bytes());
                // gRPC takes no others.
                let is_plain =
                    |it: &HeaderValue| it.as_bytes().iter().all(|it| (b' '..=b'~').contains(it));
                let value = value.ok().filter(is_plain);
                let value = value.ok_or_else(|| refuse("has invalid header value"))?;
                self.headers.push((name, value));
                false
            }
            "interval" => self.interval.replace(line.milliseconds().map_err(invalid)?).is_some(),
            "batch_size" => self.batch_size.replace(count().map_err(invalid)?).is_some(),
            _ => self.batch_count.replace(count().map_err(invalid)?).is_some(),
        };
        if is_second { Err(refuse("is duplicate")) } else { Ok(()) }
    }
}

/// The address of `[http://|https://]host:port`, and whether it is spoken to by TLS.
fn endpoint(word: &Word) -> Result<(Address, bool), ConfError> {
    let text = word.as_str();
    let after = |scheme: &str| {
        let (first, rest) = text.split_at_checked(scheme.len())?;
        first.eq_ignore_ascii_case(scheme).then_some(rest)
    };
    let (rest, is_tls) = match (after("https://"), after("http://")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => (text, false),
    };
    if rest.is_empty() {
        return Err(word.refuse("\"otel_exporter\" requires \"endpoint\""));
    }
    let address = Address::parse(rest, Purpose::Peer);
    let address = address.map_err(|it| it.to_string()).and_then(|it| match it.host {
        Host::Any => Err("no host".to_owned()),
        _ => Ok(it),
    });
    let told = |it| word.refuse(format!("{it} in endpoint \"{text}\" of \"otel_exporter\""));
    address.map(|it| (it, is_tls)).map_err(told)
}

impl Settings {
    /// The file of `trusted_certificate`.
    pub fn trusted_certificate(&self) -> Option<&Word> {
        self.exporter.as_ref()?.trusted_certificate.as_ref()
    }

    /// Whom spans are sent to, with the module's defaults; `trusted` is what that file holds.
    pub fn target(&self, trusted: Option<Vec<u8>>, workers: usize) -> Option<Target> {
        let lines = self.exporter.as_ref()?;
        let (address, is_tls) = lines.endpoint.clone()?;
        let mut resource = self.resource.clone();
        let name = "service.name".to_owned();
        match &self.service_name {
            Some(word) => drop(resource.insert(name, word.to_string())),
            None => {
                resource.entry(name).or_insert_with(|| "unknown_service:nginx".to_owned());
            }
        }
        Some(Target {
            address,
            is_tls,
            trusted,
            headers: lines.headers.clone(),
            interval: lines.interval.unwrap_or(Duration::from_secs(5)),
            batch_size: lines.batch_size.unwrap_or(512).max(1),
            batch_count: lines.batch_count.unwrap_or(4).max(1),
            workers,
            resource: resource.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[track_caller]
    fn check(lines: &str, expected: Result<(&str, bool), &str>) {
        let read = Lines::read(&directive(&format!("otel_exporter {{ {lines} }}")));
        let actual = read.map(|it| {
            let (address, is_tls) = it.endpoint.unwrap();
            (format!("{:?} {}", address.host, address.port_or(0)), is_tls)
        });
        let expected = expected.map(|(text, is_tls)| (text.to_owned(), is_tls));
        assert_eq!(actual.map_err(|it| it.reason), expected.map_err(str::to_owned), "{lines}");
    }

    #[test]
    fn an_endpoint_is_a_host_with_or_without_a_scheme() {
        check("endpoint localhost:4317;", Ok(("Name(\"localhost\") 4317", false)));
        check("endpoint HTTP://127.0.0.1:4317;", Ok(("Ip(127.0.0.1) 4317", false)));
        check("endpoint https://[::1]:4317;", Ok(("Ip(::1) 4317", true)));
        check("endpoint unix:/run/otel.sock;", Ok(("Unix(\"/run/otel.sock\") 0", false)));
    }

    #[test]
    fn what_the_module_refuses_is_refused_in_its_words() {
        let missing = Err("\"otel_exporter\" requires \"endpoint\"");
        check("", missing);
        check("endpoint http://;", missing);
        check(
            "endpoint a:1; endpoint b:1;",
            Err("\"endpoint\" directive of \"otel_exporter\" is duplicate"),
        );
        check(
            "endpoint;",
            Err("invalid number of arguments in \"endpoint\" directive of \"otel_exporter\""),
        );
        check("point a:1;", Err("unknown directive \"point\" in \"otel_exporter\""));
        check("interval x;", Err("\"interval\" directive of \"otel_exporter\" invalid value"));
        check("batch_size -1;", Err("\"batch_size\" directive of \"otel_exporter\" invalid value"));
        check(
            "header \"a b\" c;",
            Err("\"header\" directive of \"otel_exporter\" has invalid header name"),
        );
        check(
            "header a \"\t\";",
            Err("\"header\" directive of \"otel_exporter\" has invalid header value"),
        );
    }

    #[test]
    fn an_endpoint_that_is_none_is_refused() {
        check("endpoint a:x;", Err("invalid port in endpoint \"a:x\" of \"otel_exporter\""));
        check("endpoint :1;", Err("no host in endpoint \":1\" of \"otel_exporter\""));
    }

    #[test]
    fn a_service_has_a_name_whoever_gives_it() {
        let name = |lines: &[&str]| {
            let mut settings = Settings::default();
            for line in lines {
                let row = ROWS.iter().find(|it| line.starts_with(&format!("{} ", it.name)));
                match row.unwrap().effect {
                    Effect::Set(set) | Effect::Add(set) => {
                        set(&mut settings, &directive(line)).unwrap();
                    }
                    _ => settings.exporter = Some(Lines::read(&directive(line)).unwrap()),
                }
            }
            let target = settings.target(None, 1).unwrap();
            target.resource.into_iter().find(|it| it.0 == "service.name").unwrap().1
        };
        let exporter = "otel_exporter { endpoint a:1; }";
        let attribute = "otel_resource_attr service.name b;";
        assert_eq!(name(&[exporter]), "unknown_service:nginx");
        assert_eq!(name(&[exporter, attribute]), "b");
        assert_eq!(name(&[exporter, attribute, "otel_service_name c;"]), "c");
    }
}
