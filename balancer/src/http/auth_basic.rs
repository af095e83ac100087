//! `auth_basic`: who knows a user's password is served.
//!
//! Source: nginx `ngx_http_auth_basic_module.c`.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::conf::{Block, ConfError, Effect, Row, Word};
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::hash;
use crate::http::put;
use crate::http::variable::{Template, compile};
use crate::variable::Names;

pub mod password;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    realm: Option<Word>,
    file: Option<Word>,
    delay: Option<Duration>,
}

const WITH_LIMIT_EXCEPT: &[Block] =
    &[Block::Http, Block::Server, Block::Location, Block::LimitExcept];

/// Directives of `http`, `server`, `location` and `limit_except`.
pub const ROWS: &[Row<Settings>] = &[
    Row {
        name: "auth_basic",
        within: WITH_LIMIT_EXCEPT,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.realm, Ok(directive.text().clone()))),
    },
    Row {
        name: "auth_basic_user_file",
        within: WITH_LIMIT_EXCEPT,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.file, Ok(directive.text().clone()))),
    },
    Row {
        name: "auth_delay",
        within: crate::http::EVERYWHERE,
        arguments: 1..=1,
        effect: Effect::Set(|it, directive| put(&mut it.delay, directive.milliseconds())),
    },
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            realm: self.realm.or_else(|| outer.realm.clone()),
            file: self.file.or_else(|| outer.file.clone()),
            delay: self.delay.or(outer.delay),
        }
    }

    /// How long a refusal is held back.
    pub fn delay(&self) -> Duration {
        self.delay.unwrap_or_default()
    }

    /// What a request needs; `None` where no password is asked for. Names of files begin at `conf`.
    pub fn compile(
        &self,
        names: &Names<Exchange>,
        conf: &Path,
    ) -> Result<Option<AuthBasic>, ConfError> {
        let (Some(realm), Some(file)) = (&self.realm, &self.file) else { return Ok(None) };
        if *realm == "off" {
            return Ok(None);
        }
        let folder = conf.parent().unwrap_or(conf).to_owned();
        Ok(Some(AuthBasic { realm: compile(realm, names)?, file: compile(file, names)?, folder }))
    }
}

/// Whose passwords a location asks for.
#[derive(Debug)]
pub struct AuthBasic {
    realm: Template,
    file: Template,
    folder: PathBuf,
}

/// What becomes of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Nothing is asked of it.
    Open,
    /// It goes on.
    Pass,
    /// That is known when its password has been checked.
    Check(Proof),
    /// It is refused; why, and how the client is asked: `WWW-Authenticate`.
    Ask(String, Vec<u8>),
    /// It gets this status; why.
    Fail(u16, String),
}

impl AuthBasic {
    /// The name of the file with the passwords.
    pub fn path(&self, exchange: &Exchange) -> Vec<u8> {
        let name = self.file.value(exchange);
        let path = self.folder.join(std::ffi::OsStr::from_bytes(&name));
        path.into_os_string().into_vec()
    }

    /// Judges a request; `read` gives the file of a name, or the status and the reason of a failure.
    pub fn judge(
        &self,
        exchange: &Exchange,
        read: impl FnOnce(&[u8]) -> Result<Vec<u8>, (u16, String)>,
    ) -> Verdict {
        let realm = self.realm.value(exchange);
        if realm == b"off" {
            return Verdict::Open;
        }
        let ask = |why: String| Verdict::Ask(why, [b"Basic realm=\"", &realm[..], b"\""].concat());
        let Some((user, password)) = credentials(exchange) else {
            return ask("no user/password was provided for basic authentication".to_owned());
        };
        let path = self.path(exchange);
        let file = match read(&path) {
            Ok(file) => file,
            Err((status, why)) => return Verdict::Fail(status, why),
        };
        let shown = String::from_utf8_lossy(&user).into_owned();
        let Some(entry) = entry(&file, &user) else {
            let path = String::from_utf8_lossy(&path);
            return ask(format!("user \"{shown}\" was not found in \"{path}\""));
        };
        let entry = entry.to_vec();
        let refusal = ask(format!("user \"{shown}\": password mismatch"));
        Verdict::Check(Proof { password, entry, refusal: Box::new(refusal) })
    }
}

/// A password that somebody has given, and the entry that it has to belong to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proof {
    password: Vec<u8>,
    entry: Vec<u8>,
    refusal: Box<Verdict>,
}

impl Proof {
    /// Whether checking it takes so long that other requests would notice.
    pub fn is_slow(&self) -> bool {
        password::is_slow(&self.entry)
    }

    /// Checks it.
    pub fn check(self) -> Verdict {
        match password::verify(&self.password, &self.entry) {
            Some(true) => Verdict::Pass,
            Some(false) => *self.refusal,
            None => Verdict::Fail(500, "crypt_r() failed (22: Invalid argument)".to_owned()),
        }
    }
}

/// The line of a user: what stands between the first colon and the next.
fn entry<'a>(file: &'a [u8], user: &[u8]) -> Option<&'a [u8]> {
    let lines = file.split(|it| *it == b'\n').filter(|it| !it.starts_with(b"#"));
    let rests = lines.filter_map(|it| it.strip_prefix(user)?.strip_prefix(b":"));
    rests.map(|it| it.split(|it| matches!(it, b':' | b'\r')).next().unwrap_or_default()).next()
}

/// User and password of the `Authorization` line.
///
/// Source: nginx `ngx_http_core_module.c`, `ngx_http_auth_basic_user`.
pub fn credentials(exchange: &Exchange) -> Option<(Vec<u8>, Vec<u8>)> {
    const NAME: &[u8] = b"authorization";
    let value = exchange.field(const { hash(NAME) }, NAME).map(|it| exchange.text(it.value))?;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = BASE64.decode(rest.trim_ascii_start()).ok()?;
    let colon = decoded.iter().position(|it| *it == b':')?;
    let (user, password) = decoded.split_at(colon);
    (!user.is_empty()).then(|| (user.to_vec(), password[1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_the_whole_name() {
        let file = b"#a:no\nab:1\r\na:2:a comment\na:3\n";
        assert_eq!(entry(file, b"a"), Some(&b"2"[..]));
        assert_eq!(entry(file, b"ab"), Some(&b"1"[..]));
        assert_eq!(entry(file, b"#a"), None);
        assert_eq!(entry(file, b"b"), None);
    }
}
