//! Statements about users.

use super::link::dialects;
use super::{DbError, Link};
use crate::domain::catalog::User;
use crate::domain::id::{OrderId, UserId};

/// One user, `None` when there is none.
pub async fn fetch(link: Link<'_>, id: UserId) -> Result<Option<User>, DbError> {
    let row: Option<(String, String)> =
        dialects!(link, "SELECT name, email FROM users WHERE id = ?", |sql, it| {
            sqlx::query_as(sql).bind(id.number()).fetch_optional(it).await?
        });
    Ok(row.map(|(name, email)| User { name, email }))
}

/// Adds a user; [`DbError::Taken`] when somebody has the email.
pub async fn insert(link: Link<'_>, user: &User) -> Result<UserId, DbError> {
    let sql = "INSERT INTO users (name, email) VALUES (?, ?)";
    let id = match link {
        Link::Mysql(it) => {
            let done = sqlx::query(sql).bind(&user.name).bind(&user.email).execute(it).await?;
            done.last_insert_id().cast_signed()
        }
        Link::Sqlite(it) => {
            let done = sqlx::query(sql).bind(&user.name).bind(&user.email).execute(it).await?;
            done.last_insert_rowid()
        }
    };
    Ok(UserId::new(id))
}

/// The user's orders, which go when the user goes. The user's row is locked first, so that no order
/// is added meanwhile; [`DbError::Absent`] when there is no such user.
pub async fn fetch_orders_for_delete(
    mut link: Link<'_>,
    id: UserId,
) -> Result<Vec<OrderId>, DbError> {
    let found: Option<i64> = dialects!(
        &mut link,
        mysql: "SELECT id FROM users WHERE id = ? FOR UPDATE",
        sqlite: "SELECT id FROM users WHERE id = ?",
        |sql, it| sqlx::query_scalar(sql).bind(id.number()).fetch_optional(&mut **it).await?
    );
    found.ok_or(DbError::Absent)?;
    let ids: Vec<i64> = dialects!(link, "SELECT id FROM orders WHERE user_id = ?", |sql, it| {
        sqlx::query_scalar(sql).bind(id.number()).fetch_all(it).await?
    });
    Ok(ids.into_iter().map(OrderId::new).collect())
}

/// Removes a user and, by cascade, the user's orders; [`DbError::Absent`] when there is none.
pub async fn delete(link: Link<'_>, id: UserId) -> Result<(), DbError> {
    let gone = dialects!(link, "DELETE FROM users WHERE id = ?", |sql, it| {
        sqlx::query(sql).bind(id.number()).execute(it).await?.rows_affected()
    });
    if gone == 0 { Err(DbError::Absent) } else { Ok(()) }
}
