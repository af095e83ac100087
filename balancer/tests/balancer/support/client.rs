//! A client that sends exactly what it is given and checks the framing of what it gets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::PATIENCE;

/// An answer as it arrived.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and header lines, the empty line included.
    pub(crate) head: String,
    /// Without its framing.
    pub(crate) body: Vec<u8>,
    /// Whether the body came to the end its head announces.
    pub(crate) is_whole: bool,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The value of a header line, its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|it| {
            let (found, value) = it.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// Header names in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.head.lines().filter_map(|it| it.split_once(": ")).map(|it| it.0).collect()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, input: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Asks for a path and waits for the answer; the connection stays.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: client\r\n\r\n")).answer()
    }

    /// Sends a body and waits for the answer; the connection stays.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nHost: client\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .answer()
    }

    /// Reads one answer to a request that is not HEAD. Panics when not even its head comes.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.read_answer(true).expect("an answer")
    }

    /// Reads the answer to a HEAD request.
    #[track_caller]
    pub(crate) fn answer_to_head(&mut self) -> Answer {
        self.read_answer(false).expect("an answer")
    }

    /// Reads one answer, `None` when the connection ends first.
    pub(crate) fn try_answer(&mut self) -> Option<Answer> {
        self.read_answer(true)
    }

    fn read_answer(&mut self, has_body: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.input.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill() {
                return None;
            }
        };
        let head = String::from_utf8(self.input.drain(..end).collect()).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new(), is_whole: true };
        if !has_body || status < 200 || matches!(status, 204 | 304) {
            return Some(answer);
        }
        if answer.field("transfer-encoding") == Some("chunked") {
            answer.is_whole = self.read_chunks(&mut answer.body);
        } else if let Some(length) = answer.field("content-length") {
            let length: usize = length.parse().unwrap();
            while self.input.len() < length && self.fill() {}
            let have = length.min(self.input.len());
            answer.body = self.input.drain(..have).collect();
            answer.is_whole = have == length;
        } else {
            while self.fill() {}
            answer.body = std::mem::take(&mut self.input);
        }
        Some(answer)
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> bool {
        loop {
            let line = loop {
                match self.input.windows(2).position(|it| it == b"\r\n") {
                    Some(at) => break at,
                    None if !self.fill() => return false,
                    None => {}
                }
            };
            let size: Vec<u8> = self.input.drain(..line + 2).collect();
            let size = std::str::from_utf8(&size[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            while self.input.len() < size + 2 {
                if !self.fill() {
                    body.append(&mut self.input);
                    return false;
                }
            }
            body.extend(self.input.drain(..size));
            assert_eq!(self.input.drain(..2).collect::<Vec<_>>(), b"\r\n");
            if size == 0 {
                return true;
            }
        }
    }

    /// Reads once; false at the end of the connection.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(read) => {
                self.input.extend_from_slice(&buffer[..read]);
                read > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("nothing to read: {error}"),
        }
    }

    /// Reads until at least `count` bytes are there and takes them.
    #[track_caller]
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.input.len() < count {
            assert!(self.fill(), "the connection ended");
        }
        self.input.drain(..count).collect()
    }

    /// Whether nothing more comes and the other side ends the connection.
    #[track_caller]
    pub(crate) fn is_ended(&mut self) -> bool {
        self.input.is_empty() && !self.fill()
    }

    /// Resets the connection, as a browser that is closed does.
    pub(crate) fn abort(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Ends our side only.
    pub(crate) fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}
