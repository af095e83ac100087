//! `geo`: a variable whose value depends on an address.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use super::{Compute, Names, Subject, Template, definable};
use crate::conf::{ConfError, Directive, Reading, Word};

use self::ranges::Ranges;

mod ranges;

/// A `geo` as it is written.
#[derive(Clone, Debug)]
pub struct Block {
    /// The variable's name.
    pub name: String,
    /// The name of the variable that holds the address.
    source: Option<Word>,
    lines: Lines,
}

#[derive(Clone, Debug, Default)]
struct Lines {
    is_volatile: bool,
    has_ranges: bool,
    is_recursive: bool,
    default: Option<Vec<u8>>,
    proxies: Vec<Network>,
    networks: Networks,
    ranges: Ranges,
}

/// Values by network: for each length of prefix, longest first, the values by prefix.
#[derive(Clone, Debug, Default)]
struct Networks {
    v4: BTreeMap<std::cmp::Reverse<u8>, HashMap<u128, Vec<u8>>>,
    v6: BTreeMap<std::cmp::Reverse<u8>, HashMap<u128, Vec<u8>>>,
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    is_v4: bool,
    bits: u128,
    length: u8,
}

/// An address as a number, IPv4 at the upper end.
fn bits(address: IpAddr) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(it) => (true, u128::from(it.to_bits()) << 96),
        IpAddr::V6(it) => (false, it.to_bits()),
    }
}

fn mask(length: u8) -> u128 {
    if length == 0 { 0 } else { u128::MAX << (128 - u32::from(length)) }
}

impl Network {
    /// `address` or `address/length`, and whether bits beyond the length were set.
    #[must_use]
    pub fn parse(text: &str) -> Option<(Self, bool)> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let (is_v4, bits) = match address.parse().ok()? {
            IpAddr::V4(it) => (true, u128::from(it.to_bits()) << 96),
            IpAddr::V6(it) => (false, it.to_bits()),
        };
        let longest = if is_v4 { 32 } else { 128 };
        let length = match length {
            None => longest,
            Some(it) => {
                it.parse::<u8>().ok().filter(|_| it.bytes().all(|it| it.is_ascii_digit()))?
            }
        };
        if longest < length {
            return None;
        }
        let kept = bits & mask(length);
        Some((Self { is_v4, bits: kept, length }, kept != bits))
    }

    /// Whether an address is one of these.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (is_v4, bits) = bits(address);
        is_v4 == self.is_v4 && bits & mask(self.length) == self.bits
    }
}

impl Networks {
    fn of(&mut self, network: Network) -> &mut HashMap<u128, Vec<u8>> {
        let lengths = if network.is_v4 { &mut self.v4 } else { &mut self.v6 };
        lengths.entry(std::cmp::Reverse(network.length)).or_default()
    }

    fn find(&self, address: IpAddr) -> Option<&Vec<u8>> {
        let (is_v4, bits) = bits(address);
        let lengths = if is_v4 { &self.v4 } else { &self.v6 };
        lengths.iter().find_map(|(length, values)| values.get(&(bits & mask(length.0))))
    }
}

impl Block {
    /// Reads a block.
    ///
    /// Source: nginx `ngx_http_geo_module.c`, `ngx_http_geo_block` and `ngx_http_geo`.
    pub fn read<S: Subject>(
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<Self, ConfError> {
        let (source, name) = match directive.arguments() {
            [name] => (None, name),
            [source, name, ..] => (Some(source.clone()), name),
            [] => return Err(directive.refuse("invalid value")),
        };
        let name = definable::<S>(name)?;
        reading.define(&name);
        let mut lines = Lines::default();
        for line in directive.entries() {
            if let Err(problem) = lines.add(line?, S::FORWARDED.is_some()) {
                if problem.level == crate::conf::Level::Emerg {
                    return Err(problem);
                }
                reading.tell(problem);
            }
        }
        Ok(Self { name, source, lines })
    }

    /// Looks the variables up.
    pub fn compile<S: Subject>(&self, names: &Names<S>) -> Result<Geo<S>, ConfError> {
        let template = |text: &str| {
            let compiled = Template::compile(text, names);
            compiled.map_err(|bad| ConfError::unplaced(bad.to_string()))
        };
        let source = self.source.as_ref().map_or("$remote_addr", Word::as_str);
        let forwarded = S::FORWARDED.filter(|_| !self.lines.proxies.is_empty());
        Ok(Geo {
            source: template(source)?,
            forwarded: forwarded.map(template).transpose()?,
            lines: self.lines.clone(),
        })
    }
}

impl Lines {
    /// Only a subject that proxies can forward knows `proxy` lines.
    fn add(&mut self, line: &Directive, has_proxies: bool) -> Result<(), ConfError> {
        let key = line.name();
        if let [_] = line.words.as_slice() {
            match key.as_str() {
                "ranges" => self.has_ranges = true,
                "proxy_recursive" if has_proxies => self.is_recursive = true,
                "volatile" => self.is_volatile = true,
                _ => return Err(key.refuse("invalid number of the geo parameters")),
            }
            return Ok(());
        }
        let [_, value] = line.words.as_slice() else {
            return Err(key.refuse("invalid number of the geo parameters"));
        };
        match key.as_str() {
            "proxy" if has_proxies => {
                let (network, problem) = network(value)?;
                self.proxies.push(network);
                return problem.map_or(Ok(()), Err);
            }
            "default" => {
                let old = self.default.replace(value.as_bytes().to_vec());
                return duplicate(key, "network", value, old.as_deref());
            }
            _ => {}
        }
        if self.has_ranges {
            return self.range(key, value);
        }
        if *key == "delete" {
            let (network, _) = network(value)?;
            let text = format!("no network \"{value}\" to delete");
            let found = self.networks.of(network).remove(&network.bits);
            return found.map_or_else(|| Err(value.refuse(text).warning()), |_| Ok(()));
        }
        let (network, problem) = network(key)?;
        let old = self.networks.of(network).insert(network.bits, value.as_bytes().to_vec());
        problem.map_or_else(|| duplicate(key, "network", value, old.as_deref()), Err)
    }

