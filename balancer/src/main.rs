//! Arguments → run → exit code.

use std::process::ExitCode;

use balancer::process::command;

/// Fewer system calls and less contention than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command::run(std::env::args().skip(1))
}
