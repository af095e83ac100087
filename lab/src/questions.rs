//! What are the answers to the nine questions of the lab, on this machine?
//!
//! Runs the experiments behind them and writes a page for each language. A page is made from the
//! record alone; what the data do not show, it does not say.

mod answers;
mod cost;
mod lang;
mod trial;

use std::{fs, io::Write, num::NonZeroU8, path::PathBuf};

use anyhow::{Context, Result, ensure};
use askama::Template;
use policy::SplitMix64;

use self::{
    answers::{Answer, Found},
    cost::Cost,
    trial::{Size, Trial, WORDS, cost_name, load_name, order_costs, trials},
};
use crate::{
    experiment::{
        self, Experiment, Pool,
        front::Kind,
        machine, one_by_one,
        plan::Load,
        run::{Cell, Measured},
    },
    record::{About, Record},
    shop::{Data, Plan, Seed, Shop, Volume},
    signals::Signals,
};

pub use lang::Lang;

/// Replicas that are there; most runs use the first of them only.
const REPLICAS: NonZeroU8 = NonZeroU8::new(3).expect("3 is not 0");

/// How requests come, in both languages.
const MODE: (&str, &str) = (
    "closed loop by Locust; E4 one order at a time; E8 open loop",
    "boucle fermée par Locust ; E4 une commande à la fois ; E8 boucle ouverte",
);

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Questions {
    /// Less than a quarter of an hour, with fewer users and shorter runs.
    pub quick: bool,
    /// Repeats, if not those of the form.
    pub reps: Option<u64>,
    /// The only language; both without.
    pub lang: Option<Lang>,
    /// Makes the pages of this folder and runs nothing.
    pub from: Option<PathBuf>,
    /// Where to keep what is measured.
    pub out: Option<PathBuf>,
}

/// Runs everything and writes the pages beside the record.
///
/// # Errors
///
/// When a part does not start or ends by itself.
pub fn run(asked: &Questions, out: &mut impl Write) -> Result<()> {
    let folder = match &asked.from {
        Some(it) => it.clone(),
        None => measure(asked, out)?,
    };
    let record = Record::read(&folder)?;
    for lang in asked.lang.map_or_else(|| vec![Lang::En, Lang::Fr], |it| vec![it]) {
        let page = folder.join(format!("questions.{}.html", lang.code()));
        fs::write(&page, make(&record, lang)?).with_context(|| format!("{}", page.display()))?;
        writeln!(out, "{}", page.display())?;
    }
    Ok(())
}

#[derive(Template)]
#[template(path = "questions.html")]
struct Page<'a> {
    lang: Lang,
    about: &'a About,
    mode: &'a str,
    /// What the words in the names of runs mean.
    words: Vec<(&'a str, &'a str)>,
    answers: Vec<Answer>,
    discarded: Vec<String>,
}

/// The page of a record in a language.
pub fn make(record: &Record, lang: Lang) -> Result<String> {
    let size = record.about.facts.get("size").context("not a record of lab questions")?;
    let size: Size = serde_json::from_str(size)?;
    let costs =
        size.products.iter().flat_map(|it| size.lines.iter().map(move |lines| (*it, *lines)));
    let pools = balancing_plan(&size).settings()?;
    let load = load_name(&size);
    let found = Found {
        record,
        lang,
        load: &load,
        costs: costs.collect(),
        pools: [pools[0].0.clone(), pools[1].0.clone()],
    };
    let discarded =
        record.rows.iter().filter(|it| it.endpoint.is_empty() && !it.invalid.is_empty());
    let discarded = discarded
        .map(|it| format!("{}, {}, {}: {}", it.load, it.policy, it.repeat + 1, it.invalid))
        .collect();
    let words = WORDS.iter().map(|(word, english, french)| (*word, lang.say(english, french)));
    let (words, answers) = (words.collect(), answers::all(&found)?);
    let (about, mode) = (&record.about, lang.say(MODE.0, MODE.1));
    Ok(Page { lang, about, mode, words, answers, discarded }.render()?)
}

