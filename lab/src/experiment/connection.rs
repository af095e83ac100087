//! One connection that a user keeps open: a request, a whole answer, and when each part of it came.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// What is told of one answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    /// The three digits.
    pub(crate) status: u16,
    /// `X-Store-Instance`, empty without one.
    pub(crate) instance: String,
    /// When its first byte came.
    pub(crate) first_byte: Instant,
    /// How much of a body it had.
    pub(crate) body: usize,
    /// Whether it said when to come again.
    pub(crate) says_when: bool,
}

/// A connection to one address, opened when it is needed.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    patience: Duration,
    stream: Option<TcpStream>,
    bytes: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr, patience: Duration) -> Self {
        Self { address, patience, stream: None, bytes: Vec::new() }
    }

    /// Sends a request and reads its answer; after an error the next request has a new connection.
    ///
    /// A kept connection that the server has closed in the meantime is replaced once, as browsers do.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        let kept = self.stream.is_some();
        match self.exchange(request) {
            Err(error) if kept && is_closed(&error) && self.bytes.is_empty() => {
                self.stream = None;
                self.exchange(request).inspect_err(|_| self.stream = None)
            }
            it => it.inspect_err(|_| self.stream = None),
        }
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.bytes.clear();
        let stream = match &mut self.stream {
            Some(it) => it,
            none => {
                let it = TcpStream::connect_timeout(&self.address, self.patience)?;
                it.set_nodelay(true)?;
                it.set_read_timeout(Some(self.patience))?;
                it.set_write_timeout(Some(self.patience))?;
                none.insert(it)
            }
        };
        stream.write_all(request)?;
        let mut first_byte = None;
        let mut part = [0; 16 * 1024];
        loop {
            let read = stream.read(&mut part)?;
            let at = *first_byte.get_or_insert_with(Instant::now);
            self.bytes.extend_from_slice(&part[..read]);
            let Some(head) = head(&self.bytes)? else {
                if read == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                continue;
            };
            let end = match head.length {
                Length::Known(length) => Some(head.size + length),
                Length::Chunks => chunks_end(&self.bytes[head.size..])?.map(|it| head.size + it),
                Length::ToTheEnd => (read == 0).then_some(self.bytes.len()),
            };
            if let Some(end) = end.filter(|it| *it <= self.bytes.len()) {
                if head.closes {
                    self.stream = None;
                }
                let body = end - head.size;
                return Ok(Answer {
                    status: head.status,
                    instance: head.instance,
                    first_byte: at,
                    body,
                    says_when: head.says_when,
                });
            }
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[derive(Debug, Eq, PartialEq)]
enum Length {
    Known(usize),
    Chunks,
    ToTheEnd,
}

#[derive(Debug, Eq, PartialEq)]
struct Head {
    size: usize,
    status: u16,
    instance: String,
    length: Length,
    closes: bool,
    says_when: bool,
}

/// `None` while the head is not whole.
fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let Some(size) = bytes.windows(4).position(|it| it == b"\r\n\r\n").map(|it| it + 4) else {
        return Ok(None);
    };
    let text = str::from_utf8(&bytes[..size]).map_err(|_| bad("a head that is no text"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|it| it.split(' ').nth(1)?.parse().ok());
    let status: u16 = status.ok_or_else(|| bad("no status"))?;
    let (instance, length) = (String::new(), Length::ToTheEnd);
    let mut head = Head { size, status, instance, length, closes: false, says_when: false };
    for (name, value) in lines.filter_map(|it| it.split_once(':')) {
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        match name.as_str() {
            "x-store-instance" => value.clone_into(&mut head.instance),
            "content-length" if head.length == Length::ToTheEnd => {
                head.length = Length::Known(value.parse().map_err(|_| bad("no length"))?);
            }
            "transfer-encoding" => head.length = Length::Chunks,
            "retry-after" => head.says_when = true,
            "connection" => head.closes = value.eq_ignore_ascii_case("close"),
            _ => (),
        }
    }
    if status == 204 || status == 304 {
        head.length = Length::Known(0);
    }
    head.closes |= head.length == Length::ToTheEnd;
    Ok(Some(head))
}

/// Where the last chunk ends, `None` while it is not there; trailers are not expected.
fn chunks_end(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut at = 0;
    loop {
        let Some(line) = bytes[at..].windows(2).position(|it| it == b"\r\n") else {
            return Ok(None);
        };
        let size = str::from_utf8(&bytes[at..at + line]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| bad("no chunk"))?;
        at += line + 2 + size + 2;
        if bytes.len() < at {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// A server that sends these texts, one per request, and then closes.
    fn server(answers: &'static [&'static str], connections: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for _ in 0..connections {
                let (mut stream, _) = listener.accept().unwrap();
                for answer in answers {
                    let mut request = [0; 1024];
                    if stream.read(&mut request).unwrap_or(0) == 0 {
                        break;
                    }
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        address
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn answers_are_read_whatever_tells_their_length_and_the_connection_is_kept() {
        let address = server(
            &[
                "HTTP/1.1 200 OK\r\nX-Store-Instance: store-2\r\nContent-Length: 2\r\n\r\nok",
                "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
                "HTTP/1.1 204 No Content\r\n\r\n",
                "HTTP/1.0 200 OK\r\n\r\nto the end",
            ],
            1,
        );
        let mut connection = Connection::new(address, PATIENCE);
        let mut seen = Vec::new();
        for _ in 0..4 {
            let it = connection.ask(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            seen.push((it.status, it.instance, it.body));
        }
        let expected = [(200, "store-2", 2), (503, "", 18), (204, "", 0), (200, "", 10)];
        assert_eq!(seen, expected.map(|(status, it, body)| (status, it.to_owned(), body)));
    }

    #[test]
    fn a_connection_closed_while_idle_is_replaced() {
        let address = server(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], 2);
        let mut connection = Connection::new(address, PATIENCE);
        for _ in 0..2 {
            assert_eq!(connection.ask(b"GET / HTTP/1.1\r\n\r\n").unwrap().status, 200);
        }
    }

    #[test]
    fn an_answer_that_is_cut_is_an_error() {
        let address = server(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"], 1);
        let error = Connection::new(address, PATIENCE).ask(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
