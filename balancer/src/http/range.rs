//! `Range`: which bytes of a file are asked for.

/// What a `Range` line asks of a body.
#[derive(Debug, Eq, PartialEq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// These bytes, from the first to before the second.
    Parts(Vec<(u64, u64)>),
    /// Bytes that are not there: 416.
    Nothing,
}

/// Reads the value of a `Range` line for a body of this length; at most `most` ranges are served.
///
/// Source: nginx `ngx_http_range_filter_module.c`, `ngx_http_range_parse`.
pub fn parse(value: &[u8], length: u64, most: u64) -> Wanted {
    let Some((unit, list)) = value.split_at_checked(6) else { return Wanted::Whole };
    if !unit.eq_ignore_ascii_case(b"bytes=") || most == 0 || value.len() < 7 {
        return Wanted::Whole;
    }
    let (mut parts, mut sum) = (Vec::new(), 0_u64);
    for item in list.split(|it| *it == b',') {
        let Some((start, end)) = one(item, length) else { return Wanted::Nothing };
        if start < end {
            if parts.len() as u64 == most {
                return Wanted::Whole;
            }
            parts.push((start, end));
            sum = sum.saturating_add(end - start);
        } else if start == 0 {
            return Wanted::Whole;
        }
    }
    match parts.len() {
        0 => Wanted::Nothing,
        _ if sum > length => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

/// One range, cut to the body; `None` where it is none.
fn one(item: &[u8], length: u64) -> Option<(u64, u64)> {
    let trim = |it: &[u8]| -> Vec<u8> {
        let from = it.iter().position(|it| *it != b' ').unwrap_or(it.len());
        let to = it.iter().rposition(|it| *it != b' ').map_or(from, |at| at + 1);
        it[from..to].to_vec()
    };
    let dash = memchr::memchr(b'-', item)?;
    let (first, last) = (trim(&item[..dash]), trim(&item[dash + 1..]));
    if first.is_empty() {
        let count = decimal(&last)?;
        let start = length.saturating_sub(count);
        return Some(if count == 0 { (length, length.max(1) - 1) } else { (start, length) });
    }
    let start = decimal(&first)?;
    if last.is_empty() {
        return Some((start, length));
    }
    Some((start, decimal(&last)?.saturating_add(1).min(length)))
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "calls are a table")]
    #[track_caller]
    fn check(value: &str, expected: Wanted) {
        assert_eq!(parse(value.as_bytes(), 10, 3), expected, "{value}");
    }

    #[test]
    fn ranges_are_cut_to_the_body() {
        check("bytes=0-3", Wanted::Parts(vec![(0, 4)]));
        check("bytes=4-", Wanted::Parts(vec![(4, 10)]));
        check("bytes=-3", Wanted::Parts(vec![(7, 10)]));
        check("Bytes=8-99", Wanted::Parts(vec![(8, 10)]));
        check("bytes=0-1, 3-4", Wanted::Parts(vec![(0, 2), (3, 5)]));
        check("bytes=-99", Wanted::Parts(vec![(0, 10)]));
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        for value in ["bytes=10-", "bytes=x-1", "bytes=1", "bytes=-", "bytes=1-2-3", "bytes=-0"] {
            check(value, Wanted::Nothing);
        }
    }

    #[test]
    fn too_much_is_everything() {
        check("bytes=0-9,0-9", Wanted::Whole);
        check("bytes=0-0,1-1,2-2,3-3", Wanted::Whole);
        check("lines=0-1", Wanted::Whole);
        assert_eq!(parse(b"bytes=0-1", 10, 0), Wanted::Whole);
    }
}
