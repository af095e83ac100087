//! One command from nothing to a shop behind a balancer, and one end for all of it.

use std::{
    env,
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{
    args,
    shop::{Data, Plan, Shop},
    signals::Signals,
};

/// How often the parts are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Starts the shop, prints its addresses, and waits for INT, TERM or the end of a part.
///
/// # Errors
///
/// When the shop does not start, or when one of its parts ends by itself.
pub fn run(plan: &Plan, out: &mut impl Write) -> Result<()> {
    let signals = Signals::take()?;
    let mut shop = match Shop::start(plan, &|| signals.go_on()) {
        Err(_) if signals.received() => return Ok(()),
        it => it?,
    };
    show(&mut shop, plan, out)?;
    while !signals.received() {
        if let Some(end) = shop.first_end() {
            bail!("{end}");
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn show(shop: &mut Shop, plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    let replicas: Vec<_> = shop.replicas().iter().map(|it| it.address.to_string()).collect();
    let data = match plan.data {
        Data::Embedded => "SQLite, a cache in each replica",
        Data::Mysql => "private MariaDB and Redis",
    };
    let rows = [
        ("shop", format!("http://{}", shop.address())),
        ("replicas", replicas.join(" ")),
        ("data", data.to_owned()),
        ("metrics", format!("http://{}/metrics", shop.admin())),
        ("policy", plan.policy.clone()),
        ("change it", format!("edit {}", shop.config_file().display())),
        ("", format!("kill -HUP {}", shop.balancer().pid())),
        ("load it", load_command(shop.address(), shop.admin())),
        ("stop it", "Ctrl-C".to_owned()),
    ];
    for (name, value) in rows {
        writeln!(out, "{name:<10} {value}")?;
    }
    out.flush()
}

/// The command line that loads this shop, as short as the current folder allows.
fn load_command(shop: SocketAddr, admin: SocketAddr) -> String {
    let program = env::current_exe().unwrap_or_else(|_| PathBuf::from("lab"));
    let folder = env::current_dir().unwrap_or_default();
    let program = program.strip_prefix(folder).unwrap_or(&program);
    let command = format!("{} load --users 150 --rate 2 --time 120s", program.display());
    if shop.to_string() == args::SHOP {
        command
    } else {
        format!("{command} --shop {shop} --admin {admin}")
    }
}
