//! May a request that failed on one server be sent to another?

use std::time::Duration;

use crate::Time;

/// How an attempt failed, in the words of `proxy_next_upstream`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// Connecting, TLS, sending or reading failed, or the answer ended before its head did.
    Error,
    /// The server took too long to accept, to take the request or to answer.
    Timeout,
    /// The head of the answer cannot be read or is too big.
    InvalidHeader,
    /// A whole head with status 500.
    Http500,
    /// A whole head with status 502.
    Http502,
    /// A whole head with status 503.
    Http503,
    /// A whole head with status 504.
    Http504,
    /// A whole head with status 403.
    Http403,
    /// A whole head with status 404.
    Http404,
    /// A whole head with status 429.
    Http429,
}

impl Class {
    /// The class of an answer, `None` for a status which `proxy_next_upstream` cannot name.
    pub const fn of_status(status: u16) -> Option<Self> {
        match status {
            403 => Some(Self::Http403),
            404 => Some(Self::Http404),
            429 => Some(Self::Http429),
            500 => Some(Self::Http500),
            502 => Some(Self::Http502),
            503 => Some(Self::Http503),
            504 => Some(Self::Http504),
            _ => None,
        }
    }

    /// The class which a word of `proxy_next_upstream` names.
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "error" => Some(Self::Error),
            "timeout" => Some(Self::Timeout),
            "invalid_header" => Some(Self::InvalidHeader),
            _ => Self::of_status(word.strip_prefix("http_")?.parse().ok()?),
        }
    }

    /// Whether the server is charged with a failure when the request goes on to another.
    ///
    /// [`Self::Error`], [`Self::Timeout`] and [`Self::InvalidHeader`] are charged even if it does not.
    pub const fn is_charged(self) -> bool {
        !matches!(self, Self::Http403 | Self::Http404)
    }
}

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Classes(u16);

impl Classes {
    /// The same set and `class`.
    #[must_use]
    pub const fn with(self, class: Class) -> Self {
        Self(self.0 | 1 << class as u16)
    }

    /// Whether `class` is in the set.
    pub const fn contains(self, class: Class) -> bool {
        self.0 & 1 << class as u16 != 0
    }
}

/// How much of the request is gone when the attempt ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// Nothing: the connection was refused, or broke before it was used.
    Nothing,
    /// Something, and the whole request can be sent again.
    Buffered,
    /// Something that was not kept (`proxy_request_buffering off`).
    Lost,
}

/// One attempt that failed.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// How it failed.
    pub class: Class,
    /// How much of the request is gone.
    pub sent: Sent,
    /// Whether the method is one which nginx does not repeat: POST, LOCK or PATCH.
    pub is_non_idempotent: bool,
    /// Whether it used an idle connection of an earlier request.
    pub is_on_reused_connection: bool,
    /// When the first attempt of this request began.
    pub first_began: Time,
}

/// `proxy_next_upstream` and its limits.
///
/// That the client is still there, and that nothing of an answer was passed on, is for the caller to
/// know before it asks.
///
/// Source: nginx `ngx_http_upstream.c`, `ngx_http_upstream_next` and `ngx_http_upstream_test_next`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    /// Which failures allow another attempt.
    pub on: Classes,
    /// Whether POST, LOCK and PATCH are repeated though they were sent.
    pub non_idempotent: bool,
    /// Attempts allowed for one request, `None` (nginx: 0) for as many as there are servers.
    pub tries: Option<u32>,
    /// Time from the first attempt after which none is started, `None` (nginx: 0) for no limit.
    pub timeout: Option<Duration>,
}

impl Default for Retry {
    /// nginx's: `error timeout`, without limits.
    fn default() -> Self {
        Self {
            on: Classes::default().with(Class::Error).with(Class::Timeout),
            non_idempotent: false,
            tries: None,
            timeout: None,
        }
    }
}

impl Retry {
    /// Attempts a request has when it starts, out of `servers` that are not down, backup included.
    pub fn tries(&self, servers: u32) -> u32 {
        self.tries.map_or(servers, |it| servers.min(it))
    }

