//! The status of a balancer as lines of a terminal.

use std::fmt::Write as _;

use serde::Deserialize;

/// What `/api/status` says, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    version: String,
    stopping: bool,
    generation: u64,
    reloads: Reloads,
    connections: Connections,
    per_second: f64,
    events: Vec<Happening>,
    upstreams: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Reloads {
    succeeded: u64,
    refused: u64,
    last_succeeded: bool,
}

#[derive(Debug, Deserialize)]
struct Connections {
    active: u64,
}

#[derive(Debug, Deserialize)]
struct Happening {
    unix_ms: u64,
    is_bad: bool,
    subject: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Group {
    name: String,
    policy: String,
    active: u64,
    per_second: f64,
    retries: u64,
    servers: Vec<Server>,
}

#[derive(Debug, Deserialize)]
struct Server {
    name: String,
    state: String,
    why: String,
    backup: bool,
    weight: u64,
    max_conns: u64,
    active: u64,
    pace: Pace,
    requests: [u64; 5],
    failures: Vec<u64>,
}

#[derive(Debug, Deserialize)]
struct Pace {
    per_second: f64,
    share: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

/// How long a bar of requests in flight is.
const BAR: usize = 8;

/// Events that are shown.
const EVENTS: usize = 5;

/// How a text is marked: escape codes of a terminal.
#[derive(Clone, Copy)]
enum Mark {
    Good,
    Warn,
    Bad,
    Strong,
    Quiet,
}

impl Mark {
    fn of_state(state: &str) -> (Self, char) {
        match state {
            "up" => (Self::Good, '●'),
            "draining" | "checking" => (Self::Warn, '◐'),
            "down" => (Self::Bad, '■'),
            _ => (Self::Bad, '▲'),
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Strong => "1",
            Self::Quiet => "2",
        }
    }
}

/// Lines that grow to an end, cut at a width.
struct Screen {
    lines: Vec<String>,
    columns: usize,
    color: bool,
}

/// A line: texts with or without a mark.
type Line<'a> = [(Option<Mark>, &'a str)];

impl Screen {
    /// Adds a line, as much of it as fits.
    fn line(&mut self, parts: &Line<'_>) {
        let mut line = String::new();
        let mut left = self.columns;
        for (mark, text) in parts {
            let shown: String = text.chars().take(left).collect();
            left -= shown.chars().count();
            match mark.filter(|_| self.color) {
                // Writing to memory does not fail.
                Some(mark) => _ = write!(line, "\x1b[{}m{shown}\x1b[0m", mark.code()),
                None => line.push_str(&shown),
            }
        }
        line.truncate(line.trim_end().len());
        self.lines.push(line);
    }
}

