//! Arguments → run → exit code.

use std::process::ExitCode;

use balancer::process::command;
use balancer::subcommand;

/// Fewer system calls and less contention than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().collect();
    subcommand::run(&words).unwrap_or_else(|| command::run(words.into_iter().skip(1)))
}
