//! Do the answers, the database and Redis tell of the same orders?

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::orders::Sent;
use crate::{data_services::MariaDb, http, process::eventually_within, process::sibling};

/// Pieces of the third product: so few that they are sold out in every trial.
const FEW: i64 = 100;

/// Pieces of the others.
const MANY: i64 = 1_000_000;

/// How long Redis may take to learn what it missed.
const LEARNED: Duration = Duration::from_mins(1);

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Orders in the database.
    pub rows: usize,
    /// Orders that were acknowledged and are not in the database.
    pub lost: usize,
    /// Orders in the database that nobody was told of, and numbers that were given out twice.
    pub twice: usize,
    /// Pieces sold beyond the stock, or that are missing without having been sold.
    pub oversold: i64,
    /// What `store verify` said against the database or Redis; empty when nothing.
    pub differences: String,
}

/// Gives every product the stock that [`Books::compare`] starts from.
pub fn stock_up(shop: SocketAddr) -> Result<()> {
    for (product, pieces) in levels() {
        let body = format!(r#"{{"product_id":{product},"quantity":{pieces}}}"#);
        let answer = http::post(shop, "/stocks", &body)?;
        ensure!(answer.status == 201, "stock was not set: {}", answer.text());
    }
    Ok(())
}

fn levels() -> BTreeMap<i64, i64> {
    (1..=4).map(|product| (product, if product == 3 { FEW } else { MANY })).collect()
}

impl Books {
    /// Compares the answers with a database, and that with Redis by `store verify`.
    pub fn compare(
        database: &MariaDb,
        name: &str,
        variables: &[(&'static str, String)],
        sent: &Sent,
    ) -> Result<Self> {
        let numbers = |sql: &str| -> Result<Vec<Vec<i64>>> {
            let text = database.run(&format!("USE `{name}`; {sql}"))?;
            let row = |it: &str| it.split('\t').map(|it| it.parse().ok()).collect::<Option<_>>();
            text.lines().map(|it| row(it).with_context(|| format!("no numbers: {it}"))).collect()
        };
        let rows: BTreeSet<i64> = numbers("SELECT id FROM orders")?.into_iter().flatten().collect();
        let told: BTreeSet<i64> = sent.placed().collect();
        let given_twice = sent.placed().count() - told.len();

        let mut expected = levels();
        for row in numbers(
            "SELECT product_id, CAST(SUM(quantity) AS SIGNED) FROM order_items GROUP BY product_id",
        )? {
            *expected.entry(row[0]).or_default() -= row[1];
        }
        let mut oversold: i64 = expected.values().map(|left| (-left).max(0)).sum();
        for row in numbers("SELECT product_id, quantity FROM stocks")? {
            oversold += (expected.get(&row[0]).copied().unwrap_or_default() - row[1]).abs();
        }
        Ok(Self {
            rows: rows.len(),
            lost: told.difference(&rows).count(),
            twice: rows.difference(&told).count() + given_twice,
            oversold,
            differences: verify(variables)?,
        })
    }

    /// What is wrong, one sentence each.
    pub fn faults(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (count, what) in [
            (self.lost, "acknowledged orders are lost"),
            (self.twice, "orders exist that nobody was told of"),
        ] {
            if count != 0 {
                wrong.push(format!("{count} {what}"));
            }
        }
        if self.oversold != 0 {
            wrong.push(format!("{} pieces do not add up", self.oversold));
        }
        if !self.differences.is_empty() {
            wrong.push(self.differences.clone());
        }
        wrong
    }
}

/// Has the store compare totals and Redis with the database, until it is content or time is up.
fn verify(variables: &[(&'static str, String)]) -> Result<String> {
    let store = sibling("store")?;
    let folder = tempfile::tempdir()?;
    let mut said = String::new();
    let content = || {
        let output = Command::new(&store)
            .arg("verify")
            .env_clear()
            .envs(variables.iter().cloned())
            .current_dir(folder.path())
            .output();
        let Ok(output) = output else { return false };
        String::from_utf8_lossy(&output.stderr).trim().clone_into(&mut said);
        output.status.success()
    };
    Ok(if eventually_within(LEARNED, content) { String::new() } else { said })
}