/// The lines of a status, as many and as long as fit into lines and columns.
pub(super) fn draw(status: &Status, (rows, columns): (usize, usize), color: bool) -> String {
    let mut screen = Screen { lines: Vec::new(), columns, color };
    head(status, &mut screen);
    for group in &status.upstreams {
        draw_group(group, &mut screen);
    }
    if !status.events.is_empty() {
        screen.line(&[]);
    }
    for event in status.events.iter().take(EVENTS) {
        let seconds = event.unix_ms / 1000 % 86_400;
        let clock = format!("{:02}:{:02}:{:02} ", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let (mark, sign) = if event.is_bad { (Mark::Bad, "▲ ") } else { (Mark::Good, "● ") };
        screen.line(&[
            (Some(Mark::Quiet), &clock),
            (Some(mark), sign),
            (Some(Mark::Strong), &event.subject),
            (None, " "),
            (None, &event.text),
        ]);
    }
    if screen.lines.len() > rows {
        let kept = rows.saturating_sub(1);
        let more = format!("… {} lines more", screen.lines.len() - kept);
        screen.lines.truncate(kept);
        screen.line(&[(Some(Mark::Quiet), &more)]);
    }
    screen.lines.join("\n") + "\n"
}

fn head(status: &Status, screen: &mut Screen) {
    let is_well = !status.stopping && status.reloads.last_succeeded;
    let state = match (status.stopping, status.reloads.last_succeeded) {
        (true, _) => "■ stopping",
        (false, true) => "● serving",
        (false, false) => "▲ serving, last reload refused",
    };
    let name = format!("balancer {}  ", status.version);
    let figures = format!(
        "  {} requests/s · {} connections · configuration {} · {} reloads, {} refused",
        rate(status.per_second),
        status.connections.active,
        status.generation,
        status.reloads.succeeded,
        status.reloads.refused,
    );
    let mark = if is_well { Mark::Good } else { Mark::Bad };
    screen.line(&[(Some(Mark::Strong), &name), (Some(mark), state), (None, &figures)]);
}

fn draw_group(group: &Group, screen: &mut Screen) {
    screen.line(&[]);
    let figures = format!(
        "  {} · {} requests/s · {} in flight · {} retries",
        group.policy,
        rate(group.per_second),
        group.active,
        group.retries
    );
    screen.line(&[(Some(Mark::Strong), &group.name), (None, &figures)]);
    let names = group.servers.iter().map(|it| it.name.chars().count());
    let width = names.max().unwrap_or_default().max("SERVER".len());
    let heads = format!(
        "{:width$}  {:11}  {:17}  {:>5}  {:>8}  {:>8}  {:>8}  {:>6}  {:>6}  {:>6}",
        "SERVER", "STATE", "IN FLIGHT", "SHARE", "RATE", "P50", "P99", "5XX", "FAILED", "WEIGHT"
    );
    screen.line(&[(Some(Mark::Quiet), &heads)]);
    let busiest = group.servers.iter().map(|it| it.active).max().unwrap_or_default();
    for it in &group.servers {
        let (mark, sign) = Mark::of_state(&it.state);
        let name = format!("{:width$}  ", it.name);
        let state = format!("{sign} {:9}  ", it.state);
        let most = if it.max_conns > 0 { it.max_conns } else { busiest };
        let in_flight = match it.max_conns {
            0 => it.active.to_string(),
            limit => format!("{}/{limit}", it.active),
        };
        let failed: u64 = it.failures.iter().sum();
        let figures = format!(
            "{} {in_flight:8}  {:>5}  {:>8}  {:>8}  {:>8}  {:>6}  {failed:>6}  {:>6}",
            bar(it.active, most),
            format!("{:.0} %", it.pace.share * 100.0),
            format!("{}/s", rate(it.pace.per_second)),
            millis(it.pace.p50_ms),
            millis(it.pace.p99_ms),
            it.requests[4],
            it.weight,
        );
        let backup = if it.backup { "  backup" } else { "" };
        let why = if it.why.is_empty() { String::new() } else { format!("  {}", it.why) };
        screen.line(&[
            (None, &name),
            (Some(mark), &state),
            (None, &figures),
            (Some(Mark::Quiet), backup),
            (Some(Mark::Quiet), &why),
        ]);
    }
}

fn bar(active: u64, most: u64) -> String {
    let filled = (active * BAR as u64).div_ceil(most.max(1)).min(BAR as u64);
    let filled = usize::try_from(filled).unwrap_or(BAR);
    "█".repeat(filled) + &"░".repeat(BAR - filled)
}

fn rate(per_second: f64) -> String {
    if per_second >= 99.95 { format!("{per_second:.0}") } else { format!("{per_second:.1}") }
}

fn millis(time: Option<f64>) -> String {
    match time {
        Some(millis) if millis < 9.95 => format!("{millis:.1} ms"),
        Some(millis) => format!("{millis:.0} ms"),
        None => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status() -> Status {
        let server = |name: &str, state: &str, active: u64, max_conns: u64| {
            json!({
                "name": name, "state": state, "why": if state == "up" { "" } else { "2 failures" },
                "backup": false, "weight": 1, "max_conns": max_conns, "active": active,
                "pace": {"per_second": 12.5, "share": 0.25, "p50_ms": 3.21, "p99_ms": null},
                "requests": [0, 9, 0, 0, 1], "failures": [1, 0, 1, 0, 0],
            })
        };
        let status = json!({
            "version": "1.2.3", "stopping": false, "generation": 4,
            "reloads": {"succeeded": 3, "refused": 1, "last_succeeded": true},
            "connections": {"active": 7}, "per_second": 50.0,
            "events": [{"unix_ms": 3_723_000, "is_bad": true, "subject": "shop b:80", "text": "out"}],
            "upstreams": [{
                "name": "shop", "policy": "nginx-rr", "active": 3, "per_second": 25.0, "retries": 2,
                "servers": [server("a:80", "up", 2, 8), server("b:8080", "unavail", 1, 0)],
            }],
        });
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn each_server_has_a_line() {
        let text = draw(&status(), (usize::MAX, 200), false);
        let expected = "\
balancer 1.2.3  ● serving  50.0 requests/s · 7 connections · configuration 4 · 3 reloads, 1 refused

shop  nginx-rr · 25.0 requests/s · 3 in flight · 2 retries
SERVER  STATE        IN FLIGHT          SHARE      RATE       P50       P99     5XX  FAILED  WEIGHT
a:80    ● up         ██░░░░░░ 2/8        25 %    12.5/s    3.2 ms         –       1       2       1
b:8080  ▲ unavail    ████░░░░ 1          25 %    12.5/s    3.2 ms         –       1       2       1  2 failures

01:02:03 ▲ shop b:80 out
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        let text = draw(&status(), (4, 20), false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|it| it.chars().count() <= 20), "{text}");
        assert_eq!(lines[3], "… 5 lines more");
    }

    #[test]
    fn colors_are_for_terminals() {
        assert!(!draw(&status(), (99, 200), false).contains('\x1b'));
        assert!(draw(&status(), (99, 200), true).contains("\x1b[31m▲ unavail"));
    }
}
