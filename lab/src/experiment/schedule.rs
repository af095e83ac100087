//! Who asks for what, and when? The same seed and repeat give the same requests under every policy.

use std::time::Duration;

use anyhow::{Result, bail};
use policy::{Draw, SplitMix64};

/// The endpoints of the shop that are asked, by their number in a [`Due`].
pub(super) const ENDPOINTS: [&str; 3] =
    ["POST /orders", "GET /orders/reports/highest-spenders", "GET /orders/reports/best-sellers"];

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Traffic {
    /// Requests per second.
    pub(super) rate: f64,
    /// `poisson` or `even`.
    pub(super) arrivals: String,
    /// From the first to the last.
    pub(super) length: Duration,
    /// How often each of [`ENDPOINTS`] is asked, relative to the others.
    pub(super) mix: [u32; ENDPOINTS.len()],
    /// Lines of an order; 0 for one line, in three of ten orders three.
    pub(super) lines: u32,
    /// Products and customers are drawn up to these numbers.
    pub(super) highest: (u32, u32),
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Due {
    /// From the start.
    pub(super) at: Duration,
    /// One of [`ENDPOINTS`].
    pub(super) endpoint: usize,
    /// Head and body.
    pub(super) bytes: Vec<u8>,
}

/// All requests of one run, in the order of time.
pub(super) fn schedule(traffic: &Traffic, seed: u64, repeat: u64) -> Result<Vec<Due>> {
    let mut draw = SplitMix64::new(SplitMix64::new(seed ^ (repeat << 32)).bits());
    let even = match traffic.arrivals.as_str() {
        "poisson" => false,
        "even" => true,
        other => bail!("there are no arrivals \"{other}\" in an experiment: poisson or even"),
    };
    let (mut due, mut at) = (Vec::new(), 0.0);
    loop {
        let gap = -(1.0 - draw.unit()).ln();
        at += if even { 1.0 } else { gap } / traffic.rate;
        if traffic.length.as_secs_f64() <= at {
            return Ok(due);
        }
        let endpoint = endpoint(&traffic.mix, &mut draw);
        let bytes = request(traffic, endpoint, &mut draw);
        due.push(Due { at: Duration::from_secs_f64(at), endpoint, bytes });
    }
}

fn endpoint(mix: &[u32; ENDPOINTS.len()], draw: &mut SplitMix64) -> usize {
    let mut rest = draw.below(mix.iter().map(|it| u64::from(*it)).sum::<u64>().max(1));
    for (place, share) in mix.iter().map(|it| u64::from(*it)).enumerate() {
        if rest < share {
            return place;
        }
        rest -= share;
    }
    0
}

pub(super) fn request(traffic: &Traffic, endpoint: usize, draw: &mut SplitMix64) -> Vec<u8> {
    let line = ENDPOINTS[endpoint];
    if endpoint != 0 {
        return format!("{line} HTTP/1.1\r\nHost: shop\r\n\r\n").into_bytes();
    }
    let (products, customers) = traffic.highest;
    let lines = match traffic.lines {
        0 if draw.below(10) < 3 => 3,
        0 => 1,
        it => it,
    };
    let items: Vec<String> = (0..lines)
        .map(|_| {
            let product = 1 + draw.below(u64::from(products.max(1)));
            format!("{{\"product_id\":{product},\"quantity\":{}}}", 1 + draw.below(4))
        })
        .collect();
    let user = 1 + draw.below(u64::from(customers.max(1)));
    let body = format!("{{\"user_id\":{user},\"items\":[{}]}}", items.join(","));
    format!(
        "{line} HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(arrivals: &str) -> Traffic {
        Traffic {
            rate: 200.0,
            arrivals: arrivals.to_owned(),
            length: Duration::from_secs(50),
            mix: [2, 1, 1],
            lines: 0,
            highest: (4, 3),
        }
    }

    #[test]
    fn a_seed_and_a_repeat_say_everything() {
        let of = |seed, repeat| schedule(&traffic("poisson"), seed, repeat).unwrap();
        assert_eq!(of(1, 0), of(1, 0));
        assert_ne!(of(1, 0), of(1, 1));
        assert_ne!(of(1, 0), of(2, 0));
        assert!(schedule(&traffic("sometimes"), 1, 0).is_err());
    }

    #[test]
    fn requests_come_at_the_rate_and_in_the_mix_that_were_asked_for() {
        let all = schedule(&traffic("poisson"), 7, 0).unwrap();
        // Five standard deviations of 10,000 Poisson arrivals.
        assert!((9_500..=10_500).contains(&all.len()), "{}", all.len());
        assert!(all.is_sorted_by_key(|it| it.at));
        let orders = all.iter().filter(|it| it.endpoint == 0).count();
        assert!(orders.abs_diff(all.len() / 2) < 300, "{orders} of {}", all.len());
        let even = schedule(&traffic("even"), 7, 0).unwrap();
        assert_eq!(even[1].at, Duration::from_millis(10));
        assert!(even.len().abs_diff(9_999) <= 1, "{}", even.len());
    }
}
