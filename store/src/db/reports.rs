//! Statements that aggregate orders.

use super::link::dialects;
use super::{DbError, Link};
use crate::domain::id::{ProductId, UserId};
use crate::domain::money::Cents;
use crate::domain::report::{Report, Rows};

/// The first `limit` rows of a report, largest first, ties by ascending id.
pub async fn fetch(link: Link<'_>, report: Report, limit: usize) -> Result<Rows, DbError> {
    let limit = i64::try_from(limit).expect("a report has fewer than 2^63 rows");
    Ok(match report {
        Report::HighestSpenders => {
            let rows: Vec<(i64, i64)> = dialects!(
                link,
                mysql: "SELECT user_id, CAST(SUM(total_amount) * 100 AS SIGNED) AS spent FROM orders \
                        GROUP BY user_id ORDER BY spent DESC, user_id LIMIT ?",
                sqlite: "SELECT user_id, SUM(total_cents) AS spent FROM orders \
                         GROUP BY user_id ORDER BY spent DESC, user_id LIMIT ?",
                |sql, it| sqlx::query_as(sql).bind(limit).fetch_all(it).await?
            );
            Rows::Spenders(
                rows.into_iter().map(|(id, spent)| (UserId::new(id), Cents::new(spent))).collect(),
            )
        }
        Report::BestSellers => {
            let rows: Vec<(i64, i64)> = dialects!(
                link,
                mysql: "SELECT product_id, CAST(SUM(quantity) AS SIGNED) AS sold FROM order_items \
                        GROUP BY product_id ORDER BY sold DESC, product_id LIMIT ?",
                sqlite: "SELECT product_id, SUM(quantity) AS sold FROM order_items \
                         GROUP BY product_id ORDER BY sold DESC, product_id LIMIT ?",
                |sql, it| sqlx::query_as(sql).bind(limit).fetch_all(it).await?
            );
            Rows::Sellers(rows.into_iter().map(|(id, sold)| (ProductId::new(id), sold)).collect())
        }
    })
}