fn measure(asked: &Questions, out: &mut impl Write) -> Result<PathBuf> {
    let signals = Signals::take()?;
    let go_on = || signals.go_on();
    let mut size = if asked.quick { Size::quick() } else { Size::full() };
    size.reps = asked.reps.unwrap_or(size.reps);
    ensure!(0 < size.reps, "0 repeats say nothing");
    let name = if asked.quick { "questions-quick" } else { "questions" };
    let folder = asked.out.clone().map_or_else(|| experiment::new_folder(name), Ok)?;
    ensure!(!folder.exists(), "{} is there already", folder.display());

    let mut record = experiment::campaign(&balancing_plan(&size), &folder, &go_on, out)?;
    stages(&size, &mut record, &go_on, out)?;
    order_lines(&size, &mut record, &go_on, out)?;
    let mut facts = machine::facts();
    facts.insert("size".to_owned(), serde_json::to_string(&size)?);
    record.about = About {
        title: "The nine questions".to_owned(),
        kind: "live".to_owned(),
        mode: MODE.0.to_owned(),
        facts,
    };
    record.write(&folder)?;
    Ok(folder)
}

/// E8: policies before equal replicas and with one slow replica.
fn balancing_plan(size: &Size) -> Experiment {
    Experiment {
        title: "E8".to_owned(),
        policies: ["round_robin", "least_conn", "random"].map(str::to_owned).into(),
        pools: vec![Pool::Equal, Pool::OneSlow],
        servers: REPLICAS,
        rates: vec![size.rate],
        reps: size.reps,
        seconds: size.seconds.min(20.0),
        warmup: 1.0,
        pause: 0.2,
        data: Data::Embedded,
        store: Seed::Lab,
        // The load, the balancer and all replicas share this machine.
        late_ms: 10.0,
        ..Experiment::default()
    }
}

fn plan(size: &Size, products: u32) -> Plan {
    let (users, _, orders) = size.volume;
    Plan {
        replicas: REPLICAS,
        policy: "least_conn".to_owned(),
        data: Data::Mysql,
        seed: Seed::Lab,
        port: 0,
        variables: Vec::new(),
        volume: Some(Volume { users, products, orders }),
    }
}

/// E1 to E3 and E5 to E7: the lab's load on stores that differ in one thing each.
fn stages(
    size: &Size,
    record: &mut Record,
    go_on: &dyn Fn() -> Result<()>,
    out: &mut impl Write,
) -> Result<()> {
    let trials = trials();
    let experiment = Experiment {
        seconds: size.seconds,
        warmup: size.ramp,
        reps: size.reps,
        servers: REPLICAS,
        ..Experiment::default()
    };
    let [hot, wide] = [true, false].map(|hot| Experiment { hot, ..experiment.clone() });
    let (kind, load) = (Kind::parse("least_conn")?, load_name(size));
    let mut shop = Shop::start(&plan(size, size.volume.1), go_on)?;
    let mut draw = SplitMix64::new(experiment.seed);
    let all = trials.len() * usize::try_from(size.reps)?;
    let mut kept: Vec<(usize, usize, Measured)> = Vec::new();
    for repeat in 0..size.reps {
        for (_, place) in experiment::shuffled(1, trials.len(), &mut draw) {
            let trial = &trials[place];
            shop.configure(&trial.variables, go_on)?;
            let replicas: Vec<_> = shop.replicas().iter().map(|it| it.address).collect();
            let before = Cost::fetch(&replicas)?;
            let cell = Cell {
                plan: if trial.profile == "hot" { &hot } else { &wide },
                name: &load,
                label: trial.name,
                kind: &kind,
                servers: trial.replicas,
                pool: Pool::Equal,
                load: Load::Users(size.users),
                repeat,
            };
            let mut measured = cell.run(&mut shop, go_on)?;
            let after = Cost::fetch(&replicas)?;
            if let Some(row) = measured.rows.first_mut() {
                after.tell(&before, row);
            }
            experiment::show(kept.len() + 1, all, &measured, out)?;
            kept.push((0, place, measured));
        }
    }
    kept.sort_by_key(|it| it.1);
    experiment::keep(kept, record);
    Ok(())
}