    /// Tries left if the request may go to another server, `None` if this failure is final.
    ///
    /// `tries` are those left before the attempt, which used one. An error on a reused connection
    /// gives it back: the server may merely have closed an idle connection.
    pub fn next(&self, attempt: &Attempt, tries: u32, now: Time) -> Option<u32> {
        let was_stale = attempt.is_on_reused_connection && attempt.class == Class::Error;
        let left = if was_stale { tries } else { tries.saturating_sub(1) };
        let is_over = self.timeout.is_some_and(|it| it <= now.since(attempt.first_began));
        let is_repeatable = match attempt.sent {
            Sent::Nothing => true,
            Sent::Buffered => self.non_idempotent || !attempt.is_non_idempotent,
            Sent::Lost => false,
        };
        let allowed = self.on.contains(attempt.class) && is_repeatable && !is_over;
        (allowed && 0 < left).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Attempt = Attempt {
        class: Class::Error,
        sent: Sent::Nothing,
        is_non_idempotent: false,
        is_on_reused_connection: false,
        first_began: Time::from_secs(100),
    };
    const AT_ONCE: Time = REFUSED.first_began;

    #[track_caller]
    fn check(retry: Retry, attempt: Attempt, tries: u32, expected: Option<u32>) {
        assert_eq!(retry.next(&attempt, tries, AT_ONCE), expected, "{retry:?}, {attempt:?}");
    }

    #[test]
    fn each_attempt_uses_a_try() {
        check(Retry::default(), REFUSED, 3, Some(2));
        check(Retry::default(), REFUSED, 1, None);
        assert_eq!(Retry::default().tries(3), 3);
        assert_eq!(Retry { tries: Some(2), ..Retry::default() }.tries(3), 2);
        assert_eq!(Retry { tries: Some(4), ..Retry::default() }.tries(3), 3);
    }

    #[test]
    fn only_listed_classes_go_on() {
        let unavailable = Attempt { class: Class::Http503, ..REFUSED };
        check(Retry::default(), unavailable, 3, None);
        let on = Classes::default().with(Class::Http503);
        check(Retry { on, ..Retry::default() }, unavailable, 3, Some(2));
        check(Retry { on, ..Retry::default() }, REFUSED, 3, None);
        check(Retry { on: Classes::default(), ..Retry::default() }, REFUSED, 3, None);
    }

    #[test]
    fn a_post_is_repeated_only_before_it_was_sent_or_by_permission() {
        let post = Attempt { is_non_idempotent: true, ..REFUSED };
        let sent = Attempt { sent: Sent::Buffered, ..post };
        check(Retry::default(), post, 2, Some(1));
        check(Retry::default(), sent, 2, None);
        check(Retry { non_idempotent: true, ..Retry::default() }, sent, 2, Some(1));
        check(Retry::default(), Attempt { is_non_idempotent: false, ..sent }, 2, Some(1));
    }

    #[test]
    fn what_was_not_kept_cannot_be_sent_again() {
        let lost = Attempt { sent: Sent::Lost, ..REFUSED };
        check(Retry { non_idempotent: true, ..Retry::default() }, lost, 2, None);
    }

    #[test]
    fn no_attempt_starts_once_the_time_is_up() {
        let retry = Retry { timeout: Some(Duration::from_secs(5)), ..Retry::default() };
        let next_at = |nanos| retry.next(&REFUSED, 3, AT_ONCE + Duration::from_nanos(nanos));
        assert_eq!(next_at(4_999_999_999), Some(2));
        assert_eq!(next_at(5_000_000_000), None);
    }

    #[test]
    fn an_idle_connection_that_broke_gives_its_try_back() {
        let stale = Attempt { is_on_reused_connection: true, sent: Sent::Buffered, ..REFUSED };
        check(Retry::default(), stale, 1, Some(1));
        check(Retry::default(), Attempt { class: Class::Timeout, ..stale }, 1, None);
        check(Retry::default(), Attempt { is_non_idempotent: true, ..stale }, 1, None);
    }

    #[test]
    fn words_and_statuses_name_the_same_classes() {
        for status in [403, 404, 429, 500, 502, 503, 504] {
            let class = Class::of_word(&format!("http_{status}"));
            assert!(class.is_some());
            assert_eq!(class, Class::of_status(status));
        }
        assert_eq!(Class::of_word("timeout"), Some(Class::Timeout));
        assert_eq!(Class::of_word("http_501"), None);
        assert_eq!(Class::of_word("500"), None);
        assert_eq!(Class::of_status(200), None);
    }

    #[test]
    fn a_missing_page_is_not_the_servers_fault() {
        assert!(!Class::Http403.is_charged() && !Class::Http404.is_charged());
        assert!(Class::Error.is_charged() && Class::Http429.is_charged());
    }
}
