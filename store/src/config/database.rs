//! Which database holds the truth?

use std::fmt::{self, Write};

use super::value::Reader;

/// The database that was asked for. Passwords do not print.
#[derive(Clone, Eq, PartialEq)]
pub enum Database {
    /// MySQL or MariaDB, as a URL that the driver understands.
    Mysql(String),
    /// A file, made when it is missing.
    Sqlite(String),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mysql(url) => f.write_str(&masked(url)),
            Self::Sqlite(path) => write!(f, "sqlite://{path}"),
        }
    }
}

pub(super) fn read(read: &mut Reader<'_>) -> Database {
    let parts = read_parts(read);
    let Some(url) = read.text("DATABASE_URL") else {
        let path = || read.text("STORE_DATA").unwrap_or_else(|| "store.sqlite3".to_owned());
        return parts.unwrap_or_else(|| Database::Sqlite(path()));
    };
    let (scheme, rest) = url.split_once("://").unwrap_or((url.split(':').next().unwrap_or(""), ""));
    let database = match scheme {
        "mysql" | "mariadb" => Database::Mysql(format!("mysql://{rest}")),
        "sqlite" if !rest.is_empty() => Database::Sqlite(rest.to_owned()),
        "sqlite" if "sqlite:".len() < url.len() => {
            Database::Sqlite(url["sqlite:".len()..].to_owned())
        }
        _ => {
            let reason = format!("scheme \"{scheme}\" is not supported (mysql, mariadb, sqlite)");
            read.refuse_unseen("DATABASE_URL", &reason);
            Database::Sqlite(String::new())
        }
    };
    if parts.is_some_and(|it| it != database) {
        read.warn(
            "DATABASE_URL and DB_* name different databases: DATABASE_URL is used".to_owned(),
        );
    }
    database
}

/// The database of `DB_*`, `None` when none of them is set.
fn read_parts(read: &mut Reader<'_>) -> Option<Database> {
    let (new, old) = (read.text("DB_PASSWORD"), read.text("DB_PASS"));
    if let (Some(new), Some(old)) = (&new, &old)
        && new != old
    {
        read.warn("DB_PASSWORD and DB_PASS differ: DB_PASSWORD is used".to_owned());
    }
    let host = read.text("DB_HOST");
    let port = read.port("DB_PORT");
    let (name, user, password) = (read.text("DB_NAME"), read.text("DB_USER"), new.or(old));
    if [&host, &name, &user, &password].iter().all(|it| it.is_none()) && port.is_none() {
        return None;
    }
    Some(Database::Mysql(format!(
        "mysql://{}:{}@{}:{}/{}",
        encoded(user.as_deref().unwrap_or("labo04")),
        encoded(password.as_deref().unwrap_or("labo04")),
        host.as_deref().unwrap_or("127.0.0.1"),
        port.unwrap_or(3306),
        encoded(name.as_deref().unwrap_or("labo04_db")),
    )))
}

/// A text as it may stand between the separators of a URL.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes any text");
        }
    }
    out
}

/// The URL with `***` for its password.
pub(super) fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".to_owned();
    };
    match rest.rsplit_once('@') {
        Some((login, place)) => {
            let user = login.split(':').next().unwrap_or("");
            format!("{scheme}://{user}:***@{place}")
        }
        None => url.to_owned(),
    }
}
