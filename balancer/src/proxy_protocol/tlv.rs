//! What version 2 says beside the addresses: lists of type, length and value.

use super::Header;

const SSL: u8 = 0x20;

/// Names of types.
///
/// Source: nginx `ngx_proxy_protocol.c`, `ngx_proxy_protocol_tlv_entries`.
const NAMES: &[(&str, u8)] =
    &[("alpn", 0x01), ("authority", 0x02), ("unique_id", 0x05), ("ssl", SSL), ("netns", 0x30)];

/// Names of types within the value of `ssl`.
const SSL_NAMES: &[(&str, u8)] =
    &[("version", 0x21), ("cn", 0x22), ("cipher", 0x23), ("sig_alg", 0x24), ("key_alg", 0x25)];

/// Bytes of the value of `ssl` before its own list: what the client did, and what was verified.
const SSL_START: usize = 5;

/// One value, as `$proxy_protocol_tlv_NAME` asks for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tlv {
    /// Of a type.
    Plain(u8),
    /// Of a type within `ssl`.
    Ssl(u8),
    /// Whether the client's certificate was verified: 0 if it was.
    SslVerify,
}

impl Tlv {
    /// What a name asks for: one of nginx's, or `0x` and the type.
    pub fn named(name: &str) -> Option<Self> {
        let find = |names: &[(&str, u8)], name: &str| match name.strip_prefix("0x") {
            Some(digits) => u8::from_str_radix(digits, 16).ok(),
            None => names.iter().find(|(it, _)| *it == name).map(|(_, kind)| *kind),
        };
        match name.strip_prefix("ssl_") {
            Some("verify") => Some(Self::SslVerify),
            Some(name) => find(SSL_NAMES, name).map(Self::Ssl),
            None => find(NAMES, name).map(Self::Plain),
        }
    }

    /// Appends the value that a name asks for; false when the header has none.
    pub fn write_named(header: &Header, name: &[u8], out: &mut Vec<u8>) -> bool {
        let tlv = str::from_utf8(name).ok().and_then(Self::named);
        tlv.is_some_and(|it| it.write(header, out))
    }

    /// Appends the value; false when the header has none.
    pub fn write(self, header: &Header, out: &mut Vec<u8>) -> bool {
        let ssl = || find(&header.tlvs, SSL)?.split_at_checked(SSL_START);
        let value = match self {
            Self::Plain(kind) => find(&header.tlvs, kind),
            Self::Ssl(kind) => ssl().and_then(|(_, list)| find(list, kind)),
            Self::SslVerify => {
                let Some((&[_, a, b, c, d], _)) = ssl() else { return false };
                let verified = u32::from_be_bytes([a, b, c, d]);
                out.extend_from_slice(verified.to_string().as_bytes());
                return true;
            }
        };
        out.extend_from_slice(value.unwrap_or_default());
        value.is_some()
    }
}

/// The first value of a type; `None` also when the list is cut off before it.
fn find(mut list: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        let (&[kind, high, low], rest) = list.split_first_chunk::<3>()?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length)?;
        if kind == wanted {
            return Some(value);
        }
        list = rest;
    }
}
