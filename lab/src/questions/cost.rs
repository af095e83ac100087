//! What did the replicas do for a run, by their own counts?

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result};

use crate::{http, metrics, record::Row};

/// Counters of all replicas together, by the name of their figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cost(BTreeMap<String, f64>);

impl Cost {
    pub(super) fn fetch(replicas: &[SocketAddr]) -> Result<Self> {
        let mut cost = Self::default();
        for it in replicas {
            let answer = http::get(*it, "/metrics").context("the metrics of a replica")?;
            cost.add(&answer.text())?;
        }
        Ok(cost)
    }

    fn add(&mut self, text: &str) -> Result<()> {
        for it in metrics::samples(text)? {
            let label = |name: &str| it.labels.get(name).map(String::as_str).unwrap_or_default();
            let figure = match it.name.as_str() {
                "store_orders_created_total" => "orders".to_owned(),
                "store_db_queries_total" if label("op") == "lookup" => "lookups".to_owned(),
                "store_redis_commands_total" => {
                    format!("redis_{}", label("command").to_lowercase())
                }
                "store_db_connections_opened_total" => "opened".to_owned(),
                "store_report_build_seconds_count" => "builds".to_owned(),
                "store_report_requests_total" => format!("reports_{}", label("result")),
                "store_order_phase_seconds_sum" => format!("phase_{}", label("phase")),
                _ => continue,
            };
            *self.0.entry(figure).or_default() += it.value;
        }
        Ok(())
    }

    /// Keeps what was added since an earlier moment; what is done for orders, per order.
    pub(super) fn tell(&self, earlier: &Self, row: &mut Row) {
        let since = |name: &str| {
            let of = |it: &Self| it.0.get(name).copied().unwrap_or(0.0);
            of(self) - of(earlier)
        };
        let orders = since("orders");
        row.set("orders", orders);
        row.set("opened", since("opened"));
        row.set("builds", since("builds"));
        row.set("lookups_per_order", since("lookups") / orders);
        row.set("scans_per_order", since("redis_scan") / orders);
        let names = self.0.keys();
        for phase in names.filter(|it| it.starts_with("phase_")) {
            row.set(phase, since(phase) / orders);
        }
        let reports: f64 =
            self.0.keys().filter(|it| it.starts_with("reports_")).map(|it| since(it)).sum();
        row.set("hit_share", (since("reports_hit") + since("reports_stale")) / reports);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_counted_per_order_over_all_replicas() {
        let text = |it: u32| {
            format!(
                "store_orders_created_total {it}\nstore_redis_commands_total{{command=\"SCAN\",backend=\"redis\"}} {}\n\
                 store_order_phase_seconds_sum{{phase=\"lookup\"}} {}\nstore_report_requests_total{{result=\"hit\"}} {it}\n\
                 store_report_requests_total{{result=\"miss\"}} {it}\n",
                it * 1000,
                f64::from(it) * 0.002
            )
        };
        let of = |it: u32| {
            let mut cost = Cost::default();
            (0..2).for_each(|_| cost.add(&text(it)).unwrap());
            cost
        };
        let mut row = Row::default();
        of(5).tell(&of(2), &mut row);
        assert_eq!(row.figure("orders"), Some(6.0));
        assert_eq!(row.figure("scans_per_order"), Some(1000.0));
        assert_eq!(row.figure("hit_share"), Some(0.5));
        let phase = row.figure("phase_lookup").unwrap();
        assert!((phase - 0.002).abs() < 1e-9, "{phase}");
        // Nothing per order is known where no order was.
        let mut none = Row::default();
        of(2).tell(&of(2), &mut none);
        assert_eq!(none.figure("scans_per_order"), None);
    }
}