/// E4: one order at a time, by its lines and by the products of the shop.
fn order_lines(
    size: &Size,
    record: &mut Record,
    go_on: &dyn Fn() -> Result<()>,
    out: &mut impl Write,
) -> Result<()> {
    let stores: Vec<Trial> = order_costs();
    for products in &size.products {
        let plan = Plan { replicas: NonZeroU8::MIN, ..plan(size, *products) };
        let mut shop = Shop::start(&plan, go_on)?;
        let mut draw = SplitMix64::new(u64::from(*products));
        for repeat in 0..size.reps {
            for (_, place) in experiment::shuffled(1, stores.len(), &mut draw) {
                shop.configure(&stores[place].variables, go_on)?;
                for (_, lines) in experiment::shuffled(1, size.lines.len(), &mut draw) {
                    go_on()?;
                    let lines = size.lines[lines];
                    let data = (lines, *products, size.volume.0);
                    let address = shop.replicas()[0].address;
                    let seed = (repeat << 32) | u64::from(lines);
                    let mut row = one_by_one::orders(address, data, size.orders, seed)?;
                    row.load = cost_name(*products, lines);
                    stores[place].name.clone_into(&mut row.policy);
                    row.repeat = repeat;
                    record.rows.push(row);
                }
            }
            writeln!(out, "{products} products: repeat {} of {}", repeat + 1, size.reps)?;
            out.flush()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Row;

    /// What would be kept if a request took so long in a repeat of a trial.
    fn record(millis: impl Fn(&str, u64) -> f64) -> Record {
        let size = Size { reps: 5, ..Size::quick() };
        let mut record = Record::default();
        record.about.facts.insert("size".to_owned(), serde_json::to_string(&size).unwrap());
        for trial in trials() {
            for repeat in 0..size.reps {
                for endpoint in [""].into_iter().chain(answers::ENDPOINTS) {
                    let mut row = Row {
                        load: load_name(&size),
                        policy: trial.name.to_owned(),
                        repeat,
                        endpoint: endpoint.to_owned(),
                        ..Row::default()
                    };
                    for figure in ["p50", "p95"] {
                        row.set(figure, millis(trial.name, repeat) / 1e3);
                    }
                    row.set("answered", 100.0);
                    row.set("failed", 0.0);
                    row.set("per_second", 20.0);
                    record.rows.push(row);
                }
            }
        }
        record
    }

    fn noise(repeat: u64) -> f64 {
        [0.0, 0.4, -0.3, 0.2, -0.1][usize::try_from(repeat).unwrap_or(0)]
    }

    #[test]
    fn equal_data_give_no_difference_in_either_language() {
        let record = record(|name, repeat| {
            10.0 + noise((repeat + u64::try_from(name.len()).unwrap_or(0)) % 5)
        });
        let english = make(&record, Lang::En).unwrap();
        assert!(english.contains("no distinguishable change"), "{english}");
        assert!(english.contains("No request failed in any repeat"), "{english}");
        assert!(english.contains("No valid run shows it"), "{english}");
        let french = make(&record, Lang::Fr).unwrap();
        assert!(french.contains("pas de changement discernable"), "{french}");
        assert!(
            french.contains("<html lang=\"fr\">") && french.contains("Aucune requête"),
            "{french}"
        );
        assert_eq!(english, make(&record, Lang::En).unwrap());
    }

    #[test]
    fn what_locust_may_have_rounded_is_no_difference() {
        let record = record(|name, repeat| {
            (if name == "stage 2" { 3.0 } else { 2.0 }) + 1e-9 * noise(repeat)
        });
        let english = make(&record, Lang::En).unwrap();
        let told = "(stage 1 → stage 2): no distinguishable change: +50 % (+50 % to +50 %)";
        assert!(english.contains(told), "{english}");
        assert!(!english.contains("-0 %"), "{english}");
        assert!(make(&record, Lang::Fr).unwrap().contains("(stage 1 → stage 2) : pas de"));
    }

    #[test]
    fn a_difference_that_is_there_is_told_with_its_interval() {
        let record = record(|name, repeat| {
            let base = if name == "stage 2" { 8.0 } else { 10.0 };
            base + noise(repeat)
        });
        let english = make(&record, Lang::En).unwrap();
        assert!(english.contains("(stage 1 → stage 2): -20 % (-20 % to -20 %)"), "{english}");
        assert!(make(&Record::default(), Lang::En).is_err());
    }
}
