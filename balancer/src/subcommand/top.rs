//! `balancer top`: the page of the admin listener, on a terminal.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use rustix::termios::tcgetwinsize;

use self::screen::{Status, draw};
use super::ask::{ADDRESS, cannot, get};

mod screen;

/// Lines and columns where nobody says how many there are.
const LINES: usize = 24;
const COLUMNS: usize = 120;

/// What was typed.
#[derive(Debug, Eq, PartialEq)]
struct Asked {
    address: String,
    once: bool,
    interval: Duration,
}

impl Asked {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut asked =
            Self { address: ADDRESS.to_owned(), once: false, interval: Duration::from_secs(1) };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.split_once('=').map_or((&**word, None), |(it, value)| (it, Some(value))) {
                ("--once", None) => asked.once = true,
                ("--interval", value) => {
                    let value = value.or_else(|| words.next().map(String::as_str));
                    let value = value.ok_or("option \"--interval\" requires seconds")?;
                    let wait: Option<f64> = value.parse().ok();
                    let wait = wait.filter(|it| (0.1..=3600.0).contains(it));
                    let refuse = || format!("invalid option: \"--interval {value}\"");
                    asked.interval = Duration::from_secs_f64(wait.ok_or_else(refuse)?);
                }
                (address, None) if !address.starts_with('-') => {
                    address.clone_into(&mut asked.address);
                }
                _ => return Err(format!("invalid option: \"{word}\"\n{USAGE}")),
            }
        }
        Ok(asked)
    }
}

const USAGE: &str = "Usage: balancer top [--once] [--interval seconds] [address]

  address       : of the admin listener (default: 127.0.0.1:8081)
  --once        : show it once and end, as where standard output is no terminal";

/// Shows what the balancer behind an admin listener does, until it is interrupted.
pub(super) fn run(words: &[String], is_plain: bool) -> Result<ExitCode, String> {
    let asked = Asked::parse(words)?;
    let out = io::stdout();
    if asked.once || !out.is_terminal() {
        let status = ask(&asked.address).map_err(|it| cannot(&asked.address, &it))?;
        let color = out.is_terminal() && !is_plain;
        super::write(&draw(&status, (usize::MAX, usize::MAX), color))?;
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        let size = tcgetwinsize(&out).ok().filter(|it| it.ws_row > 0 && it.ws_col > 0);
        let size = size.map_or((LINES, COLUMNS), |it| (it.ws_row.into(), it.ws_col.into()));
        let text = match ask(&asked.address) {
            Ok(status) => draw(&status, size, !is_plain),
            Err(error) => cannot(&asked.address, &error) + "\n",
        };
        // From the first place on, each line cleared behind its end: nothing flickers.
        let text = text.trim_end_matches('\n').replace('\n', "\x1b[K\n");
        super::write(&format!("\x1b[H{text}\x1b[K\x1b[J"))?;
        std::thread::sleep(asked.interval);
    }
}

/// The status of the balancer behind an admin listener.
fn ask(address: &str) -> io::Result<Status> {
    match get(address, "/api/status")? {
        (200, body) => serde_json::from_slice(&body).map_err(io::Error::from),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no admin listener")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Asked, String> {
        Asked::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn an_address_may_stand_anywhere() {
        let asked = parse("--once 127.0.0.1:1 --interval=0.5").unwrap();
        assert_eq!((asked.address.as_str(), asked.once), ("127.0.0.1:1", true));
        assert_eq!(asked.interval, Duration::from_millis(500));
        assert_eq!(parse("").unwrap().address, ADDRESS);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(parse("--nope").unwrap_err().starts_with("invalid option: \"--nope\""));
        assert_eq!(parse("--interval 0").unwrap_err(), "invalid option: \"--interval 0\"");
        assert_eq!(parse("--interval").unwrap_err(), "option \"--interval\" requires seconds");
    }
}
