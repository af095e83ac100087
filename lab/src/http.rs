//! One request, one answer, over a connection of its own.
//!
//! Enough HTTP/1.1 to ask our own servers on the loopback interface; it follows no redirect and
//! speaks no TLS.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long connecting, and each read, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A whole answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The three digits of the status line.
    pub status: u16,
    /// Names as they came, values without surrounding spaces.
    pub headers: Vec<(String, String)>,
    /// The body, its chunks joined.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, it)| it.as_str())
    }

    /// The body as text; bytes that are not UTF-8 become replacement characters.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks for `path`, such as `/ready`.
pub fn get(server: SocketAddr, path: &str) -> io::Result<Answer> {
    exchange(server, &format!("GET {path} HTTP/1.1\r\n{}\r\n", common(server)))
}

/// Sends a JSON body to `path`.
pub fn post(server: SocketAddr, path: &str, json: &str) -> io::Result<Answer> {
    exchange(
        server,
        &format!(
            "POST {path} HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            common(server),
            json.len(),
        ),
    )
}

/// Sends a JSON body to `path` with an `Idempotency-Key`, so that it may be sent again.
pub fn post_once(server: SocketAddr, path: &str, json: &str, key: &str) -> io::Result<Answer> {
    exchange(
        server,
        &format!(
            "POST {path} HTTP/1.1\r\n{}Content-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n{json}",
            common(server),
            json.len(),
        ),
    )
}

fn common(server: SocketAddr) -> String {
    format!("Host: {server}\r\nConnection: close\r\n")
}

fn exchange(server: SocketAddr, request: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    parse(&bytes).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "not a whole HTTP/1 answer"))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n")?;
    let (head, body) = (str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .map(|it| {
            it.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        })
        .collect::<Option<_>>()?;
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("Transfer-Encoding").is_some_and(|it| it.eq_ignore_ascii_case("chunked")) {
        answer.body = join_chunks(body)?;
    } else {
        let length = answer.header("Content-Length").map(str::parse).transpose().ok()?;
        answer.body = body.get(..length.unwrap_or(body.len()))?.to_vec();
    }
    Some(answer)
}

fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|it| it == b"\r\n")?;
        let size = str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        rest = &rest[end + 2..];
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, expected: Option<(u16, &str)>) {
        let answer = parse(bytes.as_bytes()).map(|it| (it.status, it.text()));
        assert_eq!(answer, expected.map(|(status, body)| (status, body.to_owned())), "{bytes:?}");
    }

    #[test]
    fn bodies_are_read_by_length_by_chunks_and_to_the_end() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokrest", Some((200, "ok")));
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n",
            Some((200, "ok!")),
        );
        check("HTTP/1.0 404 Not Found\r\n\r\ngone", Some((404, "gone")));
    }

    #[test]
    fn an_answer_that_was_cut_is_no_answer() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", None);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", None);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", None);
        check("HTTP/1.1 200 OK\r\n", None);
        check("", None);
    }

    #[test]
    fn a_header_is_found_whatever_its_case() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nX-Store-Instance:  store-1 \r\n\r\n").unwrap();
        assert_eq!(answer.header("x-store-instance"), Some("store-1"));
        assert_eq!(answer.header("absent"), None);
    }
}
