//! How do shells and `man` learn what may be typed?

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap_complete::Shell;

use super::args;

/// Writes the completions of a shell to standard output.
pub(super) fn completions(shell: Shell) {
    clap_complete::generate(shell, &mut args::clap(), "store", &mut io::stdout());
}

/// Writes a manual page for each command into a folder.
pub(super) fn man(folder: &Path) -> Result<()> {
    clap_mangen::generate_to(args::clap(), folder).with_context(|| folder.display().to_string())
}
