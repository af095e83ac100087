//! A MariaDB server of our own, with one database for each who asks.

use std::{
    env, fs,
    io::Read,
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use super::place::{Place, Private};
use crate::process::{Process, program};

/// User and password of the application account on a private server.
pub(super) const ACCOUNT: &str = "labo04";

/// The file of settings in the folder of a server.
pub(super) const SETTINGS: &str = "settings.cnf";

/// How long a first start may take on a busy machine.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);

/// A MariaDB server: a private one that ends with this guard, or the one `TEST_DATABASE_URL` names.
#[derive(Debug)]
pub struct MariaDb {
    place: Place<Account>,
}

/// Where a server listens, and as whom to log in.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Account {
    user: String,
    password: String,
    host: String,
    port: u16,
}

impl MariaDb {
    /// Starts a private server, or takes the one that `TEST_DATABASE_URL` names.
    pub fn start() -> Result<Self> {
        match env::var("TEST_DATABASE_URL") {
            Ok(url) if !url.is_empty() => {
                Ok(Self { place: Place::Elsewhere(Account::parse(&url)?) })
            }
            _ => Self::start_private(),
        }
    }

    /// Starts a private server in any case: for tests that pause or kill it.
    ///
    /// A commit reaches the operating system but is not forced to the disk: it outlives a killed
    /// server, not a power cut.
    pub fn start_private() -> Result<Self> {
        Self::start_private_with("")
    }

    /// The same with lines of a configuration file, `name=value`, for what only some tests need.
    pub fn start_private_with(settings: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lab-mariadb-").tempdir()?;
        install(folder.path())?;
        fs::write(folder.path().join(SETTINGS), format!("[mariadbd]\n{settings}\n"))?;
        Ok(Self { place: Place::Private(Private::start(folder, serve)?) })
    }

    /// Creates a database that nobody else uses and returns its URL, `mysql://…/<name>_<number>`.
    ///
    /// `name` is made of letters, digits and underscores; the number differs for each call and
    /// each process, so two runs on one server do not meet.
    pub fn url(&self, name: &str) -> Result<String> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let plain = |it: char| it.is_ascii_alphanumeric() || it == '_';
        ensure!(name.chars().all(plain), "\"{name}\" is not a name for a database");
        // Relaxed: the number only has to differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}_{}_{number}", std::process::id());
        self.run(&format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4"))?;
        Ok(format!("{}/{name}", self.base_url()))
    }

    /// The URL of the server without a database, `mysql://user:password@host:port`.
    pub fn base_url(&self) -> String {
        self.account().url()
    }

    /// Runs statements as the application account and returns what the client prints: one line per
    /// row, columns separated by tabs, no headings.
    pub fn run(&self, statements: &str) -> Result<String> {
        let account = self.account();
        client(&account.user, &account.password, &account.host, account.port, statements)
    }

    /// The port of 127.0.0.1, or of the host that `TEST_DATABASE_URL` names.
    pub fn port(&self) -> u16 {
        self.account().port
    }

    /// Stops answering without closing a connection, as a machine does that hangs.
    pub fn pause(&mut self) -> Result<()> {
        self.place.pause()
    }

    /// Undoes [`MariaDb::pause`].
    pub fn resume(&mut self) -> Result<()> {
        self.place.resume()
    }

    /// Ends the server as a crash does; the data stay.
    pub fn kill(&mut self) -> Result<()> {
        self.place.kill()
    }

    /// Ends the server if it runs, and starts it again on the same port with the same data.
    pub fn restart(&mut self) -> Result<()> {
        self.place.restart()
    }

    fn account(&self) -> Account {
        match &self.place {
            Place::Private(private) => Account {
                user: ACCOUNT.to_owned(),
                password: ACCOUNT.to_owned(),
                host: "127.0.0.1".to_owned(),
                port: private.port(),
            },
            Place::Elsewhere(account) => account.clone(),
        }
    }
}

