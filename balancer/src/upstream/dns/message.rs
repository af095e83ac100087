//! DNS messages: a question as bytes, the records of its answer.
//!
//! Source: RFC 1035, sections 3 and 4; RFC 2782 for services. What cannot be read is no answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u16)]
pub enum Kind {
    /// IPv4 addresses.
    A = 1,
    /// IPv6 addresses.
    Aaaa = 28,
    /// Who offers a service.
    Srv = 33,
}

/// One of those that offer a service.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// The lowest number is asked first.
    pub priority: u16,
    /// Share among those of the same priority.
    pub weight: u16,
    /// Where it listens.
    pub port: u16,
    /// Its name.
    pub target: String,
}

/// What a server answered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reply {
    /// Whether there is more than fits into a datagram.
    pub is_truncated: bool,
    /// 0 when all is well, 3 when there is no such name.
    pub code: u8,
    /// Addresses of the kind that was asked for, in order.
    pub addresses: Vec<IpAddr>,
    /// Services, in order.
    pub services: Vec<Service>,
    /// The last of the names this one stands for.
    pub alias: Option<String>,
    /// Seconds for which all of that holds, names in between included; 0 when there is nothing.
    pub ttl: u32,
}

const HEAD: usize = 12;
const INTERNET: u16 = 1;
const CNAME: u16 = 5;
const LONGEST_LABEL: usize = 63;
/// A name is no longer than 255 bytes; nginx asks for longer ones, too.
const LONGEST_NAME: usize = 512;
/// More pointers than a name has labels lead in a circle.
const MOST_POINTERS: usize = 128;

/// The bytes of a question, `None` when the name cannot be asked for.
pub fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEAD + name.len() + 6);
    bytes.extend_from_slice(&id.to_be_bytes());
    // A plain query that wants recursion, with one question.
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let start = bytes.len();
    for label in name.trim_end_matches('.').split('.') {
        if label.is_empty() || LONGEST_LABEL < label.len() {
            return None;
        }
        bytes.push(u8::try_from(label.len()).ok()?);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    if LONGEST_NAME < bytes.len() - start {
        return None;
    }
    bytes.extend_from_slice(&(kind as u16).to_be_bytes());
    bytes.extend_from_slice(&INTERNET.to_be_bytes());
    Some(bytes)
}

/// The answer to `question`, `None` when these bytes are not that.
pub fn reply(bytes: &[u8], question: &[u8]) -> Option<Reply> {
    let is_answer = bytes.get(2)? & 0xf8 == 0x80;
    let same_id = bytes.get(..2)? == question.get(..2)?;
    let asked = question.get(HEAD..)?;
    let repeated = bytes.get(HEAD..HEAD + asked.len())?;
    let counts = word(bytes, 4)? == 1;
    if !is_answer || !same_id || !counts || !repeated.eq_ignore_ascii_case(asked) {
        return None;
    }
    let kind = word(asked, asked.len() - 4)?;
    let is_truncated = bytes[2] & 2 != 0;
    let mut reply = Reply { is_truncated, code: *bytes.get(3)? & 15, ..Reply::default() };
    let mut at = HEAD + asked.len();
    let mut ttl = None;
    for _ in 0..word(bytes, 6)? {
        // What is cut off is fetched in another way.
        let Some((record, next)) = record(bytes, at) else {
            return is_truncated.then_some(reply);
        };
        at = next;
        let data = &bytes[record.data.clone()];
        let is_asked_for = record.class == INTERNET && record.kind == kind;
        match (record.kind, data) {
            (1, data) if is_asked_for => {
                let octets: [u8; 4] = data.try_into().ok()?;
                reply.addresses.push(Ipv4Addr::from(octets).into());
            }
            (28, data) if is_asked_for => {
                let octets: [u8; 16] = data.try_into().ok()?;
                reply.addresses.push(Ipv6Addr::from(octets).into());
            }
            (33, data) if is_asked_for => {
                let (target, _) = name(bytes, record.data.start + 6)?;
                let (priority, weight) = (word(data, 0)?, word(data, 2)?);
                reply.services.push(Service { priority, weight, port: word(data, 4)?, target });
            }
            (CNAME, _) => reply.alias = Some(name(bytes, record.data.start)?.0),
            _ => {}
        }
        ttl = Some(ttl.unwrap_or(record.ttl).min(record.ttl));
    }
    reply.ttl = ttl.unwrap_or_default();
    Some(reply)
}

struct Record {
    kind: u16,
    class: u16,
    ttl: u32,
    data: std::ops::Range<usize>,
}

/// The record that begins at a place, and where the next one does.
fn record(bytes: &[u8], at: usize) -> Option<(Record, usize)> {
    let (_, at) = name(bytes, at)?;
    let ttl: [u8; 4] = bytes.get(at + 4..at + 8)?.try_into().ok()?;
    let start = at + 10;
    let end = start + usize::from(word(bytes, at + 8)?);
    bytes.get(start..end)?;
    // A lifetime with its highest bit set counts as none.
    let ttl = u32::try_from(i32::from_be_bytes(ttl)).unwrap_or_default();
    let (kind, class) = (word(bytes, at)?, word(bytes, at + 2)?);
    Some((Record { kind, class, ttl, data: start..end }, end))
}

