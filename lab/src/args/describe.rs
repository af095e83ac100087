//! How do shells and `man` learn what may be typed?

use std::{io::Write, path::Path};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use super::Args;

/// Writes the completions of a shell.
pub(super) fn completions(shell: Shell, out: &mut impl Write) {
    clap_complete::generate(shell, &mut Args::command(), "lab", out);
}

/// Writes a manual page for each command into a folder.
pub(super) fn man(folder: &Path) -> Result<()> {
    clap_mangen::generate_to(Args::command(), folder).with_context(|| folder.display().to_string())
}
