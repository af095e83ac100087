//! The lab: arguments, one run, an exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use lab::args::Args;

fn main() -> ExitCode {
    match Args::parse().run(&mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to say when even the error cannot be written.
            _ = writeln!(io::stderr(), "lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
