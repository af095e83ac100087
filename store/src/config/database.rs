//! Which database holds the truth?

use std::fmt::{self, Write};

use super::value::Reader;

/// The database that was asked for. Passwords do not print.
#[derive(Clone, Eq, PartialEq)]
pub enum Database {
    /// MySQL or MariaDB: URLs that the driver understands, of one server or of a cluster.
    Mysql(Vec<String>),
    /// A file, made when it is missing.
    Sqlite(String),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mysql(urls) => {
                let urls: Vec<_> = urls.iter().map(|it| masked(it)).collect();
                f.write_str(&urls.join(","))
            }
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
        "mysql" | "mariadb" => Database::Mysql(servers(rest)),
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
    let login = format!(
        "{}:{}",
        encoded(user.as_deref().unwrap_or("labo04")),
        encoded(password.as_deref().unwrap_or("labo04"))
    );
    let port = port.unwrap_or(3306);
    let hosts = host.as_deref().unwrap_or("127.0.0.1").split(',').map(str::trim);
    let places: Vec<_> = hosts.map(|it| with_port(it, port)).collect();
    let name = encoded(name.as_deref().unwrap_or("labo04_db"));
    Some(Database::Mysql(servers(&format!("{login}@{}/{name}", places.join(",")))))
}

/// One URL for each of the places between login and path.
fn servers(rest: &str) -> Vec<String> {
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (before, path) = rest.split_at(end);
    let (login, places) = before.rfind('@').map_or(("", before), |it| before.split_at(it + 1));
    places.split(',').map(|it| format!("mysql://{login}{it}{path}")).collect()
}

fn with_port(host: &str, port: u16) -> String {
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(before, _)| !before.contains(':') || before.ends_with(']'));
    if has_port { host.to_owned() } else { format!("{host}:{port}") }
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
