//! What does the balancer itself say of a run?

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result};

use crate::{http, metrics};

/// Its counts at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    /// Requests in flight by address.
    pub(super) active: BTreeMap<String, u32>,
    /// Answers so far within so many seconds, over all servers; the last bound is infinite.
    within: Vec<(f64, f64)>,
    sum: f64,
}

impl Seen {
    pub(super) fn fetch(admin: SocketAddr) -> Result<Self> {
        let answer = http::get(admin, "/metrics").context("the balancer's metrics")?;
        Self::read(&answer.text())
    }

    fn read(text: &str) -> Result<Self> {
        let mut seen = Self::default();
        for it in metrics::samples(text)? {
            match it.name.as_str() {
                "balancer_upstream_server_active_requests" => {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a number of requests"
                    )]
                    let count = it.value as u32;
                    let server = it.labels.get("server").cloned().unwrap_or_default();
                    *seen.active.entry(server).or_default() += count;
                }
                "balancer_upstream_server_response_seconds_sum" => seen.sum += it.value,
                "balancer_upstream_server_response_seconds_bucket" => {
                    let bound = it.labels.get("le").context("a bucket without a bound")?;
                    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse()? };
                    match seen.within.iter_mut().find(|it| it.0.total_cmp(&bound).is_eq()) {
                        Some(found) => found.1 += it.value,
                        None => seen.within.push((bound, it.value)),
                    }
                }
                _ => (),
            }
        }
        seen.within.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(seen)
    }

    /// The mean and a quantile of the answers since an earlier moment, `None` without any; the quantile
    /// lies in its bucket as if all answers there were spread evenly.
    pub(super) fn since(&self, earlier: &Self, share: f64) -> Option<(f64, f64)> {
        let before = |place: usize| earlier.within.get(place).map_or(0.0, |it| it.1);
        let counts: Vec<(f64, f64)> = self
            .within
            .iter()
            .enumerate()
            .map(|(place, it)| (it.0, it.1 - before(place)))
            .collect();
        let all = counts.last().map(|it| it.1).filter(|it| 0.0 < *it)?;
        let rank = share * all;
        let place = counts.iter().position(|it| rank <= it.1)?;
        let (low, below) = place.checked_sub(1).map_or((0.0, 0.0), |it| counts[it]);
        let (high, within) = counts[place];
        let quantile = if high.is_finite() {
            low + (high - low) * (rank - below) / (within - below).max(1e-9)
        } else {
            low
        };
        Some(((self.sum - earlier.sum) / all, quantile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_come_from_the_buckets_of_all_servers_since_an_earlier_moment() {
        let text = |scale: u32| {
            let line = |le: &str, it: u32| {
                format!(
                    "balancer_upstream_server_response_seconds_bucket{{server=\"a\",le=\"{le}\"}} {it}\n\
                     balancer_upstream_server_response_seconds_bucket{{server=\"b\",le=\"{le}\"}} {it}\n"
                )
            };
            line("0.01", 10 * scale)
                + &line("0.1", 30 * scale)
                + &line("+Inf", 40 * scale)
                + &format!(
                    "balancer_upstream_server_response_seconds_sum{{server=\"a\"}} {scale}\n"
                )
                + "balancer_upstream_server_active_requests{server=\"a\"} 3\n"
        };
        let (earlier, later) = (Seen::read(&text(1)).unwrap(), Seen::read(&text(3)).unwrap());
        let (mean, median) = later.since(&earlier, 0.5).unwrap();
        assert!((mean - 2.0 / 160.0).abs() < 1e-9, "{mean}");
        assert!((median - 0.055).abs() < 1e-9, "{median}");
        assert_eq!(later.since(&earlier, 0.99).map(|it| it.1), Some(0.1));
        assert_eq!(earlier.since(&earlier, 0.5), None);
        assert_eq!(earlier.active["a"], 3);
    }
}
