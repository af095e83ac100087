//! `If-Match` and its relatives: whether a file is sent at all.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::engine::exchange::Exchange;
use crate::engine::h1::field::Name;

/// How `If-Modified-Since` is compared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Since {
    /// It is not.
    Off,
    /// It must be the file's own time.
    #[default]
    Exact,
    /// It must not be before the file's time.
    Before,
}

/// What stands in a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a> {
    /// `If-Match`
    pub matches: Option<&'a [u8]>,
    /// `If-None-Match`
    pub none_match: Option<&'a [u8]>,
    /// `If-Modified-Since`
    pub modified_since: Option<&'a [u8]>,
    /// `If-Unmodified-Since`
    pub unmodified_since: Option<&'a [u8]>,
}

/// Seconds since 1970 of a date in a header.
pub fn seconds(value: &[u8]) -> Option<u64> {
    let time: SystemTime = httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|it| it.as_secs())
}

impl<'a> Conditions<'a> {
    /// Those of a request.
    pub fn of(exchange: &'a Exchange) -> Self {
        let line = |name| {
            let field = exchange.request.fields.iter().find(|it| it.known == name);
            field.filter(|_| exchange.request.has(name)).map(|it| exchange.text(it.value))
        };
        Self {
            matches: line(Name::IfMatch),
            none_match: line(Name::IfNoneMatch),
            modified_since: line(Name::IfModifiedSince),
            unmodified_since: line(Name::IfUnmodifiedSince),
        }
    }

    /// The status to send instead of an answer that was changed then and has this tag: 412, 304,
    /// or none.
    ///
    /// Source: nginx `ngx_http_not_modified_filter_module.c`,
    /// `ngx_http_not_modified_header_filter`.
    pub fn status(&self, modified: Option<u64>, etag: Option<&[u8]>, since: Since) -> Option<u16> {
        if self
            .unmodified_since
            .is_some_and(|it| seconds(it).zip(modified).is_none_or(|(it, modified)| it < modified))
            || self.matches.is_some_and(|it| !lists(it, etag, false))
        {
            return Some(412);
        }
        if self.modified_since.is_none() && self.none_match.is_none() {
            return None;
        }
        let is_same = |it: &[u8]| match since {
            Since::Off => false,
            Since::Exact => modified.is_some() && seconds(it) == modified,
            Since::Before => seconds(it).zip(modified).is_some_and(|(it, modified)| it >= modified),
        };
        let is_kept = self.modified_since.is_none_or(is_same)
            && self.none_match.is_none_or(|it| lists(it, etag, true));
        is_kept.then_some(304)
    }
}

/// Whether a list of tags has this one in it.
fn lists(value: &[u8], etag: Option<&[u8]>, is_weak: bool) -> bool {
    if value == b"*" {
        return true;
    }
    let Some(etag) = etag else { return false };
    let bare = |it: &'_ [u8]| -> Vec<u8> {
        let it = it.trim_ascii();
        if is_weak { it.strip_prefix(b"W/").unwrap_or(it).to_vec() } else { it.to_vec() }
    };
    value.split(|it| *it == b',').any(|it| bare(it) == bare(etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of [`DATE`].
    const TIME: u64 = 784_111_777;
    const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &[u8] = b"Sun, 06 Nov 1994 08:49:38 GMT";

    #[track_caller]
    fn check(conditions: Conditions<'_>, since: Since, expected: Option<u16>) {
        assert_eq!(
            conditions.status(Some(TIME), Some(b"\"a\""), since),
            expected,
            "{conditions:?}"
        );
    }

    #[test]
    fn a_file_of_the_same_time_is_not_sent_again() {
        let at = |date| Conditions { modified_since: Some(date), ..Conditions::default() };
        check(at(DATE), Since::Exact, Some(304));
        check(at(LATER), Since::Exact, None);
        check(at(LATER), Since::Before, Some(304));
        check(at(DATE), Since::Off, None);
        check(at(b"never"), Since::Before, None);
    }

    #[test]
    fn tags_are_compared_in_a_list() {
        let none = |tags| Conditions { none_match: Some(tags), ..Conditions::default() };
        check(none(b"\"b\", W/\"a\""), Since::Exact, Some(304));
        check(none(b"\"b\""), Since::Exact, None);
        let any = |tags| Conditions { matches: Some(tags), ..Conditions::default() };
        check(any(b"W/\"a\""), Since::Exact, Some(412));
        check(any(b"*"), Since::Exact, None);
        let both = Conditions { modified_since: Some(LATER), ..none(b"\"a\"") };
        check(both, Since::Exact, None);
    }

    #[test]
    fn a_newer_file_fails_a_precondition() {
        let at = |date| Conditions { unmodified_since: Some(date), ..Conditions::default() };
        check(at(DATE), Since::Exact, None);
        check(at(b"Sun, 06 Nov 1994 08:49:36 GMT"), Since::Exact, Some(412));
    }
}
