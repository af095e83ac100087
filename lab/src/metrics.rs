//! What do the balancer's metrics say of each server?

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result, ensure};

use crate::http;

/// Requests in flight, by upstream and server.
const ACTIVE: &str = "balancer_upstream_server_active_requests";

/// Answers so far, by upstream, server and class of status.
const REQUESTS: &str = "balancer_upstream_server_requests_total";

/// One line of an exposition in the OpenMetrics text format.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name of the sample, `_total` included.
    pub name: String,
    /// Names and values, unescaped.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

/// What the balancer counts of its upstream servers, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Requests in flight over all servers.
    pub active: f64,
    /// Answers so far by server and class of status, `2xx` and so on.
    pub requests: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Counts {
    /// Asks the admin listener of the balancer.
    pub fn fetch(admin: SocketAddr) -> Result<Self> {
        let answer = http::get(admin, "/metrics").with_context(|| {
            format!("http://{admin}/metrics cannot be read: is lab up running?")
        })?;
        ensure!(answer.status == 200, "http://{admin}/metrics answers {}", answer.status);
        let mut counts = Self::default();
        for Sample { name, labels, value } in samples(&answer.text())? {
            let label = |it: &str| labels.get(it).cloned().unwrap_or_default();
            if name == ACTIVE {
                counts.active += value;
            } else if name == REQUESTS {
                let server = counts.requests.entry(label("server")).or_default();
                *server.entry(label("code")).or_default() += value;
            }
        }
        ensure!(!counts.requests.is_empty(), "http://{admin}/metrics has no {REQUESTS}");
        Ok(counts)
    }

    /// Answers of each server since `earlier`, by class of status.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> BTreeMap<String, BTreeMap<String, f64>> {
        let mut requests = self.requests.clone();
        for (server, codes) in &mut requests {
            for (code, count) in codes {
                *count -= earlier.requests.get(server).and_then(|it| it.get(code)).unwrap_or(&0.0);
            }
        }
        requests
    }
}

/// The samples of an exposition; comments, exemplars and timestamps are left aside.
///
/// # Errors
///
/// Names the first line that is not a sample.
pub fn samples(text: &str) -> Result<Vec<Sample>> {
    text.lines()
        .filter(|it| !it.is_empty() && !it.starts_with('#'))
        .map(|it| sample(it).with_context(|| format!("not a metric: {it}")))
        .collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while let Some((label, after)) = rest.split_once("=\"") {
            let (value, after) = unquoted(after)?;
            labels.insert(label.to_owned(), value);
            rest = after.strip_prefix(',').unwrap_or(after);
            if rest.starts_with('}') {
                break;
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.trim_start().split(' ').next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, and what follows it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((i, it)) = characters.next() {
        match it {
            '"' => return Some((value, &text[i + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            _ => value.push(it),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected<'a> = Option<(&'a str, &'a [(&'a str, &'a str)], f64)>;

    #[track_caller]
    fn check(line: &str, expected: Expected<'_>) {
        let expected = expected.map(|(name, labels, value)| Sample {
            name: name.to_owned(),
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            value,
        });
        assert_eq!(sample(line), expected, "{line}");
    }

    #[test]
    fn samples_are_read_with_and_without_labels() {
        check("up 1", Some(("up", &[], 1.0)));
        check("a_total{code=\"2xx\"} 17", Some(("a_total", &[("code", "2xx")], 17.0)));
        check(
            "a{server=\"[::1]:80\",upstream=\"a,b}\"} 2.5e3 1700000000",
            Some(("a", &[("server", "[::1]:80"), ("upstream", "a,b}")], 2500.0)),
        );
        check("a{l=\"x\\\"y\\\\z\\n\"} 0", Some(("a", &[("l", "x\"y\\z\n")], 0.0)));
        check("a{} 3", Some(("a", &[], 3.0)));
        check("a_bucket{le=\"+Inf\"} 3 # {t=\"x\"} 1", Some(("a_bucket", &[("le", "+Inf")], 3.0)));
    }

    #[test]
    fn a_broken_line_is_refused() {
        check("a", None);
        check("a{l=\"x} 1", None);
        check("a{l=\"x\"", None);
        check("a one", None);
    }

    #[test]
    fn what_was_counted_before_is_not_counted_again() {
        let counts = |it: &[(&str, f64)]| Counts {
            active: 0.0,
            requests: it
                .iter()
                .map(|(server, count)| {
                    ((*server).to_owned(), BTreeMap::from([("2xx".to_owned(), *count)]))
                })
                .collect(),
        };
        let since = counts(&[("a", 7.0), ("b", 5.0)]).since(&counts(&[("a", 3.0)]));
        assert_eq!(since, counts(&[("a", 4.0), ("b", 5.0)]).requests);
    }
}
