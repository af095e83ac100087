//! How large may a head be? As large as nginx's buffers, each of which holds whole lines.

/// What a listener allows of a head; nginx's `large_client_header_buffers` and its relatives.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the buffer that a head begins in.
    pub first: usize,
    /// Bytes of each further buffer: no line is longer, its end included.
    pub line: usize,
    /// How many further buffers a head may take.
    pub buffers: usize,
    /// Most header lines.
    pub fields: usize,
    /// Whether names with unexpected bytes are dropped (else they are passed on).
    pub ignore_invalid: bool,
    /// Whether an underscore is an expected byte of a name.
    pub underscores: bool,
}

impl Default for Limits {
    /// nginx's defaults.
    fn default() -> Self {
        Self {
            first: 1024,
            line: 8192,
            buffers: 4,
            fields: 1000,
            ignore_invalid: true,
            underscores: false,
        }
    }
}

impl Limits {
    /// Longest head, in bytes.
    pub fn head(&self) -> usize {
        self.buffers.saturating_mul(self.line).saturating_add(self.first)
    }
}

/// The buffers a head would have taken so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    /// Further ones, after the first.
    buffers: usize,
    /// Bytes used of the present one.
    used: usize,
}

impl Room {
    fn size(self, limits: &Limits) -> usize {
        if self.buffers == 0 { limits.first } else { limits.line }
    }

    /// Puts a line into a buffer as a whole; false where there is no room.
    ///
    /// Source: nginx `ngx_http_request.c`, `ngx_http_alloc_large_header_buffer`.
    pub(super) fn fits(&mut self, length: usize, limits: &Limits) -> bool {
        if self.used + length <= self.size(limits) {
            self.used += length;
            return true;
        }
        self.buffers += 1;
        self.used = length;
        self.buffers <= limits.buffers && length <= limits.line
    }

    /// Whether there is no room for a line that has not ended after that many bytes.
    pub(super) fn is_over(self, pending: usize, limits: &Limits) -> bool {
        let is_last = self.buffers == limits.buffers || limits.line <= pending;
        self.size(limits) <= self.used + pending && is_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[usize], expected: bool) {
        let limits = Limits { first: 10, line: 20, buffers: 2, ..Limits::default() };
        let mut room = Room::default();
        assert_eq!(lines.iter().all(|it| room.fits(*it, &limits)), expected, "{lines:?}");
    }

    #[test]
    fn a_line_stands_in_one_buffer() {
        check(&[10, 20, 20], true);
        check(&[5, 5, 20, 10, 10], true);
        check(&[5, 6, 20], true);
        check(&[5, 6, 20, 1], false);
        check(&[21], false);
        check(&[10, 11, 11, 1, 8], true);
        check(&[10, 11, 11, 10], false);
    }

    #[test]
    fn a_line_without_end_is_refused_when_its_buffer_is_full() {
        let limits = Limits { first: 10, line: 20, buffers: 1, ..Limits::default() };
        let mut room = Room::default();
        assert!(!room.is_over(10, &limits));
        assert!(room.is_over(20, &limits));
        assert!(room.fits(11, &limits));
        assert!(room.is_over(9, &limits));
    }
}
