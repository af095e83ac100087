//! Which reports do the replicas share, and who builds the next one?

use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, FromRedisValue, RedisError, Value};

use super::redis::{Redis, RedisFailure};
use crate::config::Compat;
use crate::domain::report::Report;

/// Longest time one replica may keep the others from building.
const LOCK: Duration = Duration::from_secs(30);

/// Gives a lock back if it is still ours.
const UNLOCK: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Shortens the life of a report that is younger than it may be served.
const OUTDATE: &str = "if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[1]) then \
    return redis.call('PEXPIRE', KEYS[1], ARGV[1]) end return 0";

/// A report out of Redis, with the rest of its life.
#[derive(Debug)]
pub struct Stored {
    /// The JSON array.
    pub body: Bytes,
    /// Time until Redis forgets it.
    pub left: Duration,
}

/// The key of a report; one edition of the lab had names of its own.
fn key(report: Report, compat: Compat) -> &'static str {
    match (report, compat) {
        (Report::HighestSpenders, Compat::A25) => "reports:highest_spending_users",
        (Report::BestSellers, Compat::A25) => "reports:best_selling_products",
        (Report::HighestSpenders, _) => "report:highest_spenders",
        (Report::BestSellers, _) => "report:best_sellers",
    }
}

/// The report, `None` when there is none that can be served.
pub async fn fetch(
    redis: &Redis,
    report: Report,
    compat: Compat,
) -> Result<Option<Stored>, RedisFailure> {
    let key = key(report, compat);
    let asked = vec![Cmd::get(key), Cmd::pttl(key)];
    let answers: Result<Vec<Value>, _> = redis.run_all(&[("get", 1), ("pttl", 1)], asked).await;
    let (body, left): (Option<Vec<u8>>, i64) = match answers {
        Err(failure) if failure.is_wrong_type() => (Some(Vec::new()), 0),
        answers => {
            FromRedisValue::from_redis_value(Value::Array(answers?)).map_err(RedisError::from)?
        }
    };
    let Some(mut body) = body else { return Ok(None) };
    if body.first() != Some(&b'[') || !body.trim_ascii_end().ends_with(b"]") {
        // Somebody else wrote something else: it is built again.
        redis.run::<()>("del", &Cmd::del(key)).await?;
        return Ok(None);
    }
    if body.last() != Some(&b'\n') {
        body.push(b'\n');
    }
    // A key without an end was made by an edition of the lab; it counts as at the end of its life.
    let left = Duration::from_millis(left.max(0).unsigned_abs());
    Ok(Some(Stored { body: body.into(), left }))
}

/// Stores a report for all replicas.
pub async fn store(
    redis: &Redis,
    report: Report,
    compat: Compat,
    body: &Bytes,
    life: Duration,
) -> Result<(), RedisFailure> {
    let array = body.trim_ascii_end();
    let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
    redis.run("set", &Cmd::pset_ex(key(report, compat), array, life)).await
}

/// Marks both reports as old, so that the next reader starts a refresh; `stale` is the time for
/// which an old report may be served.
pub async fn outdate(redis: &Redis, compat: Compat, stale: Duration) -> Result<(), RedisFailure> {
    let left = u64::try_from(stale.as_millis()).unwrap_or(u64::MAX);
    let command = |report| {
        let mut command = redis::cmd("EVAL");
        command.arg(OUTDATE).arg(1).arg(key(report, compat)).arg(left);
        command
    };
    let commands: Vec<_> = Report::ALL.into_iter().map(command).collect();
    redis.run_all::<Value>(&[("eval", commands.len())], commands).await.map(|_| ())
}

/// Tries to become the one builder of the fleet; `token` names this attempt.
pub async fn lock(
    redis: &Redis,
    report: Report,
    compat: Compat,
    token: u64,
) -> Result<bool, RedisFailure> {
    let mut command = redis::cmd("SET");
    let life = u64::try_from(LOCK.as_millis()).unwrap_or(u64::MAX);
    command.arg(format!("{}:lock", key(report, compat))).arg(token).arg("NX").arg("PX").arg(life);
    let answer: Option<String> = redis.run("set", &command).await?;
    Ok(answer.is_some())
}

/// Lets others build again.
pub async fn unlock(
    redis: &Redis,
    report: Report,
    compat: Compat,
    token: u64,
) -> Result<(), RedisFailure> {
    let mut command = redis::cmd("EVAL");
    command.arg(UNLOCK).arg(1).arg(format!("{}:lock", key(report, compat))).arg(token);
    redis.run("eval", &command).await
}
