//! What was the program asked to do?

pub mod args;
mod describe;
mod healthcheck;
mod serve;
mod verify;

use std::process::ExitCode;

use anyhow::{Context, Result};

use self::args::{Command, Invocation};
use crate::app::App;
use crate::cache::rows;
use crate::config::Config;
use crate::db::migrate;
use crate::repair;
use crate::seed::{self, Outcome};

/// Runs one command to its end.
pub fn run(invocation: Invocation) -> Result<ExitCode> {
    let Invocation { command, config } = invocation;
    match command {
        Command::Serve => runtime(&config)?.block_on(serve::run(config)),
        Command::Migrate => runtime(&config)?.block_on(run_migrate(config)),
        Command::Seed { profile, reset, if_empty } => runtime(&config)?.block_on(async {
            let app = migrated(config).await?;
            if reset {
                seed::reset(&app.db).await?;
            }
            match seed::fill_if_empty(&app.db, &profile).await? {
                Outcome::Filled => say(&format!("seeded {}", profile.name())),
                Outcome::NotEmpty if if_empty => say("the database is not empty: nothing is done"),
                Outcome::NotEmpty => anyhow::bail!(
                    "the database is not empty: use --reset to remove every row first"
                ),
            }
        }),
        Command::Repair { full } => runtime(&config)?.block_on(run_repair(config, full)),
        Command::Verify => runtime(&config)?.block_on(verify::run(config)),
        Command::Healthcheck => runtime(&config)?.block_on(healthcheck::run(config.listen)),
        Command::CheckConfig => say(&format!("{config:#?}")),
        Command::Completions(shell) => {
            describe::completions(shell);
            Ok(ExitCode::SUCCESS)
        }
        Command::Man(folder) => describe::man(&folder).map(|()| ExitCode::SUCCESS),
    }
}

fn runtime(config: &Config) -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = config.workers {
        builder.worker_threads(workers);
    }
    builder.enable_all().build().context("no runtime threads")
}

async fn run_migrate(config: Config) -> Result<ExitCode> {
    migrated(config).await?;
    say("schema is current")
}

async fn run_repair(config: Config, full: bool) -> Result<ExitCode> {
    let app = migrated(config).await?;
    let Some(redis) = &app.cache.redis else {
        anyhow::bail!("no Redis is configured (REDIS_URL, REDIS_HOST)");
    };
    if full {
        rows::forget_filled(redis).await?;
    }
    repair::fill(&app).await?;
    say("Redis says what the database says")
}

async fn migrated(config: Config) -> Result<App> {
    let app = App::new(config)?;
    migrate::run(&app.db, app.config.migrate, app.config.indexes).await?;
    app.db.set_open(true);
    Ok(app)
}

#[expect(
    clippy::print_stdout,
    clippy::unnecessary_wraps,
    reason = "the result of a command goes to standard output"
)]
fn say(text: &str) -> Result<ExitCode> {
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}
