//! Which of the names that the engine acts on is a header line's?

/// Names the engine itself acts on; every other name is [`Name::Other`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each variant is the header of that name")]
pub enum Name {
    Other,
    AcceptRanges,
    Authorization,
    CacheControl,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentRange,
    ContentType,
    Cookie,
    Date,
    Etag,
    Expect,
    Expires,
    Host,
    IfMatch,
    IfModifiedSince,
    IfNoneMatch,
    IfRange,
    IfUnmodifiedSince,
    KeepAlive,
    LastModified,
    Location,
    ProxyAuthorization,
    ProxyConnection,
    Refresh,
    Server,
    SetCookie,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    Vary,
    XAccelBuffering,
    XAccelCharset,
    XAccelExpires,
    XAccelLimitRate,
    XAccelRedirect,
    XForwardedFor,
    XPad,
}

impl Name {
    /// Which of the known names this is, ignoring case; `hash` is [`hash`] of it.
    ///
    /// `name` has no control characters: they are the only bytes that could be taken for others.
    pub fn of(name: &[u8], hash: u32) -> Self {
        let mut slot = hash as usize % SLOTS;
        while let Some((text, known)) = KNOWN.get(usize::from(TABLE[slot])) {
            if is_same(name, text.as_bytes()) {
                return *known;
            }
            slot = (slot + 1) % SLOTS;
        }
        Self::Other
    }

    /// A bit of its own for each known name, to count lines with one word; 0 for other names.
    pub fn bit(self) -> u64 {
        if self == Self::Other { 0 } else { 1 << (self as u64) }
    }
}

/// Every known name, in lower case.
const KNOWN: &[(&str, Name)] = &[
    ("accept-ranges", Name::AcceptRanges),
    ("authorization", Name::Authorization),
    ("cache-control", Name::CacheControl),
    ("connection", Name::Connection),
    ("content-encoding", Name::ContentEncoding),
    ("content-length", Name::ContentLength),
    ("content-range", Name::ContentRange),
    ("content-type", Name::ContentType),
    ("cookie", Name::Cookie),
    ("date", Name::Date),
    ("etag", Name::Etag),
    ("expect", Name::Expect),
    ("expires", Name::Expires),
    ("host", Name::Host),
    ("if-match", Name::IfMatch),
    ("if-modified-since", Name::IfModifiedSince),
    ("if-none-match", Name::IfNoneMatch),
    ("if-range", Name::IfRange),
    ("if-unmodified-since", Name::IfUnmodifiedSince),
    ("keep-alive", Name::KeepAlive),
    ("last-modified", Name::LastModified),
    ("location", Name::Location),
    ("proxy-authorization", Name::ProxyAuthorization),
    ("proxy-connection", Name::ProxyConnection),
    ("refresh", Name::Refresh),
    ("server", Name::Server),
    ("set-cookie", Name::SetCookie),
    ("te", Name::Te),
    ("trailer", Name::Trailer),
    ("transfer-encoding", Name::TransferEncoding),
    ("upgrade", Name::Upgrade),
    ("vary", Name::Vary),
    ("x-accel-buffering", Name::XAccelBuffering),
    ("x-accel-charset", Name::XAccelCharset),
    ("x-accel-expires", Name::XAccelExpires),
    ("x-accel-limit-rate", Name::XAccelLimitRate),
    ("x-accel-redirect", Name::XAccelRedirect),
    ("x-forwarded-for", Name::XForwardedFor),
    ("x-pad", Name::XPad),
];

/// Places in the table of known names: a prime, several times their number.
const SLOTS: usize = 251;

/// For each hash modulo [`SLOTS`] the position of its name in [`KNOWN`], or one beyond its end.
/// Names that meet stand one after another.
const TABLE: [u8; SLOTS] = {
    let mut table = [u8::MAX; SLOTS];
    let mut at = 0;
    while at < KNOWN.len() {
        let mut slot = hash(KNOWN[at].0.as_bytes()) as usize % SLOTS;
        while table[slot] != u8::MAX {
            slot = (slot + 1) % SLOTS;
        }
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer than 255 names")]
        let position = at as u8;
        table[slot] = position;
        at += 1;
    }
    table
};

/// A word of eight equal bytes.
pub(super) const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Whether a name is `lower`, which is in lower case, ignoring case; a control character may pass
/// for another byte. Eight bytes at a time: a name is compared for each line of each head.
fn is_same(name: &[u8], lower: &[u8]) -> bool {
    if name.len() != lower.len() {
        return false;
    }
    let differs = |one: &[u8; 8], other: &[u8; 8]| {
        (u64::from_le_bytes(*one) | eight(0x20)) ^ u64::from_le_bytes(*other)
    };
    match (name.last_chunk(), lower.last_chunk()) {
        (Some(last), Some(lower_last)) => {
            let parts = name.as_chunks().0.iter().zip(lower.as_chunks().0);
            parts.fold(differs(last, lower_last), |all, (one, other)| all | differs(one, other))
                == 0
        }
        _ => name.iter().zip(lower).all(|(one, other)| one | 0x20 == *other),
    }
}

/// The hash by which fields are compared with the names of a configuration, ignoring case: of the
/// length and three bytes, as what it finds is compared as a whole.
pub const fn hash(name: &[u8]) -> u32 {
    let [.., last] = name else { return 0 };
    let (first, middle) = (name[0], name[name.len() / 2]);
    #[expect(clippy::cast_possible_truncation, reason = "a head is refused long before 4 GiB")]
    let length = name.len() as u32;
    mix(mix(mix(length, first), middle), *last)
}

const fn mix(hash: u32, byte: u8) -> u32 {
    hash.wrapping_mul(31).wrapping_add((byte | 0x20) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_and_no_other() {
        for (text, known) in KNOWN {
            let upper = text.to_ascii_uppercase();
            assert_eq!(Name::of(upper.as_bytes(), hash(text.as_bytes())), *known, "{text}");
            let other = format!("{}_", &text[1..]);
            assert_eq!(Name::of(other.as_bytes(), hash(text.as_bytes())), Name::Other, "{other}");
        }
    }
}
