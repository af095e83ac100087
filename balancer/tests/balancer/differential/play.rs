//! One program plays one case.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::account::Account;
use super::case::{Case, Talk};
use super::server::{Program, Server};
use super::upstream::{Asked, Upstream};
use crate::support::{eventually, free_port};

/// Between two pieces that shall arrive apart.
pub(super) const PAUSE: Duration = Duration::from_millis(60);

/// Longest wait for the end of an answer; what is open after it is told as such.
const OPEN: Duration = Duration::from_secs(5);

/// Starts the program and its upstreams, sends everything, and tells what was seen.
#[track_caller]
pub(super) fn play(case: &Case, program: &Program) -> Account {
    for _ in 0..5 {
        if let Some(account) = try_play(case, program) {
            return account;
        }
    }
    panic!("no port is free")
}

#[track_caller]
fn try_play(case: &Case, program: &Program) -> Option<Account> {
    let folder = tempfile::tempdir().unwrap();
    for (path, bytes) in &case.files {
        let path = folder.path().join(path);
        if path.to_string_lossy().ends_with('/') {
            fs::create_dir_all(path).unwrap();
            continue;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        // The same for both programs: it is seen in Last-Modified and ETag.
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    let asked = Asked::default();
    let upstreams: Vec<_> = case
        .upstreams
        .iter()
        .map(|(name, scripts)| {
            (name.clone(), Upstream::start(name, scripts, &asked, !case.stream.is_empty()))
        })
        .collect();
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let mut names: Vec<(String, String)> = upstreams
        .iter()
        .map(|(name, it)| (format!("%{name}%"), format!("127.0.0.1:{}", it.port)))
        .collect();
    names.push(("%DEAD%".to_owned(), format!("127.0.0.1:{}", ports[2])));
    names.push(("%PORT2%".to_owned(), ports[1].to_string()));
    names.push(("%PORT%".to_owned(), ports[0].to_string()));
    names.push(("%DIR%".to_owned(), folder.path().display().to_string()));
    let fill = |text: &str| names.iter().fold(text.to_owned(), |it, (k, v)| it.replace(k, v));
    let mut account = Account::new(names.clone(), case);
    let server = match Server::start(program, case, folder.path(), &fill) {
        Ok(server) => server,
        Err(said) if said.contains("Address already in use") => return None,
        Err(said) => {
            account.refused(&said);
            return Some(account);
        }
    };
    for talk in &case.talks {
        let before = asked.lock().unwrap().len();
        let second = talk.flags.iter().any(|it| it == "second");
        let received = converse(talk, ports[usize::from(second)], &names, &asked, before);
        account.talk(&talk.label, &received);
        if !case.stream.is_empty() {
            continue;
        }
        let mut asked = asked.lock().unwrap();
        if talk.flags.iter().any(|it| it == "abreast") {
            asked[before..].sort();
        }
        for (name, bytes) in &asked[before..] {
            account.asked(name, bytes);
        }
    }
    server.end(&ports);
    if !case.stream.is_empty() {
        let is_over = || !upstreams.iter().any(|(_, it)| it.is_serving());
        eventually("connections to upstreams end", is_over);
        for (name, bytes) in &*asked.lock().unwrap() {
            account.asked(name, bytes);
        }
    }
    account.logs(folder.path());
    Some(account)
}

/// Everything that one connection gives, until its end.
fn converse(
    talk: &Talk,
    port: u16,
    names: &[(String, String)],
    asked: &Asked,
    before: usize,
) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let received = Arc::new(Mutex::new((Vec::new(), false)));
    let mut reader = stream.try_clone().unwrap();
    reader.set_read_timeout(Some(OPEN)).unwrap();
    let kept = Arc::clone(&received);
    let reading = thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => kept.lock().unwrap().0.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let text: &[u8] = match error.kind() {
                        ErrorKind::ConnectionReset => b"[reset]",
                        _ => b"[still open]",
                    };
                    kept.lock().unwrap().0.extend_from_slice(text);
                    return;
                }
            }
        }
    });
    for (n, part) in talk.parts.iter().enumerate() {
        if 0 < n {
            thread::sleep(PAUSE);
        }
        let wanted = talk.flags.iter().skip_while(|it| *it != "after").nth(1);
        if let Some(wanted) = wanted.filter(|_| n + 1 == talk.parts.len()) {
            let wanted: usize = wanted.parse().unwrap();
            eventually("the first answer comes", || wanted <= received.lock().unwrap().0.len());
        }
        let part = names.iter().fold(part.clone(), |it, (k, v)| replace(&it, k.as_bytes(), v));
        // A server that has closed already is seen by what it sent.
        if stream.write_all(&part).is_err() {
            break;
        }
    }
    let has = |flag: &str| talk.flags.iter().any(|it| it == flag);
    if has("asked") || has("leave") {
        let until = Instant::now() + OPEN;
        while Instant::now() < until && asked.lock().unwrap().len() == before {
            thread::sleep(Duration::from_millis(1));
        }
    }
    if has("half") {
        let _ = stream.shutdown(Shutdown::Write);
    }
    if has("leave") {
        thread::sleep(PAUSE);
        let _ = stream.shutdown(Shutdown::Both);
    }
    reading.join().unwrap();

    received.lock().unwrap().0.clone()
}

fn replace(bytes: &[u8], from: &[u8], to: &str) -> Vec<u8> {
    let mut whole = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|it| it == from) {
        whole.extend_from_slice(&rest[..at]);
        whole.extend_from_slice(to.as_bytes());
        rest = &rest[at + from.len()..];
    }
    whole.extend_from_slice(rest);
    whole
}