/// The name that begins at a place, and what follows it there.
fn name(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = Vec::new();
    let mut end = None;
    for _ in 0..MOST_POINTERS {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => {
                let name = String::from_utf8(name).ok()?;
                return Some((name, end.unwrap_or(at + 1)));
            }
            0xc0.. => {
                end = end.or(Some(at + 2));
                at = usize::from(word(bytes, at)? & 0x3fff);
            }
            1..=LONGEST_LABEL => {
                if !name.is_empty() {
                    name.push(b'.');
                }
                name.extend_from_slice(bytes.get(at + 1..at + 1 + length)?);
                if LONGEST_NAME < name.len() {
                    return None;
                }
                at += 1 + length;
            }
            _ => return None,
        }
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let pair: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_be_bytes(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with these records: name, kind, lifetime, data.
    fn answer(question: &[u8], flags: [u8; 2], records: &[(&[u8], u16, u32, &[u8])]) -> Vec<u8> {
        let mut bytes = question.to_vec();
        bytes[2..4].copy_from_slice(&flags);
        bytes[7] = u8::try_from(records.len()).unwrap();
        for (name, kind, ttl, data) in records {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&[0, 1]);
            bytes.extend_from_slice(&ttl.to_be_bytes());
            bytes.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(data);
        }
        bytes
    }

    const SAME: &[u8] = &[0xc0, 12];
    const OK: [u8; 2] = [0x81, 0x80];

    #[test]
    fn addresses_are_read_with_the_shortest_lifetime() {
        let question = question(7, "a.example", Kind::A).unwrap();
        let records: &[(&[u8], _, _, &[u8])] = &[
            (SAME, 5, 5, b"\x01b\xc0\x0e"),
            (SAME, 1, 60, &[10, 0, 0, 1]),
            (SAME, 1, 30, &[10, 0, 0, 2]),
        ];
        let reply = reply(&answer(&question, OK, records), &question).unwrap();
        let expected: Vec<IpAddr> = vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()];
        assert_eq!((reply.addresses, reply.ttl), (expected, 5));
        assert_eq!(reply.alias.as_deref(), Some("b.example"));
    }

    #[test]
    fn services_name_their_target_and_port() {
        let question = question(7, "_http._tcp.a", Kind::Srv).unwrap();
        let data = b"\x00\x01\x00\x05\x1f\x90\x01b\x00";
        let reply = reply(&answer(&question, OK, &[(SAME, 33, 9, data)]), &question).unwrap();
        let target = "b".to_owned();
        assert_eq!(reply.services, [Service { priority: 1, weight: 5, port: 8080, target }]);
    }

    #[test]
    fn what_is_no_answer_to_the_question_is_passed_over() {
        let asked = question(7, "a", Kind::A).unwrap();
        assert_eq!(reply(&asked, &asked), None);
        let other = question(8, "a", Kind::A).unwrap();
        assert_eq!(reply(&answer(&other, OK, &[]), &asked), None);
        let other = question(7, "b", Kind::A).unwrap();
        assert_eq!(reply(&answer(&other, OK, &[]), &asked), None);
        let other = question(7, "a", Kind::Aaaa).unwrap();
        assert_eq!(reply(&answer(&other, OK, &[]), &asked), None);
        assert_eq!(reply(&answer(&asked, OK, &[(SAME, 1, 1, &[1, 2, 3])]), &asked), None);
    }

    #[test]
    fn a_name_that_leads_in_a_circle_and_cut_bytes_are_no_answer() {
        let asked = question(7, "a", Kind::A).unwrap();
        let circle = [0xc0, u8::try_from(asked.len()).unwrap()];
        assert_eq!(reply(&answer(&asked, OK, &[(&circle, 1, 1, &[1, 2, 3, 4])]), &asked), None);
        let whole = answer(&asked, OK, &[(SAME, 1, 1, &[1, 2, 3, 4])]);
        for length in 0..whole.len() {
            assert_eq!(reply(&whole[..length], &asked), None, "{length}");
        }
        let mut cut = whole[..whole.len() - 1].to_vec();
        cut[2] |= 2;
        assert!(reply(&cut, &asked).unwrap().is_truncated);
    }

    #[test]
    fn codes_are_told_and_odd_names_are_not_asked_for() {
        let asked = question(7, "under_score.a.", Kind::A).unwrap();
        assert_eq!(reply(&answer(&asked, [0x81, 0x83], &[]), &asked).unwrap().code, 3);
        assert_eq!(question(7, "a..b", Kind::A), None);
        assert_eq!(question(7, "", Kind::A), None);
        assert_eq!(question(7, &"a".repeat(64), Kind::A), None);
        assert_eq!(question(7, &"a.".repeat(256), Kind::A), None);
    }
}
