//! What do the data answer to each of the nine questions? Nothing that they do not show.

mod balancing;
mod costs;
mod failing;

use anyhow::Result;

use super::lang::Lang;
use crate::{
    record::{Record, Row},
    report::{
        compare::{self, Pair},
        number::Unit,
        plot::{self, Axis, Whisker},
        section::{Figure, Table},
    },
    stats::interval::Interval,
};

/// One question with what was found.
pub(super) struct Answer {
    pub(super) question: &'static str,
    pub(super) paragraph: String,
    pub(super) table: Table,
    pub(super) figure: Figure,
}

/// All nine, in the order in which they are asked.
pub(super) fn all(found: &Found<'_>) -> Result<Vec<Answer>> {
    Ok(vec![
        failing::users(found)?,
        failing::endpoints(found)?,
        failing::messages(found)?,
        costs::without_n_plus_one(found)?,
        costs::more_products(found)?,
        costs::cached_reports(found)?,
        costs::what_limits(found)?,
        balancing::replicas(found)?,
        balancing::policy(found)?,
    ])
}

/// The endpoints of the questions.
pub(super) const ENDPOINTS: [&str; 3] =
    ["POST /orders", "GET /orders/reports/highest-spenders", "GET /orders/reports/best-sellers"];

/// Locust tells whole milliseconds: what differs by no more may be the same, in seconds.
const ROUNDING: f64 = 0.001_000_1;

/// What was measured, and in which language it is told.
pub(super) struct Found<'a> {
    pub(super) record: &'a Record,
    pub(super) lang: Lang,
    /// What rows call the lab's load.
    pub(super) load: &'a str,
    /// Loads of E4 with their products and lines.
    pub(super) costs: Vec<(u32, u32)>,
    /// The two loads of E8, equal replicas first.
    pub(super) pools: [String; 2],
}

impl Found<'_> {
    fn rows(&self, name: &str, endpoint: &str) -> Vec<&Row> {
        self.record.valid(self.load, name, endpoint)
    }

    fn estimate(&self, name: &str, endpoint: &str, figure: &str) -> Option<Interval> {
        crate::report::section::estimate(&self.rows(name, endpoint), figure)
    }

    /// What changed for an endpoint; alone, so that nothing has to share 5 %.
    fn change(&self, first: &str, second: &str, endpoint: &str, figure: &'static str) -> Pair {
        let (own, other) = (self.rows(first, endpoint), self.rows(second, endpoint));
        let mut pairs = [compare::pair(first, second, figure, &own, &other)];
        compare::judge(&mut pairs);
        let [mut pair] = pairs;
        let seconds = pair.difference.map_or(0.0, |it| it.interval.mean.abs());
        if figure.starts_with('p') && figure != "per_second" && seconds <= ROUNDING {
            pair.stands = false;
        }
        pair
    }

    /// A table of what changed for all endpoints.
    fn changes(&self, steps: &[(&str, &str)]) -> Table {
        let lang = self.lang;
        let mut heading = vec![lang.say("step", "étape").to_owned(), "endpoint".to_owned()];
        heading.extend(["p50", "p95"].map(str::to_owned));
        heading.push(lang.say("answers per second", "réponses par seconde").to_owned());
        let mut rows = Vec::new();
        for (first, second) in steps {
            for endpoint in ENDPOINTS {
                let mut row = vec![format!("{first} → {second}"), endpoint.to_owned()];
                for figure in ["p50", "p95", "per_second"] {
                    row.push(lang.change(&self.change(first, second, endpoint, figure)));
                }
                rows.push(row);
            }
        }
        Table { heading, rows }
    }

    /// p95 of an endpoint under several names.
    fn tails(&self, names: &[&str], endpoint: &str) -> Result<Figure> {
        let lang = self.lang;
        let row = |name: &&str| -> Whisker {
            let of = |it| Unit::Millis.of(it);
            let it = self.estimate(name, endpoint, "p95");
            let scaled =
                |it: Interval| Interval { mean: of(it.mean), low: of(it.low), high: of(it.high) };
            ((*name).to_owned(), it.map(scaled))
        };
        let rows: Vec<_> = names.iter().map(row).collect();
        let about = format!("p95, {endpoint}");
        let axis = Axis { name: "p95, ms", write: &|it| lang.tick(it) };
        Ok(Figure {
            svg: plot::whiskers(&about, axis, &rows, lang.nothing())?,
            caption: format!(
                "{endpoint}: {}",
                lang.say(
                    "p95 with its 95 % interval over repeats; closed loop by Locust",
                    "p95 avec son intervalle à 95 % sur les répétitions ; boucle fermée par Locust"
                )
            ),
            names: Vec::new(),
        })
    }
}

/// A sentence for each endpoint on what a step changed in one figure.
fn told(found: &Found<'_>, first: &str, second: &str, figure: &'static str) -> String {
    let lang = found.lang;
    let parts: Vec<String> = ENDPOINTS
        .iter()
        .map(|it| format!("{it} {}", lang.change(&found.change(first, second, it, figure))))
        .collect();
    format!("{first} → {second}, {figure}{} {}.", lang.colon(), parts.join("; "))
}
