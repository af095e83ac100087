//! What does the access log of a balancer tell about requests and servers?
//!
//! nginx's variables, so a log of nginx does, too; times have milliseconds.

use anyhow::{Context, Result, ensure};

/// The log's format, as a directive of `http`.
pub(super) const FORMAT: &str = "    log_format lab_trace '$msec $request_time $upstream_addr \
                                 $upstream_response_time $status $request_method $uri';\n    \
                                 access_log logs/trace.log lab_trace;\n";

/// Requests that are kept, the last ones.
const MOST: usize = 1_000_000;

/// One answered request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// When it came to its server, in seconds.
    pub(super) at: f64,
    /// Seconds until its answer had come.
    pub(super) taken: f64,
    pub(super) server: usize,
    /// Which kind of request: a method and a path.
    pub(super) class: usize,
}

/// The requests of a log in the order in which they came; numbers stand for names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Trace {
    pub(super) servers: Vec<String>,
    pub(super) classes: Vec<String>,
    pub(super) requests: Vec<Seen>,
    /// To how many seconds times are rounded.
    pub(super) tick: f64,
}

/// The log's resolution.
const TICK: f64 = 0.001;

/// Reads a log; what was tried on several servers or failed is left out. Times start with the first.
///
/// `servers` come first, in this order, whether or not they were seen.
pub(super) fn read(text: &str, servers: &[String]) -> Result<Trace> {
    let mut trace = Trace { servers: servers.to_vec(), tick: TICK, ..Trace::default() };
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(MOST)..] {
        if let Some(it) = seen(line, &mut trace) {
            trace.requests.push(it);
        }
    }
    ensure!(
        !trace.requests.is_empty(),
        "no line of the log is '$msec $request_time $upstream_addr $upstream_response_time $status \
         $request_method $uri' of an answered request"
    );
    trace.requests.sort_by(|a, b| a.at.total_cmp(&b.at));
    let start = trace.requests.first().context("an empty trace")?.at;
    trace.requests.iter_mut().for_each(|it| it.at -= start);
    Ok(trace)
}

fn seen(line: &str, trace: &mut Trace) -> Option<Seen> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [end, _, server, taken, status, method, path] = fields[..] else { return None };
    let (end, taken): (f64, f64) = (end.parse().ok()?, taken.parse().ok()?);
    let status: u16 = status.parse().ok()?;
    if 500 <= status {
        return None;
    }
    Some(Seen {
        at: end - taken,
        taken,
        server: number(server, &mut trace.servers),
        class: number(&format!("{method} {path}"), &mut trace.classes),
    })
}

fn number(name: &str, names: &mut Vec<String>) -> usize {
    names.iter().position(|it| it == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answered_requests_are_read_in_the_order_in_which_they_came() {
        let text = "1700000001.500 0.400 b:1 0.400 201 POST /orders\n\
                    1700000001.300 0.100 a:1 0.100 200 GET /x\n\
                    1700000001.900 0.100 a:1, b:1 0.050, 0.050 200 GET /x\n\
                    1700000001.900 0.100 a:1 0.100 502 GET /x\n\
                    1700000001.900 0.000 - - 404 GET /y\nnonsense\n";
        let trace = read(text, &["a:1".to_owned(), "b:1".to_owned()]).unwrap();
        assert_eq!(trace.classes, ["POST /orders", "GET /x"]);
        let of: Vec<_> = trace.requests.iter().map(|it| (it.server, it.class, it.taken)).collect();
        assert_eq!(of, [(1, 0, 0.4), (0, 1, 0.1)]);
        assert!((trace.requests[1].at - 0.1).abs() < 1e-6, "{trace:?}");
        assert!(read("nonsense", &[]).is_err());
    }
}
