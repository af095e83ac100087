//! W3C trace context: which trace does a request belong to, and which span is it a part of?
//!
//! Source: W3C Trace Context, level 1, section 3.2; nginx-otel `trace_context.hpp`.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};

/// A span as others are told of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Context {
    /// Of all spans of the trace.
    pub trace_id: [u8; 16],
    /// Of this one.
    pub span_id: [u8; 8],
    /// Whether it is recorded.
    pub is_sampled: bool,
    /// What systems tell each other of the trace.
    pub state: String,
}

impl Context {
    /// The first span of a new trace.
    #[must_use]
    pub fn root() -> Self {
        let mut trace_id = [0; 16];
        trace_id[..8].copy_from_slice(&random().to_be_bytes());
        trace_id[8..].copy_from_slice(&random().to_be_bytes());
        let span_id = random().to_be_bytes();
        Self { trace_id, span_id, is_sampled: false, state: String::new() }
    }

    /// A span that is part of this one.
    #[must_use]
    pub fn child(&self) -> Self {
        let span_id = random().to_be_bytes();
        Self { trace_id: self.trace_id, span_id, is_sampled: false, state: self.state.clone() }
    }

    /// What `traceparent` and `tracestate` say; `None` where it is nothing to go by.
    #[must_use]
    pub fn parse(parent: &[u8], state: &[u8]) -> Option<Self> {
        let mut parts = parent.split(|it| *it == b'-');
        let mut next = || parts.next();
        let (version, trace_id, span_id, flags) = (next()?, next()?, next()?, next()?);
        if version != b"00" || parts.next().is_some() {
            return None;
        }
        let [flags] = bytes::<1>(flags)?;
        let context = Self {
            trace_id: bytes(trace_id)?,
            span_id: bytes(span_id)?,
            is_sampled: flags & 1 == 1,
            state: String::from_utf8_lossy(state).into_owned(),
        };
        let is_valid = context.trace_id != [0; 16] && context.span_id != [0; 8];
        is_valid.then_some(context)
    }

    /// The value of `traceparent`.
    #[must_use]
    pub fn parent(&self) -> String {
        let flags = u8::from(self.is_sampled);
        format!("00-{}-{}-{flags:02x}", hex(&self.trace_id), hex(&self.span_id))
    }
}

/// The bytes of a text of that many in hexadecimal.
fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let digit = |it: u8| char::from(it).to_digit(16).and_then(|it| u8::try_from(it).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to memory does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A number that nobody guesses, other than zero, which no identifier may be.
fn random() -> u64 {
    RandomState::new().hash_one(()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01";

    #[track_caller]
    fn check(parent: &str, expected: Option<bool>) {
        let found = Context::parse(parent.as_bytes(), b"a=1");
        assert_eq!(found.map(|it| it.is_sampled), expected, "{parent}");
    }

    #[test]
    fn a_parent_is_read_and_written_alike() {
        let context = Context::parse(PARENT.as_bytes(), b"a=1,b=2").unwrap();
        assert_eq!((context.parent().as_str(), context.state.as_str()), (PARENT, "a=1,b=2"));
        check(&PARENT.to_ascii_uppercase(), Some(true));
        check(&PARENT.replace("-01", "-00"), Some(false));
        check(&PARENT.replace("-01", "-fd"), Some(true));
    }

    #[test]
    fn what_is_no_parent_begins_a_trace() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1",
            "01-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01",
            "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01-",
            "00-0af7651916cd43dd8448eb211c80319-b9c7c989f97918e1-01",
            "00-0af7651916cd43dd8448eb211c80319x-b9c7c989f97918e1-01",
            "00-00000000000000000000000000000000-b9c7c989f97918e1-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn a_child_stays_in_its_trace_and_has_a_name_of_its_own() {
        let root = Context::root();
        let child = root.child();
        assert_eq!(child.trace_id, root.trace_id);
        assert_ne!(child.span_id, root.span_id);
        assert_ne!(Context::root().trace_id, root.trace_id);
        assert_ne!(root.trace_id[..8], root.trace_id[8..]);
    }
}
