//! What was typed? Flags, environment and `.env`, merged into one configuration.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command as Clap, value_parser};
use clap_complete::Shell;

use crate::config::{Config, sources};
use crate::seed::{Profile, Volume};

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Answer requests.
    Serve,
    /// Make the schema current.
    Migrate,
    /// Fill the database.
    Seed {
        /// With what.
        profile: Profile,
        /// Remove every row first.
        reset: bool,
        /// Do nothing, and succeed, where there is a row.
        if_empty: bool,
    },
    /// Write into Redis what the database says.
    Repair {
        /// All of it, not only stocks and recent orders.
        full: bool,
    },
    /// Check what the database and Redis hold.
    Verify,
    /// Ask the running replica whether it is ready.
    Healthcheck,
    /// Print the configuration.
    CheckConfig,
    /// Print what a shell offers.
    Completions(Shell),
    /// Write the manual pages into a folder.
    Man(PathBuf),
}

/// A command with everything it needs.
#[derive(Debug)]
pub struct Invocation {
    /// What is to be done.
    pub command: Command,
    /// How.
    pub config: Config,
}

/// Why there is no invocation.
#[derive(Debug)]
pub enum Refusal {
    /// Help, version, or an unknown flag: the text is clap's.
    Usage(clap::Error),
    /// Variables that cannot be read, one sentence each.
    Variables(Vec<String>),
}

/// Reads what was typed. The second value holds warnings.
pub fn parse(
    typed: impl IntoIterator<Item = String>,
    environment: &HashMap<String, String>,
    dotenv: &str,
    host: &str,
) -> Result<(Invocation, Vec<String>), Refusal> {
    let matches = clap().try_get_matches_from(typed).map_err(Refusal::Usage)?;
    let (name, inner) = matches.subcommand().unwrap_or(("serve", &matches));
    let dotenv = sources::dotenv(dotenv);
    let mut unknown = sources::unknown(environment.keys().chain(dotenv.keys()).map(String::as_str));
    unknown.sort_unstable();
    unknown.dedup();
    let set = |it: &&String| !it.trim().is_empty();
    let lookup = |variable: &str| {
        let flag = inner.try_get_one::<String>(variable).ok().flatten();
        flag.filter(set)
            .or_else(|| environment.get(variable).filter(set))
            .or_else(|| dotenv.get(variable).filter(set))
            .cloned()
    };
    let (config, mut warnings) = Config::read(&lookup, host).map_err(Refusal::Variables)?;
    warnings.append(&mut unknown);
    let command = match name {
        "migrate" => Command::Migrate,
        "seed" => Command::Seed {
            profile: profile(inner, seed_value(inner).unwrap_or(config.seed_value)),
            reset: inner.get_flag("reset"),
            if_empty: inner.get_flag("if-empty"),
        },
        "repair" => Command::Repair { full: inner.get_flag("full") },
        "verify" => Command::Verify,
        "healthcheck" => Command::Healthcheck,
        "check-config" => Command::CheckConfig,
        "completions" => Command::Completions(required(inner, "shell")),
        "man" => Command::Man(required(inner, "folder")),
        _ => Command::Serve,
    };
    Ok((Invocation { command, config }, warnings))
}

/// `store seed --seed 7` means the start of the generator, not what an empty database is filled with.
fn seed_value(matches: &ArgMatches) -> Option<u64> {
    matches.get_one::<u64>("seed").copied()
}

/// An argument without which clap refuses what was typed.
fn required<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
    matches.get_one::<T>(name).cloned().expect("clap asks for it")
}

fn profile(matches: &ArgMatches, seed: u64) -> Profile {
    let number = |name, default| matches.get_one::<i64>(name).copied().unwrap_or(default);
    match matches.get_one::<String>("profile").map(String::as_str) {
        Some("lab") => Profile::lab(seed),
        Some("custom") => {
            let items_min = number("items-min", 1);
            Profile::Drawn(
                "custom",
                Volume {
                    users: number("users", 1000),
                    products: number("products", 10_000),
                    orders: number("orders", 80_000),
                    items_min,
                    items_max: number("items-max", 5).max(items_min),
                    seed,
                },
            )
        }
        _ => Profile::Small,
    }
}

pub(super) fn clap() -> Clap {
    let serve = Clap::new("serve").about("Answer requests (default)");
    let commands = [
        serve,
        Clap::new("migrate").about("Make the schema current"),
        seed_command(),
        Clap::new("repair")
            .about("Write stocks and recent orders into Redis again")
            .arg(Arg::new("full").long("full").action(ArgAction::SetTrue).help("Write everything")),
        Clap::new("verify")
            .about("Compare totals and Redis with the database, print the SHA-256 of the data"),
        Clap::new("healthcheck").about("Ask the replica on its own port whether it is ready"),
        Clap::new("check-config").about("Print the configuration without its passwords"),
    ];
    Clap::new("store")
        .about("A store manager worth balancing: products, users, orders, stock, reports")
        .version(env!("CARGO_PKG_VERSION"))
        .args(variables())
        .subcommands(commands.map(|it| {
            let own = it.get_name() == "seed";
            it.args(variables().filter(move |variable| !own || variable.get_id() != "STORE_SEED"))
        }))
        .subcommands([
            Clap::new("completions")
                .about("Print what a shell offers after `store`")
                .hide(true)
                .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell))),
            Clap::new("man")
                .about("Write the manual pages into a folder")
                .hide(true)
                .arg(Arg::new("folder").required(true).value_parser(value_parser!(PathBuf))),
        ])
        .args_conflicts_with_subcommands(true)
}

fn seed_command() -> Clap {
    let number = |name: &'static str, least: i64, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .value_parser(value_parser!(i64).range(least..=100_000_000))
            .help(help)
    };
    Clap::new("seed").about("Fill an empty database").args([
        Arg::new("profile").value_parser(["small", "lab", "custom"]).default_value("small"),
        Arg::new("reset").long("reset").action(ArgAction::SetTrue).help("Remove every row first"),
        Arg::new("if-empty")
            .long("if-empty")
            .action(ArgAction::SetTrue)
            .conflicts_with("reset")
            .help("Leave a filled database as it is, and succeed"),
        number("users", 1, "Users of `custom`"),
        number("products", 1, "Products of `custom`"),
        number("orders", 0, "Orders of `custom`"),
        number("items-min", 1, "Fewest lines of an order of `custom`"),
        number("items-max", 1, "Most lines of an order of `custom`"),
        Arg::new("seed")
            .long("seed")
            .value_name("N")
            .value_parser(value_parser!(u64))
            .help("Start of the generator [430]"),
    ])
}

/// One flag per variable, named after it.
fn variables() -> impl Iterator<Item = Arg> {
    sources::VARIABLES.iter().map(|(name, default, meaning)| {
        let help = if default.is_empty() {
            (*meaning).to_owned()
        } else {
            format!("{meaning} [{default}]")
        };
        Arg::new(*name)
            .long(sources::flag(name))
            .value_name("VALUE")
            .help(help)
            .help_heading("Settings")
    })
}
