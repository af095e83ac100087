//! One family after the other: its head once, then a sample for each set of labels.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use crate::admin::view::Histogram;
use crate::upstream::backend::BUCKETS_MS;

/// Names and values.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// A text that is being written.
pub(super) struct Exposition<'a>(DescriptorEncoder<'a>);

impl<'a> Exposition<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// A family of gauges.
    pub(super) fn gauges<'b, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'b, N>, impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        self.values(MetricType::Gauge, name, help, samples)
    }

    /// A family of counters under a name that OpenMetrics allows no counter.
    pub(super) fn untyped<'b, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'b, N>, u64)>,
    ) -> fmt::Result {
        self.values(MetricType::Unknown, name, help, samples)
    }

    fn values<'b, const N: usize>(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'b, N>, impl EncodeGaugeValue)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            // Braces around nothing are valid, and looked for by nobody.
            match N {
                0 => family.encode_gauge(&value)?,
                _ => family.encode_family(&labels)?.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    /// A family of counters; the encoder appends `_total`.
    pub(super) fn counters<'b, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'b, N>, impl EncodeCounterValue)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            let no_exemplar: Option<&Exemplar<NoLabelSet, u64>> = None;
            match N {
                0 => family.encode_counter(&value, no_exemplar)?,
                _ => family.encode_family(&labels)?.encode_counter(&value, no_exemplar)?,
            }
        }
        Ok(())
    }

    /// A family of durations, in seconds.
    pub(super) fn histograms<'b, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'b, N>, &'b Histogram)>,
    ) -> fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "the bounds are small")]
        let bounds = BUCKETS_MS.iter().map(|it| *it as f64 / 1e3).chain([f64::INFINITY]);
        let bounds: Vec<_> = bounds.collect();
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, histogram) in samples {
            let buckets: Vec<_> = bounds.iter().copied().zip(histogram.counts).collect();
            #[expect(clippy::cast_precision_loss, reason = "a sum of seconds needs no nanoseconds")]
            let sum = histogram.sum_ns as f64 / 1e9;
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                sum,
                histogram.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}
