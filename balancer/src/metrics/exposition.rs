//! One family after the other: its head once, then a sample for each set of labels.
//!
//! Written in portions: with ten thousand servers there are more than half a million lines, which
//! nobody has to hold at once.
//! Source: `OpenMetrics` 1.0.0; Prometheus, `content/docs/instrumenting/exposition_formats.md`.

use crate::admin::view::Histogram;
use crate::engine::h1::write::decimal;
use crate::upstream::backend::BUCKETS_MS;

use super::Format;

/// Names and values, and before them what [`labels`] has made of others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Labels<'a, const N: usize> {
    base: &'a [u8],
    pairs: [(&'static str, &'a str); N],
}

impl Labels<'_, 0> {
    /// None.
    pub(super) const NONE: Self = Labels { base: &[], pairs: [] };
}

impl<'a> Labels<'a, 0> {
    /// Those that [`labels`] has made.
    pub(super) fn of(base: &'a [u8]) -> Self {
        Labels { base, pairs: [] }
    }

    /// Those and one more.
    pub(super) fn with(self, name: &'static str, value: &'a str) -> Labels<'a, 1> {
        Labels { base: self.base, pairs: [(name, value)] }
    }
}

impl<'a, const N: usize> From<[(&'static str, &'a str); N]> for Labels<'a, N> {
    fn from(pairs: [(&'static str, &'a str); N]) -> Self {
        Labels { base: &[], pairs }
    }
}

impl<const N: usize> Labels<'_, N> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.base);
        for (at, (name, value)) in self.pairs.iter().enumerate() {
            if at > 0 || !self.base.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"=\"");
            escape(value, out);
            out.push(b'"');
        }
    }

    fn is_empty(&self) -> bool {
        N == 0 && self.base.is_empty()
    }
}

/// Labels as they are written between braces, for those that many samples share.
pub(super) fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Vec<u8> {
    let mut text = Vec::new();
    Labels::from(pairs).write(&mut text);
    text
}

fn escape(value: &str, out: &mut Vec<u8>) {
    if memchr::memchr3(b'"', b'\\', b'\n', value.as_bytes()).is_none() {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    for byte in value.bytes() {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => out.push(byte),
        }
    }
}

/// What a sample says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl Value {
    fn write(self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        match self {
            Self::Whole(value) => decimal(out, value),
            // Writing to memory does not fail.
            Self::Real(value) => _ = write!(out, "{value:?}"),
        }
    }
}

/// Bytes of a portion, and room for the line that fills it.
const PORTION: usize = 64 << 10;
const LINE: usize = 2 << 10;

/// A text that is being written.
pub(super) struct Exposition<'a> {
    format: Format,
    out: Vec<u8>,
    /// Takes each portion.
    take: &'a mut dyn FnMut(&mut Vec<u8>),
    /// What follows the labels of each bucket.
    bounds: Vec<Vec<u8>>,
}

impl<'t> Exposition<'t> {
    /// Hands each portion to `take`, which leaves the vector empty.
    pub(super) fn new(format: Format, take: &'t mut dyn FnMut(&mut Vec<u8>)) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "the bounds are small")]
        let seconds = |it: u64| format!("{:?}\"}} ", it as f64 / 1e3).into_bytes();
        let bounds = BUCKETS_MS.into_iter().map(seconds).chain([b"+Inf\"} ".to_vec()]).collect();
        Self { format, out: Vec::with_capacity(PORTION + LINE), take, bounds }
    }

    /// Ends the text.
    pub(super) fn finish(mut self) {
        if self.format == Format::OpenMetrics {
            self.out.extend_from_slice(b"# EOF\n");
        }
        (self.take)(&mut self.out);
    }

    fn end_line(&mut self) {
        self.out.push(b'\n');
        if PORTION < self.out.len() {
            (self.take)(&mut self.out);
            self.out.clear();
            self.out.reserve(PORTION + LINE);
        }
    }

    fn head(&mut self, kind: &str, name: &str, help: &str) {
        for (word, text) in [("HELP", help), ("TYPE", kind)] {
            for part in ["# ", word, " ", name, " ", text, "\n"] {
                self.out.extend_from_slice(part.as_bytes());
            }
        }
    }

    fn sample<const N: usize>(&mut self, name: &str, labels: &Labels<'_, N>, value: Value) {
        let out = &mut self.out;
        out.extend_from_slice(name.as_bytes());
        // Braces around nothing are valid, and looked for by nobody.
        if !labels.is_empty() {
            out.push(b'{');
            labels.write(out);
            out.push(b'}');
        }
        out.push(b' ');
        value.write(out);
        self.end_line();
    }

    fn samples<'a, const N: usize>(
        &mut self,
        name: &str,
        samples: impl IntoIterator<Item = (impl Into<Labels<'a, N>>, impl Into<Value>)>,
    ) {
        for (labels, value) in samples {
            self.sample(name, &labels.into(), value.into());
        }
    }

    /// A family of gauges.
    pub(super) fn gauges<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (impl Into<Labels<'a, N>>, impl Into<Value>)>,
    ) {
        self.head("gauge", name, help);
        self.samples(name, samples);
    }

    /// A family of counters under a name that `OpenMetrics` allows no counter.
    pub(super) fn untyped<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (impl Into<Labels<'a, N>>, u64)>,
    ) {
        let kind = if self.format == Format::OpenMetrics { "unknown" } else { "untyped" };
        self.head(kind, name, help);
        self.samples(name, samples);
    }

    /// A family of counters; each sample, and in the older format the family, ends in `_total`.
    pub(super) fn counters<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (impl Into<Labels<'a, N>>, impl Into<Value>)>,
    ) {
        let total = format!("{name}_total");
        let family = if self.format == Format::OpenMetrics { name } else { &total };
        self.head("counter", family, help);
        self.samples(&total, samples);
    }

    /// A family of durations, in seconds.
    pub(super) fn histograms<'a, 'b, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (impl Into<Labels<'a, N>>, &'b Histogram)>,
    ) {
        self.head("histogram", name, help);
        let [bucket, sum, count] = ["_bucket", "_sum", "_count"].map(|it| format!("{name}{it}"));
        let mut start = Vec::new();
        for (labels, histogram) in samples {
            let labels = labels.into();
            start.clear();
            start.extend_from_slice(bucket.as_bytes());
            start.push(b'{');
            labels.write(&mut start);
            start.extend_from_slice(if labels.is_empty() { b"le=\"" } else { b",le=\"" });
            let mut reached = 0;
            for at in 0..self.bounds.len() {
                reached += histogram.counts[at];
                self.out.extend_from_slice(&start);
                self.out.extend_from_slice(&self.bounds[at]);
                decimal(&mut self.out, reached);
                self.end_line();
            }
            #[expect(clippy::cast_precision_loss, reason = "a sum of seconds needs no nanoseconds")]
            let seconds = histogram.sum_ns as f64 / 1e9;
            self.sample(&sum, &labels, seconds.into());
            self.sample(&count, &labels, reached.into());
        }
    }
}
