//! How fast is an answer sent?

use std::time::Duration;

use policy::Time;

/// `limit_rate` and `limit_rate_after` of one answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that are sent before it counts.
    pub after: u64,
}

impl Pace {
    /// How much may be sent now, or how long to wait.
    ///
    /// Source: nginx `ngx_http_write_filter_module.c`, `ngx_http_write_filter`.
    pub fn room(&self, sent: u64, started: Time, now: Time) -> Result<usize, Duration> {
        let seconds = now.since(started).as_secs() + 1;
        let allowed = self.rate.saturating_mul(seconds).saturating_add(self.after);
        match allowed.checked_sub(sent) {
            Some(room @ 1..) => Ok(usize::try_from(room).unwrap_or(usize::MAX)),
            _ => Err(self.takes(sent - allowed) + Duration::from_millis(1)),
        }
    }

    /// How long to wait after a write that took the sent bytes from one count to another.
    pub fn pause(&self, before: u64, sent: u64) -> Duration {
        let limited = |it: u64| it.saturating_sub(self.after);
        self.takes(limited(sent) - limited(before))
    }

    fn takes(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes.saturating_mul(1000) / self.rate.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_allows_as_much_again() {
        let pace = Pace { rate: 1000, after: 500 };
        let at = |seconds: u64| Time::from_secs(10 + seconds);
        assert_eq!(pace.room(0, at(0), at(0)), Ok(1500));
        assert_eq!(pace.room(1499, at(0), at(0)), Ok(1));
        assert_eq!(pace.room(1500, at(0), at(0)), Err(Duration::from_millis(1)));
        assert_eq!(pace.room(1500, at(0), at(2)), Ok(2000));
        assert_eq!(pace.room(2500, at(0), at(0)), Err(Duration::from_millis(1001)));
    }

    #[test]
    fn what_is_sent_before_the_limit_costs_no_time() {
        let pace = Pace { rate: 1000, after: 500 };
        assert_eq!(pace.pause(0, 400), Duration::ZERO);
        assert_eq!(pace.pause(0, 1500), Duration::from_secs(1));
        assert_eq!(pace.pause(1500, 1600), Duration::from_millis(100));
    }
}
