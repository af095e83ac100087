//! Requests that two readers could read differently are refused, and no server sees them; answers
//! that could be are refused, too, and one that was cut never looks whole.
//!
//! The lists are `smuggle.txt` and `answers.txt`. A request is followed by another one, which must
//! be served after a good one and never be seen after a bad one.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::Write;

use crate::support::{Balancer, Next, Origin};

const EXCHANGES: &str = include_str!("smuggle.txt");
const ANSWERS: &str = include_str!("answers.txt");

const BEHIND: &[u8] = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n";

fn guarded(settings: &str) -> (Origin, Balancer) {
    let origin = Origin::named("reached");
    let balancer = Balancer::start(&format!(
        "server {{ listen 127.0.0.1:PORT; {settings}
         location / {{ proxy_pass http://{}; }} }}",
        origin.name()
    ));
    (origin, balancer)
}

/// The lines of a list.
fn lines(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|it| !it.starts_with('#') && !it.is_empty())
}

/// The bytes that a text of a list stands for.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let mut length = char.len_utf8();
        match char {
            '\\' => {
                length = 2;
                match rest.as_bytes()[1] {
                    b'r' => bytes.push(b'\r'),
                    b'n' => bytes.push(b'\n'),
                    b't' => bytes.push(b'\t'),
                    b'x' => {
                        length = 4;
                        bytes.push(u8::from_str_radix(&rest[2..4], 16).unwrap());
                    }
                    other => bytes.push(other),
                }
            }
            '{' => {
                let (inner, _) = rest[1..].split_once('}').unwrap();
                let (byte, count) = inner.split_once('*').unwrap();
                bytes.extend(byte.repeat(count.parse().unwrap()).bytes());
                length = inner.len() + 2;
            }
            _ => bytes.extend(rest[..length].bytes()),
        }
        rest = &rest[length..];
    }
    bytes
}

/// What is wrong with what becomes of a line of `smuggle.txt`, if anything is.
fn judge(line: &str, origin: &Origin, balancer: &Balancer) -> Option<String> {
    let (outcome, text) = line.split_once(" | ").unwrap();
    let (request, body) = text.split_once(" => ").unwrap_or((text, ""));
    let before = origin.seen().len();
    let mut client = balancer.client();
    client.send([bytes(request), BEHIND.to_vec()].concat());
    let answer = client.answer();
    let status: u16 = outcome.split(' ').next().unwrap().parse().unwrap();
    if answer.status != status {
        return Some(format!("answered {}", answer.status));
    }
    let is_good = status == 200;
    let goes_on = outcome == "200";
    if goes_on && client.answer().status != 200 {
        return Some("what follows is not served".to_owned());
    }
    if !goes_on && !client.is_ended() {
        return Some("the connection stays".to_owned());
    }
    let seen = origin.seen().split_off(before);
    let expected = usize::from(is_good) + usize::from(goes_on);
    if seen.len() != expected || (is_good && seen[0].body != bytes(body)) {
        return Some(format!("the server saw {seen:?}"));
    }
    let is_behind = |it: usize| seen[it].path() == "/behind";
    (goes_on && !is_behind(expected - 1)).then(|| format!("the server saw {seen:?}"))
}

#[track_caller]
fn check_all(settings: &str) {
    let (origin, balancer) = guarded(settings);
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in lines(EXCHANGES) {
        count += 1;
        if let Some(reason) = judge(line, &origin, &balancer) {
            wrong.push(format!("{line}\n    {reason}"));
        }
    }
    assert!(300 < count, "only {count} lines");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_request_of_the_list_has_its_outcome() {
    check_all("");
}

#[test]
fn every_request_of_the_list_has_its_outcome_without_buffers() {
    check_all("proxy_request_buffering off; proxy_buffering off;");
}

#[test]
fn every_answer_of_the_list_has_its_outcome() {
    let list: Vec<_> = lines(ANSWERS).map(|it| it.splitn(3, '|').map(str::trim)).collect();
    let answers: Vec<(Next, Vec<u8>)> = list
        .iter()
        .map(|it| {
            let mut columns = it.clone();
            let next = match columns.next().unwrap() {
                "keep" => Next::Keep,
                "close" => Next::Close,
                _ => Next::Reset,
            };
            (next, bytes(columns.nth(1).unwrap()))
        })
        .collect();
    let origin = Origin::start(move |seen, stream| {
        let (next, text) = &answers[seen.path()[1..].parse::<usize>().unwrap()];
        let _ = stream.write_all(text);
        *next
    });
    let balancer = Balancer::start(&format!(
        "upstream u {{ server {} max_fails=0; keepalive 4; }}
         server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}",
        origin.name()
    ));
    let mut wrong = Vec::new();
    for (at, mut columns) in list.into_iter().enumerate() {
        let outcome = columns.nth(1).unwrap();
        let mut client = balancer.client();
        let answer = client.get(&format!("/{at}"));
        let found = match (answer.status, answer.is_whole) {
            (502, true) => "502".to_owned(),
            (status, true) if answer.body.is_empty() => format!("{status} whole"),
            (status, true) => format!("{status} whole {}", answer.text()),
            (status, false) => format!("{status} cut"),
        };
        if found != outcome {
            wrong.push(format!("{}: {found}", lines(ANSWERS).nth(at).unwrap()));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_merely_odd_goes_on_in_clean_form() {
    let (origin, balancer) = guarded("");
    let mut client = balancer.client();
    client.send("\r\nGET /odd HTTP/1.1\nHost: a\nX:   b  \n\n");
    assert_eq!(client.answer().status, 200);
    client.send("GET http://other/absolute HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.send(
        "GET /hop HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine, HTTP2-Settings\r\n\
         X-Mine: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nX-Yours: 2\r\n\
         Connection: x-other\r\nX-Other: 3\r\nTE: trailers\r\n\r\n",
    );
    assert_eq!(client.answer().status, 200);
    let host = origin.name();
    let heads: Vec<_> = origin.seen().into_iter().map(|it| it.head).collect();
    let expected = [
        format!("GET /odd HTTP/1.1\r\nHost: {host}\r\nX: b\r\n\r\n"),
        format!("GET /absolute HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET /hop HTTP/1.1\r\nHost: {host}\r\nX-Yours: 2\r\n\r\n"),
    ];
    assert_eq!(heads, expected);
}

/// The whole of it arrives at once, its end included, and none of that may reach the server.
#[test]
fn a_body_that_is_too_large_never_looks_whole() {
    let settings = "proxy_request_buffering off; client_max_body_size 100k;";
    let (origin, balancer) = guarded(settings);
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    let mut client = balancer.client();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}{}0\r\n\r\n", chunk.repeat(7)));
    assert_eq!(client.answer().status, 413);
    assert!(origin.seen().is_empty());
}
