//! How are orders sent so that each is placed once, whatever happens meanwhile?
//!
//! At a steady rate, whatever the shop does; an order without a final answer is sent again with the
//! same key. Times count from the moment at which the order was due.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use policy::{Draw, SplitMix64};

use crate::http;

/// Pause before an order is sent again.
const AGAIN: Duration = Duration::from_millis(200);

/// The seed of all orders: the same are sent in every trial.
const SEED: u64 = 430;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Orders per second.
    pub rate: f64,
    /// For how long.
    pub time: Duration,
    /// How long the last orders may be sent again after that.
    pub patience: Duration,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Final answers, in no order.
    pub answers: Vec<Answer>,
    /// Orders that had none to the end.
    pub unanswered: usize,
}

/// The final answer to one order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The number of the order, `None` when there was not stock enough.
    pub order: Option<i64>,
    /// How often it was sent.
    pub attempts: u32,
    /// From the moment it was due.
    pub took: Duration,
}

impl Sent {
    /// Numbers of the orders that were placed.
    pub fn placed(&self) -> impl Iterator<Item = i64> {
        self.answers.iter().filter_map(|it| it.order)
    }

    /// Orders that were refused for want of stock.
    pub fn refused(&self) -> usize {
        self.answers.iter().filter(|it| it.order.is_none()).count()
    }

    /// The time that a share of the answers did not exceed.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut times: Vec<_> = self.answers.iter().map(|it| it.took).collect();
        times.sort_unstable();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a trial has far fewer than 2^52 orders"
        )]
        let place = (times.len() as f64 * share).ceil() as usize;
        times.get(place.clamp(1, times.len().max(1)) - 1).copied()
    }
}

impl Load {
    /// Sends all orders and waits for their answers, or until `ended`.
    pub fn send(&self, shop: SocketAddr, ended: &AtomicBool) -> Sent {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate and a time are positive, and their product is small"
        )]
        let count = (self.rate * self.time.as_secs_f64()) as usize;
        let (next, start) = (AtomicUsize::new(0), Instant::now());
        let sent = Mutex::new(Sent::default());
        // One sender for each order of a second: an outage of seconds delays the orders behind it,
        // and their times count from when they were due.
        let senders = count.clamp(1, 200);
        thread::scope(|scope| {
            for _ in 0..senders {
                scope.spawn(|| {
                    loop {
                        // Relaxed: each number is taken once, in no particular order.
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if count <= number {
                            return;
                        }
                        let answer = self.place(shop, number, start, ended);
                        let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                        match answer {
                            Some(answer) => sent.answers.push(answer),
                            None => sent.unanswered += 1,
                        }
                    }
                });
            }
        });
        sent.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(
        &self,
        shop: SocketAddr,
        number: usize,
        start: Instant,
        ended: &AtomicBool,
    ) -> Option<Answer> {
        #[expect(clippy::cast_precision_loss, reason = "a trial has far fewer than 2^52 orders")]
        let due = start + Duration::from_secs_f64(number as f64 / self.rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (key, body) = (format!("order-{number}"), body(number as u64));
        let mut attempts = 0;
        while !ended.load(Ordering::Relaxed) && start.elapsed() < self.time + self.patience {
            attempts += 1;
            match http::post_once(shop, "/orders", &body, &key) {
                Ok(answer) if answer.status == 201 => {
                    let order = number_of(&answer.text());
                    return order.map(|it| Answer {
                        order: Some(it),
                        attempts,
                        took: due.elapsed(),
                    });
                }
                Ok(answer) if answer.status == 409 && answer.text().contains("stock") => {
                    return Some(Answer { order: None, attempts, took: due.elapsed() });
                }
                _ => thread::sleep(AGAIN),
            }
        }
        None
    }
}

/// The body of an order: always the same for the same number.
fn body(number: u64) -> String {
    let mut draw = SplitMix64::new(SEED.wrapping_add(number.wrapping_mul(0x9e37_79b9)));
    let user = 1 + draw.below(3);
    let lines = if draw.below(10) < 3 { 3 } else { 1 };
    let lines: Vec<_> = (0..lines)
        .map(|_| {
            let (product, quantity) = (1 + draw.below(4), 1 + draw.below(4));
            format!(r#"{{"product_id":{product},"quantity":{quantity}}}"#)
        })
        .collect();
    format!(r#"{{"user_id":{user},"items":[{}]}}"#, lines.join(","))
}

fn number_of(text: &str) -> Option<i64> {
    let number = text.trim_end().strip_prefix("{\"order_id\":")?.strip_suffix('}')?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_is_the_same_order() {
        assert_eq!(body(7), body(7));
        assert_ne!(body(7), body(8));
        assert_eq!(number_of("{\"order_id\":12}\n"), Some(12));
        assert_eq!(number_of("{\"error\":\"x\"}\n"), None);
    }

    #[test]
    fn a_quantile_is_a_time_that_was_seen() {
        let answer = |ms| Answer { order: None, attempts: 1, took: Duration::from_millis(ms) };
        let sent = Sent { answers: (1..=100).map(answer).collect(), unanswered: 0 };
        assert_eq!(sent.quantile(0.5), Some(Duration::from_millis(50)));
        assert_eq!(sent.quantile(1.0), Some(Duration::from_millis(100)));
        assert_eq!(Sent::default().quantile(0.5), None);
    }
}
