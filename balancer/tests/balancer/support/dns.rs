//! A name server whose answers a test decides.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What it says of a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Says {
    pub(crate) addresses: Vec<IpAddr>,
    /// Priority, weight, port and target of a service.
    pub(crate) services: Vec<(u16, u16, u16, String)>,
    pub(crate) alias: Option<String>,
    pub(crate) ttl: u32,
    /// Says nothing at all.
    pub(crate) is_silent: bool,
    /// Says it over TCP only.
    pub(crate) is_long: bool,
    /// Says that it cannot say.
    pub(crate) fails: bool,
}

#[derive(Debug, Default)]
struct State {
    names: Mutex<BTreeMap<String, Says>>,
    asked: Mutex<Vec<(String, u16)>>,
    is_closing: AtomicBool,
}

/// One name server, over UDP and TCP on the same port.
#[derive(Debug)]
pub(crate) struct Dns {
    pub(crate) port: u16,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

impl Dns {
    /// Listens; it knows no name yet.
    pub(crate) fn start() -> Self {
        Self::at(0)
    }

    /// As [`Dns::start`], on a certain port.
    pub(crate) fn at(port: u16) -> Self {
        // The port is to be free for both protocols.
        let (tcp, udp) = (0..50)
            .find_map(|_| {
                let tcp = TcpListener::bind(("127.0.0.1", port)).unwrap();
                let udp = UdpSocket::bind(tcp.local_addr().unwrap()).ok()?;
                Some((tcp, udp))
            })
            .unwrap();
        let port = tcp.local_addr().unwrap().port();
        let state = Arc::<State>::default();
        udp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let (for_udp, for_tcp) = (Arc::clone(&state), Arc::clone(&state));
        let datagrams = thread::spawn(move || {
            let mut bytes = [0; 2048];
            while !for_udp.is_closing.load(Ordering::SeqCst) {
                let Ok((length, from)) = udp.recv_from(&mut bytes) else { continue };
                if let Some(answer) = for_udp.answer(&bytes[..length], true) {
                    udp.send_to(&answer, from).unwrap();
                }
            }
        });
        let streams = thread::spawn(move || {
            while !for_tcp.is_closing.load(Ordering::SeqCst) {
                let Ok((mut stream, _)) = tcp.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut bytes).unwrap();
                let answer = for_tcp.answer(&bytes, false).unwrap();
                stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        Self { port, state, threads: vec![datagrams, streams] }
    }

    /// Says this of a name from now on.
    pub(crate) fn says(&self, name: &str, says: Says) {
        self.state.names.lock().unwrap().insert(name.to_owned(), says);
    }

    /// These addresses are those of a name from now on, for one second.
    pub(crate) fn knows(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        self.says(name, Says { addresses, ttl: 1, ..Says::default() });
    }

    /// How often it was asked for a name and a kind of record.
    pub(crate) fn asked(&self, name: &str, kind: u16) -> usize {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|it| it.0 == name && it.1 == kind).count()
    }
}

impl State {
    fn answer(&self, question: &[u8], is_datagram: bool) -> Option<Vec<u8>> {
        let (mut at, mut labels) = (12, Vec::new());
        while question[at] > 0 {
            let end = at + 1 + usize::from(question[at]);
            labels.push(String::from_utf8(question[at + 1..end].to_vec()).unwrap());
            at = end;
        }
        let name = labels.join(".");
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        self.asked.lock().unwrap().push((name.clone(), kind));
        let says = self.names.lock().unwrap().get(&name).cloned();
        let mut answer = question[..at + 5].to_vec();
        answer[2] = 0x81;
        answer[3] = if says.is_some() { 0x80 } else { 0x83 };
        let says = says.unwrap_or_default();
        if says.is_silent {
            return None;
        }
        if says.fails {
            answer[3] = 0x82;
            return Some(answer);
        }
        if says.is_long && is_datagram {
            answer[2] |= 2;
            return Some(answer);
        }
        let mut records: Vec<(u16, Vec<u8>)> = Vec::new();
        if let Some(alias) = &says.alias {
            records.push((5, encoded(alias)));
        }
        for address in &says.addresses {
            match address {
                IpAddr::V4(ip) if kind == 1 => records.push((1, ip.octets().to_vec())),
                IpAddr::V6(ip) if kind == 28 => records.push((28, ip.octets().to_vec())),
                _ => {}
            }
        }
        for (priority, weight, port, target) in says.services.iter().filter(|_| kind == 33) {
            let numbers = [priority.to_be_bytes(), weight.to_be_bytes(), port.to_be_bytes()];
            records.push((33, [numbers.concat(), encoded(target)].concat()));
        }
        answer[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&[0, 1]);
            answer.extend_from_slice(&says.ttl.to_be_bytes());
            answer.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend_from_slice(&data);
        }
        Some(answer)
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.state.is_closing.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
