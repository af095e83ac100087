//! `ranges` of a `geo`: which value has an address between two others?

/// Values by range of IPv4 addresses, both ends inclusive. No two ranges overlap: a later one takes
/// its part of those before it.
///
/// Source: nginx `ngx_http_geo_module.c`, `ngx_http_geo_add_range` and `ngx_http_geo_delete_range`.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(Vec<(u32, u32, Vec<u8>)>);

impl Ranges {
    /// The value of an address.
    pub(super) fn find(&self, address: u32) -> Option<&Vec<u8>> {
        let next = self.0.partition_point(|it| it.0 <= address);
        let (_, last, value) = &self.0[next.checked_sub(1)?];
        (address <= *last).then_some(value)
    }

    /// Sets the value of a range; the one it had, if it had one of its own.
    pub(super) fn set(&mut self, first: u32, last: u32, value: Vec<u8>) -> Option<Vec<u8>> {
        let same = self.0.iter().find(|it| (it.0, it.1) == (first, last)).map(|it| it.2.clone());
        self.cut(first, last);
        let at = self.0.partition_point(|it| it.0 < first);
        self.0.insert(at, (first, last, value));
        same
    }

    /// Removes a range; whether all of it was there.
    ///
    /// What is in a network of 65536 addresses is a range of its own there.
    pub(super) fn remove(&mut self, first: u32, last: u32) -> bool {
        let mut was_there = true;
        for network in first >> 16..=last >> 16 {
            let (start, end) = (network << 16, network << 16 | 0xffff);
            let part = (first.max(start), last.min(end));
            let is_part = |it: &(u32, u32, _)| (it.0.max(start), it.1.min(end)) == part;
            if self.0.iter().any(is_part) {
                self.cut(part.0, part.1);
            } else {
                was_there = false;
            }
        }
        was_there
    }

    /// Takes addresses out of every range they are in.
    fn cut(&mut self, first: u32, last: u32) {
        let from = self.0.partition_point(|it| it.1 < first);
        let to = self.0.partition_point(|it| it.0 <= last);
        let mut rest = Vec::new();
        for (start, end, value) in self.0.drain(from..to) {
            if start < first {
                rest.push((start, first - 1, value.clone()));
            }
            if last < end {
                rest.push((last + 1, end, value));
            }
        }
        self.0.splice(from..from, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+FIRST-LAST=VALUE` sets, `-FIRST-LAST` removes; an upper-case letter says that it failed.
    #[track_caller]
    fn check(lines: &str, expected: &str) {
        let mut ranges = Ranges::default();
        for line in lines.split(' ') {
            let (bounds, value) = line[1..].split_once('=').unwrap_or((&line[1..], ""));
            let (first, last) = bounds.split_once('-').unwrap();
            let (first, last) = (first.parse().unwrap(), last.parse().unwrap());
            if line.starts_with('+') {
                ranges.set(first, last, value.as_bytes().to_vec());
            } else {
                assert_eq!(ranges.remove(first, last), value != "!", "{line}");
            }
        }
        let shown = ranges.0.iter().map(|(first, last, value)| {
            format!("{first}-{last}={}", String::from_utf8_lossy(value))
        });
        assert_eq!(shown.collect::<Vec<_>>().join(" "), expected, "{lines}");
        for (first, last, value) in &ranges.0 {
            assert_eq!((ranges.find(*first), ranges.find(*last)), (Some(value), Some(value)));
        }
    }

    #[test]
    fn a_later_range_takes_its_part_of_those_before_it() {
        check("+0-9=a +3-5=b", "0-2=a 3-5=b 6-9=a");
        check("+0-9=a +5-15=b", "0-4=a 5-15=b");
        check("+5-15=b +0-9=a", "0-9=a 10-15=b");
        check("+0-2=a +4-6=b +1-5=c", "0-0=a 1-5=c 6-6=b");
        check("+0-9=a +0-9=b", "0-9=b");
        check("+0-9=a +0-4294967295=b", "0-4294967295=b");
    }

    #[test]
    fn what_is_a_range_can_be_removed() {
        check("+0-9=a -0-9", "");
        check("+0-9=a -0-8=!", "0-9=a");
        check("+0-9=a +3-5=b -0-2 -6-9", "3-5=b");
        check("+0-65536=a -0-65535", "65536-65536=a");
        check("+0-65536=a +5-5=b -0-65536=!", "0-4=a 5-5=b 6-65535=a");
    }

    #[test]
    fn an_address_between_ranges_has_no_value() {
        let mut ranges = Ranges::default();
        ranges.set(3, 4, Vec::new());
        assert_eq!([2, 5].map(|it| ranges.find(it)), [None, None]);
    }
}