    fn range(&mut self, key: &Word, value: &Word) -> Result<(), ConfError> {
        let is_deleted = *key == "delete";
        let word = if is_deleted { value } else { key };
        let bounds = word.split_once('-').and_then(|(first, last)| {
            let first: Ipv4Addr = first.parse().ok()?;
            let last: Ipv4Addr = last.parse().ok()?;
            (first <= last).then(|| (first.to_bits(), last.to_bits()))
        });
        let refuse = || word.refuse(format!("invalid range \"{word}\""));
        let (first, last) = bounds.ok_or_else(refuse)?;
        if is_deleted {
            let text = || format!("no address range \"{word}\" to delete");
            let is_removed = self.ranges.remove(first, last);
            return if is_removed { Ok(()) } else { Err(word.refuse(text()).warning()) };
        }
        let old = self.ranges.set(first, last, value.as_bytes().to_vec());
        duplicate(key, "range", value, old.as_deref())
    }

    fn find(&self, address: IpAddr) -> Option<&Vec<u8>> {
        let found = if self.has_ranges {
            let (is_v4, bits) = bits(address);
            let number = u32::try_from(bits >> 96).unwrap_or(u32::MAX);
            is_v4.then(|| self.ranges.find(number)).flatten()
        } else {
            self.networks.find(address)
        };
        found.or(self.default.as_ref())
    }
}

/// A network, and a warning where bits beyond its length are set.
fn network(word: &Word) -> Result<(Network, Option<ConfError>), ConfError> {
    // nginx's word for every address.
    if *word == "255.255.255.255" {
        let all = Network { is_v4: true, bits: u128::from(u32::MAX) << 96, length: 32 };
        return Ok((all, None));
    }
    let refuse = || word.refuse(format!("invalid network \"{word}\""));
    let (network, has_low_bits) = Network::parse(word).ok_or_else(refuse)?;
    let text = || word.refuse(format!("low address bits of {word} are meaningless")).warning();
    Ok((network, has_low_bits.then(text)))
}

fn duplicate(key: &Word, kind: &str, value: &Word, old: Option<&[u8]>) -> Result<(), ConfError> {
    let Some(old) = old else { return Ok(()) };
    let old = String::from_utf8_lossy(old);
    let text = format!("duplicate {kind} \"{key}\", value: \"{value}\", old value: \"{old}\"");
    Err(key.refuse(text).warning())
}

/// A `geo`, ready to be looked into.
#[derive(Debug)]
pub struct Geo<S> {
    source: Template<S>,
    /// Where proxies say whom they ask for.
    forwarded: Option<Template<S>>,
    lines: Lines,
}

impl<S: Subject> Geo<S> {
    /// The address that counts: the one before the last trusted proxy, or before all of them.
    fn address(&self, subject: &S) -> IpAddr {
        let text = self.source.value(subject);
        let parse = |it: &[u8]| str::from_utf8(it).ok().and_then(|it| it.trim().parse().ok());
        let mut address = parse(&text).unwrap_or(IpAddr::V4(Ipv4Addr::BROADCAST));
        let Some(forwarded) = &self.forwarded else { return address };
        let list = forwarded.value(subject);
        for word in list.rsplit(|it| *it == b',') {
            let Some(next) = parse(word) else { break };
            if !self.lines.proxies.iter().any(|it| it.contains(address)) {
                break;
            }
            address = next;
            if !self.lines.is_recursive {
                break;
            }
        }
        address
    }
}

impl<S: Subject> Compute<S> for Geo<S> {
    fn compute(&self, subject: &S, out: &mut Vec<u8>) -> bool {
        let found = self.lines.find(self.address(subject));
        out.extend_from_slice(found.map_or(b"", Vec::as_slice));
        true
    }

    fn is_volatile(&self) -> bool {
        self.lines.is_volatile
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_with_a_length() {
        let contains = |network: &str, address: &str| {
            Network::parse(network).unwrap().0.contains(address.parse().unwrap())
        };
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.0.0.1", "::ffff:10.0.0.1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::"));
        assert!(contains("0.0.0.0/0", "1.2.3.4") && !contains("0.0.0.0/0", "::1"));
        assert!(Network::parse("10.0.0.0/33").is_none() && Network::parse("x").is_none());
        assert!(Network::parse("10.0.0.1/24").unwrap().1);
    }
}