impl Account {
    /// Reads `mysql://user:password@host:port`, a database behind it is left aside.
    fn parse(url: &str) -> Result<Self> {
        let shape = || "TEST_DATABASE_URL is not mysql://user:password@host:port".to_owned();
        let rest = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://"));
        let rest = rest.with_context(shape)?.split('/').next().unwrap_or_default();
        let (login, place) = rest.rsplit_once('@').with_context(shape)?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = place.rsplit_once(':').unwrap_or((place, "3306"));
        Ok(Self {
            user: user.to_owned(),
            password: password.to_owned(),
            host: host.to_owned(),
            port: port.parse().with_context(shape)?,
        })
    }

    fn url(&self) -> String {
        format!("mysql://{}:{}@{}:{}", self.user, self.password, self.host, self.port)
    }
}

fn serve(folder: &TempDir, port: u16) -> Result<Process> {
    let mut server = Process::spawn_in(folder, "mariadbd", &mut server(folder.path(), port)?)?;
    server.wait_until_ready(DEADLINE, || Ok(greets(port)))?;
    Ok(server)
}

/// Makes the system tables in a folder, and the file that makes the application account.
pub(super) fn install(folder: &Path) -> Result<()> {
    let install = Command::new(program("mariadb-install-db")?)
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .arg(format!("--user={}", own_name()?))
        .arg(format!("--datadir={}", folder.join("data").display()))
        // Installations that run at once remove each other's files from a common folder.
        .arg(format!("--tmpdir={}", folder.display()))
        .output()
        .context("mariadb-install-db cannot be started")?;
    if !install.status.success() {
        let said = String::from_utf8_lossy(&install.stderr);
        bail!("mariadb-install-db failed: {}", said.trim_end());
    }
    fs::write(folder.join(SETTINGS), "")?;
    fs::write(
        folder.join("accounts.sql"),
        format!(
            "CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY '{ACCOUNT}';\n\
             GRANT ALL ON *.* TO '{ACCOUNT}'@'%';\n"
        ),
    )?;
    Ok(())
}

/// The command that serves a folder; see [`install`].
pub(super) fn server(folder: &Path, port: u16) -> Result<Command> {
    let mut command = Command::new(program("mariadbd")?);
    command
        .arg(format!("--defaults-file={}", folder.join(SETTINGS).display()))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
        .args(["--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=128M"])
        .arg(format!("--user={}", own_name()?))
        .arg(format!("--datadir={}", folder.join("data").display()))
        .arg(format!("--socket={}", folder.join("s").display()))
        .arg(format!("--pid-file={}", folder.join("pid").display()))
        .arg(format!("--init-file={}", folder.join("accounts.sql").display()))
        .arg(format!("--port={port}"));
    Ok(command)
}

/// Runs statements and returns what the client prints.
pub(super) fn client(
    user: &str,
    password: &str,
    host: &str,
    port: u16,
    statements: &str,
) -> Result<String> {
    let output = Command::new(program("mariadb")?)
        .args(["--no-defaults", "--protocol=TCP", "--batch", "--skip-column-names"])
        .arg(format!("--host={host}"))
        .arg(format!("--port={port}"))
        .arg(format!("--user={user}"))
        .args(["-e", statements])
        .env("MYSQL_PWD", password)
        .output()
        .context("mariadb cannot be started")?;
    if !output.status.success() {
        bail!("MariaDB refused: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the server speaks first, as a MySQL server does once it takes connections.
pub(super) fn greets(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok_and(|mut it| {
        let mut length_and_number = [0; 4];
        it.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
            && it.read_exact(&mut length_and_number).is_ok()
    })
}

/// mariadbd refuses to run as root unless it is told to by name.
fn own_name() -> Result<String> {
    let user = User::from_uid(Uid::effective())?.context("this user has no name")?;
    Ok(user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_with_and_without_its_optional_parts() {
        let check = |url: &str, expected: &str| {
            assert_eq!(Account::parse(url).unwrap().url(), expected, "{url}");
        };
        check("mysql://a:b@h:1", "mysql://a:b@h:1");
        check("mysql://a:b@h:1/ignored", "mysql://a:b@h:1");
        check("mariadb://a:b@h", "mysql://a:b@h:3306");
        check("mysql://a@h", "mysql://a:@h:3306");
        assert!(Account::parse("postgres://a:b@h:1").is_err());
        assert!(Account::parse("mysql://h:1").is_err());
        assert!(Account::parse("mysql://a:b@h:x").is_err());
    }
}
