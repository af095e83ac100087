//! One MariaDB for a whole test run, instead of one for each test process.

use std::{ffi::OsString, process::Command};

use anyhow::{Context, Result, ensure};

use crate::{data_services::MariaDb, signals::Signals};

/// Runs `command` with `TEST_DATABASE_URL` pointing at a MariaDB that ends with it.
///
/// Redis is not shared: it starts in an instant, and tests would meet each other's keys in it.
///
/// # Errors
///
/// When the command does not succeed.
pub fn run(command: &[OsString]) -> Result<()> {
    // Ctrl-C reaches the command too; the server and its folder are removed after its end.
    let _signals = Signals::take()?;
    let mariadb = MariaDb::start()?;
    let (program, arguments) = command.split_first().context("no command was given")?;
    let status = Command::new(program)
        .args(arguments)
        .env("TEST_DATABASE_URL", mariadb.base_url())
        .status()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    ensure!(status.success(), "{}: {status}", program.display());
    Ok(())
}
