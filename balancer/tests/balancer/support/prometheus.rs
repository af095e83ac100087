//! Prometheus and its checker, where they are installed.

#![expect(clippy::print_stdout, reason = "who reads of a test that was skipped wants to know why")]

use std::path::Path;
use std::process::Command;

/// A command of `promtool`, `None` with a word about it where it is missing.
pub(crate) fn checker(words: &[&str]) -> Option<Command> {
    let mut command = Command::new(find("promtool")?);
    command.args(words);
    Some(command)
}

/// Where a program is, `None` with a word about it where it is missing.
pub(crate) fn find(program: &str) -> Option<String> {
    let folders = std::env::var("PATH").unwrap_or_default();
    let found = folders.split(':').chain(["/usr/bin", "/usr/local/bin"]);
    let found = found.map(|it| format!("{it}/{program}")).find(|it| Path::new(it).is_file());
    if found.is_none() {
        println!("skipped: {program} is not installed; script/bootstrap installs it");
    }
    found
}
