//! Arguments in, exit code out.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;

use store::command::args::{self, Refusal};
use store::config::{Config, LogFormat};
use tracing_subscriber::EnvFilter;

#[expect(clippy::print_stderr, reason = "a program that does not start has no log")]
fn main() -> ExitCode {
    let environment: HashMap<_, _> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let dotenv = std::fs::read_to_string(".env").unwrap_or_default();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "store" } else { host.trim() };
    let (invocation, warnings) = match args::parse(std::env::args(), &environment, &dotenv, host) {
        Ok(parsed) => parsed,
        Err(Refusal::Usage(text)) => {
            // Help and version belong on standard output, which clap knows.
            let _ = text.print();
            return if text.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
        Err(Refusal::Variables(refusals)) => {
            eprintln!("store: {}", refusals.join("; "));
            return ExitCode::from(2);
        }
    };
    if let Err(error) = start_log(&invocation.config) {
        eprintln!("store: STORE_LOG={:?}: {error}", invocation.config.log);
        return ExitCode::from(2);
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    match store::command::run(invocation) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("store: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(config: &Config) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(&config.log)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
