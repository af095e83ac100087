//! What does one order take when nothing else is going on?

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;
use policy::SplitMix64;

use super::{
    connection::Connection,
    schedule::{self, ENDPOINTS, Traffic},
};
use crate::{record::Row, stats::histogram::Histogram};

/// Orders of so many lines, one after the other; the first is not counted.
///
/// The row has no name yet.
pub(crate) fn orders(
    shop: SocketAddr,
    (lines, products, customers): (u32, u32, u32),
    count: u32,
    seed: u64,
) -> Result<Row> {
    let traffic = Traffic {
        rate: 1.0,
        arrivals: "even".to_owned(),
        length: Duration::ZERO,
        mix: [1, 0, 0],
        lines,
        highest: (products, customers),
    };
    let mut draw = SplitMix64::new(seed);
    let mut connection = Connection::new(shop, Duration::from_mins(1));
    let (mut times, mut failed) = (Histogram::default(), 0_u32);
    for number in 0..=count {
        let request = schedule::request(&traffic, 0, &mut draw);
        let start = Instant::now();
        let answer = connection.ask(&request)?;
        let taken = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        match (number, answer.status) {
            (0, _) => (),
            (_, 201) => times.record(taken),
            _ => failed += 1,
        }
    }
    let mut row = Row { endpoint: ENDPOINTS[0].to_owned(), ..Row::default() };
    row.set_times(&times);
    row.set("answered", f64::from(count - failed));
    row.set("failed", f64::from(failed));
    Ok(row)
}
