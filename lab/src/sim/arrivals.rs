//! When does the next request come?

use std::sync::Arc;

use policy::SplitMix64;

use super::law::exponential;

/// When requests come.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrivals {
    /// Open: independent of the answers, so many per second on average.
    Poisson(f64),
    /// Open: one after each equal interval, so many per second.
    Even(f64),
    /// Open: Poisson whose rate changes between a calm and a burst.
    Bursts {
        /// Per second, on average over calm and bursts.
        rate: f64,
        /// How many times the rate of the calm a burst has.
        factor: f64,
        /// Mean seconds of a burst; its length is exponential.
        burst: f64,
        /// Mean seconds of a calm.
        calm: f64,
    },
    /// Open: at these seconds; ends with the last.
    Trace(Arc<[f64]>),
    /// Closed: each of so many users sends the next request after its answer and an exponential
    /// pause with this mean in seconds.
    Users(u32, f64),
}

/// The arrivals of an open plan, one after the other.
#[derive(Debug)]
pub(super) struct Source {
    /// Kept as a sum of its own, so that rounding to nanoseconds does not add up.
    due: f64,
    drawn: usize,
    bursting: bool,
    turns: f64,
}

impl Source {
    pub(super) fn new() -> Self {
        // The first turn falls due at once, so a run begins with a calm of its own length.
        Self { due: 0.0, drawn: 0, bursting: true, turns: 0.0 }
    }

    /// Seconds from the start, `None` when nobody comes any more or when users decide.
    pub(super) fn next(&mut self, arrivals: &Arrivals, draw: &mut SplitMix64) -> Option<f64> {
        match arrivals {
            Arrivals::Poisson(rate) => self.due += exponential(draw) / rate,
            Arrivals::Even(rate) => self.due += 1.0 / rate,
            Arrivals::Bursts { rate, factor, burst, calm } => {
                let base = rate * (burst + calm) / (factor * burst + calm);
                loop {
                    let rate = if self.bursting { base * factor } else { base };
                    let next = self.due + exponential(draw) / rate;
                    if next < self.turns {
                        self.due = next;
                        break;
                    }
                    // Exponential gaps have no memory: what is left of one may be drawn anew.
                    self.due = self.turns;
                    self.bursting = !self.bursting;
                    let mean = if self.bursting { burst } else { calm };
                    self.turns += mean * exponential(draw);
                }
            }
            Arrivals::Trace(times) => {
                self.due = *times.get(self.drawn)?;
                self.drawn += 1;
            }
            Arrivals::Users(..) => return None,
        }
        Some(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_keep_the_rate_and_spread_the_counts() {
        let arrivals = Arrivals::Bursts { rate: 10.0, factor: 9.0, burst: 2.0, calm: 8.0 };
        let (mut source, mut draw) = (Source::new(), SplitMix64::new(3));
        let mut counts = vec![0_u32; 20_000];
        while let Some(at) = source.next(&arrivals, &mut draw) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a second")]
            let second = at as usize;
            let Some(count) = counts.get_mut(second) else { break };
            *count += 1;
        }
        let mean = counts.iter().map(|it| f64::from(*it)).sum::<f64>() / 2e4;
        let square = counts.iter().map(|it| (f64::from(*it) - mean).powi(2)).sum::<f64>() / 2e4;
        assert!((mean - 10.0).abs() < 0.5, "{mean}");
        assert!(3.0 * mean < square, "no more than Poisson: {square}");
    }

    #[test]
    fn a_trace_ends() {
        let arrivals = Arrivals::Trace([0.5, 2.0].into());
        let (mut source, mut draw) = (Source::new(), SplitMix64::new(3));
        let found = [(); 3].map(|()| source.next(&arrivals, &mut draw));
        assert_eq!(found, [Some(0.5), Some(2.0), None]);
    }
}
