//! One command from nothing to a shop behind a balancer, and one end for all of it.

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write},
    iter,
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    args,
    shop::{Data, Plan, Replica, Shop},
    signals::Signals,
};

/// How often the parts are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Starts the shop, prints its addresses, and waits for INT, TERM or the end of the balancer.
///
/// A replica that ends is what a balancer is there for: the others serve, and it is started again
/// after `away`.
///
/// # Errors
///
/// When the shop does not start, or when the balancer ends by itself.
pub fn run(plan: &Plan, away: Duration, out: &mut impl Write) -> Result<()> {
    let signals = Signals::take()?;
    let mut shop = match Shop::start(plan, &|| signals.go_on()) {
        Err(_) if signals.received() => return Ok(()),
        it => it?,
    };
    show(&mut shop, plan, out)?;
    // Replicas that have ended, and when each is started again.
    let mut absent = BTreeMap::new();
    while !signals.received() {
        if let Some(end) = shop.balancer_end() {
            bail!("{end}");
        }
        for position in 0..shop.replicas().len() {
            let Some(end) = shop.replica_end(position) else { continue };
            let Some(until) = absent.get(&position) else {
                writeln!(out, "{end}\nIt is started again in {} s.", away.as_secs())?;
                out.flush()?;
                absent.insert(position, Instant::now() + away);
                continue;
            };
            if *until <= Instant::now() {
                let started = shop.restart_replica(position, &|| signals.go_on());
                if !signals.received() {
                    tell(&shop.replicas()[position], started, out)?;
                }
                absent.remove(&position);
            }
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn tell(replica: &Replica, started: Result<()>, out: &mut impl Write) -> io::Result<()> {
    match started {
        Ok(()) => writeln!(out, "{} serves again: {}", replica.name, place(replica))?,
        Err(error) => writeln!(out, "{error:#}")?,
    }
    out.flush()
}

/// Where a replica listens, and the process that does.
fn place(replica: &Replica) -> String {
    format!("{} process {}", replica.address, replica.pid())
}

fn show(shop: &mut Shop, plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    let data = match plan.data {
        Data::Embedded => "SQLite, a cache in each replica",
        Data::Mysql => "private MariaDB and Redis",
    };
    let mut rows = vec![("shop", format!("http://{}", shop.address()))];
    let names = ["replicas"].into_iter().chain(iter::repeat(""));
    let places = shop.replicas().iter().map(|it| format!("{} {}", it.name, place(it)));
    rows.extend(names.zip(places));
    rows.extend([
        ("data", data.to_owned()),
        ("dashboard", format!("http://{}", shop.admin())),
        ("metrics", format!("http://{}/metrics", shop.admin())),
        ("policy", plan.policy.clone()),
        ("change it", format!("edit {}", shop.config_file().display())),
        ("", format!("kill -HUP {}", shop.balancer().pid())),
        ("load it", load_command(shop.address(), shop.admin())),
        ("stop it", "Ctrl-C".to_owned()),
    ]);
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
