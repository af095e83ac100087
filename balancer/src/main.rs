//! Arguments → run → exit code.

use std::process::ExitCode;

use balancer::process::command;
use balancer::subcommand;

/// Fewer system calls and less contention than the system's allocator. Huge pages would be taken
/// whole for the little that a worker needs: twice the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Where the system gives them to everybody. Without an effect it only costs memory.
    let _ = nix::sys::prctl::set_thp_disable(true);
    let words: Vec<_> = std::env::args().collect();
    subcommand::run(&words).unwrap_or_else(|| command::run(words.into_iter().skip(1)))
}
