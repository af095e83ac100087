//! Questions 4 to 7: what does an order cost, and what limits it?

use anyhow::Result;

use super::{Answer, ENDPOINTS, Found, told};
use crate::{
    questions::trial::{cost_name, order_costs},
    report::{
        compare,
        number::Unit,
        plot::{self, Axis, Line},
        section::{Figure, Table, estimate},
    },
};

const ORDER: &str = ENDPOINTS[0];

pub(super) fn without_n_plus_one(found: &Found<'_>) -> Result<Answer> {
    let lang = found.lang;
    let names = ["stage 1", "stage 2", "fixed, N+1", "fixed"];
    let row = |name: &&str| {
        let mut cells = vec![(*name).to_owned()];
        cells.extend(["p50", "p95"].map(|it| lang.millis(found.estimate(name, ORDER, it))));
        cells.push(lang.interval(found.estimate(name, "", "lookups_per_order")));
        cells.push(lang.millis(found.estimate(name, "", "phase_lookup")));
        cells.push(lang.interval(found.estimate(name, "", "scans_per_order")));
        cells
    };
    let change = |first, second| lang.change(&found.change(first, second, ORDER, "p50"));
    let colon = lang.colon();
    let lookups = |name| lang.interval(found.estimate(name, "", "lookups_per_order"));
    Ok(Answer {
        question: lang.say(
            "After removing N+1, do the figures of POST /orders differ?",
            "Après avoir retiré le N+1, les chiffres de POST /orders diffèrent-ils ?",
        ),
        paragraph: format!(
            "{} (stage 1 → stage 2){colon} {}. {} (fixed, N+1 → fixed){colon} {}. {}{colon} {} → {} (stage 1 → stage 2), {} → {} (fixed).",
            lang.say("p50 of POST /orders as in the lab", "p50 de POST /orders comme dans le labo"),
            change("stage 1", "stage 2"),
            lang.say("With nothing else in the way", "Sans autre frein"),
            change("fixed, N+1", "fixed"),
            lang.say("Price queries per order", "Requêtes de prix par commande"),
            lookups("stage 1"),
            lookups("stage 2"),
            lookups("fixed, N+1"),
            lookups("fixed"),
        ),
        table: Table {
            heading: [
                lang.say("run", "exécution"),
                "p50, ms",
                "p95, ms",
                lang.say("price queries per order", "requêtes de prix par commande"),
                lang.say("price phase, ms", "phase des prix, ms"),
                lang.say("SCAN per order", "SCAN par commande"),
            ]
            .map(str::to_owned)
            .into(),
            rows: names.iter().map(row).collect(),
        },
        figure: found.tails(&names, ORDER)?,
    })
}

pub(super) fn more_products(found: &Found<'_>) -> Result<Answer> {
    let lang = found.lang;
    let stores: Vec<&str> = order_costs().iter().map(|it| it.name).collect();
    let median = |store: &str, (products, lines): (u32, u32)| {
        estimate(&found.record.valid(&cost_name(products, lines), store, ORDER), "p50")
    };
    let mut heading = vec![lang.say("products, lines", "produits, lignes").to_owned()];
    heading.extend(stores.iter().map(|it| format!("{it}: p50, ms")));
    let rows = found
        .costs
        .iter()
        .map(|at| {
            let mut cells = vec![format!("{}, {}", at.0, at.1)];
            cells.extend(stores.iter().map(|it| lang.millis(median(it, *at))));
            cells
        })
        .collect();
    let changed = |store: &str, first: (u32, u32), second: (u32, u32)| {
        let of = |at: (u32, u32)| found.record.valid(&cost_name(at.0, at.1), store, ORDER);
        let mut pairs = [compare::pair("", "", "p50", &of(first), &of(second))];
        compare::judge(&mut pairs);
        lang.change(&pairs[0])
    };
    let mut sentences = Vec::new();
    let least = |of: &dyn Fn(&(u32, u32)) -> u32| found.costs.iter().map(of).min().unwrap_or(0);
    let most = |of: &dyn Fn(&(u32, u32)) -> u32| found.costs.iter().map(of).max().unwrap_or(0);
    let (few, many) = (least(&|it| it.0), most(&|it| it.0));
    let (short_order, long_order) = (least(&|it| it.1), most(&|it| it.1));
    for store in &stores {
        sentences.push(format!(
            "{store}: {few} → {many} {}, {}; {short_order} → {long_order} {}, {}.",
            lang.say("products", "produits"),
            changed(store, (few, short_order), (many, short_order)),
            lang.say("lines", "lignes"),
            changed(store, (few, short_order), (few, long_order)),
        ));
    }
    let line = |store: &&str| Line {
        name: (*store).to_owned(),
        points: found
            .costs
            .iter()
            .filter(|it| it.0 == many)
            .filter_map(|at| {
                let it = median(store, *at)?;
                Some((f64::from(at.1).log10(), Unit::Millis.of(it.mean).max(1e-3).log10()))
            })
            .collect(),
    };
    let lines: Vec<Line> = stores.iter().map(line).collect();
    let power = |it: f64| lang.tick(10.0_f64.powf(it));
    let axes = (
        Axis { name: lang.say("lines per order", "lignes par commande"), write: &power },
        Axis { name: "p50, ms", write: &power },
    );
    let caption = format!(
        "{} {many} {}.",
        lang.say(
            "p50 of POST /orders by its lines, both axes logarithmic,",
            "p50 de POST /orders selon ses lignes, axes logarithmiques,"
        ),
        lang.say("products", "produits")
    );
    Ok(Answer {
        question: lang.say(
            "With more products in the database, or more lines per order, would POST /orders take longer?",
            "Avec plus de produits dans la base, ou plus de lignes par commande, POST /orders prendrait-il plus de temps ?",
        ),
        paragraph: format!(
            "{} {}",
            lang.say("One order at a time, p50:", "Une commande à la fois, p50 :"),
            sentences.join(" ")
        ),
        table: Table { heading, rows },
        figure: Figure {
            svg: plot::lines(&caption, 300, axes, &lines)?,
            caption,
            names: stores.iter().map(|it| (*it).to_owned()).collect(),
        },
    })
}

pub(super) fn cached_reports(found: &Found<'_>) -> Result<Answer> {
    let lang = found.lang;
    let hits =
        found.estimate("stage 4", "", "hit_share").map(|it| crate::stats::interval::Interval {
            mean: 100.0 * it.mean,
            low: 100.0 * it.low,
            high: 100.0 * it.high,
        });
    Ok(Answer {
        question: lang.say(
            "With Redis reports, how do the three endpoints differ from before, in percent?",
            "Avec les rapports dans Redis, comment les trois endpoints diffèrent-ils d'avant, en pourcentage ?",
        ),
        paragraph: format!(
            "{} {} {} {} %.",
            told(found, "stage 2", "stage 3", "p95"),
            told(found, "stage 2", "stage 4", "p95"),
            lang.say("Share of the reports that stage 4 took from its cache:", "Part des rapports que l'étape 4 a pris dans son cache :"),
            lang.interval(hits),
        ),
        table: found.changes(&[("stage 2", "stage 3"), ("stage 3", "stage 4"), ("stage 2", "stage 4")]),
        figure: found.tails(&["stage 2", "stage 3", "stage 4"], ENDPOINTS[2])?,
    })
}

pub(super) fn what_limits(found: &Found<'_>) -> Result<Answer> {
    let lang = found.lang;
    let names = ["stage 4", "stage 4, targeted", "stage 4, targeted, pool", "fixed", "fixed, wide"];
    let phases = ["acquire", "lookup", "insert", "stock", "commit", "redis"];
    let row = |name: &&str| {
        let mut cells = vec![(*name).to_owned(), lang.millis(found.estimate(name, ORDER, "p95"))];
        cells.push(lang.interval(found.estimate(name, ORDER, "per_second")));
        cells.push(lang.interval(found.estimate(name, "", "scans_per_order")));
        cells.extend(phases.map(|it| {
            let mean =
                found.estimate(name, "", &format!("phase_{it}")).map(|it| Unit::Millis.of(it.mean));
            mean.map_or_else(|| "-".to_owned(), |it| lang.number(it))
        }));
        cells
    };
    let mut heading = [
        lang.say("run", "exécution"),
        "p95, ms",
        lang.say("orders per second", "commandes par seconde"),
        lang.say("SCAN per order", "SCAN par commande"),
    ]
    .map(str::to_owned)
    .to_vec();
    heading.extend(phases.map(|it| format!("{it}, ms")));
    let steps: Vec<String> = names
        .windows(2)
        .map(|it| {
            let pair = found.change(it[0], it[1], ORDER, "p95");
            format!("{} → {}{} {}", it[0], it[1], lang.colon(), lang.change(&pair))
        })
        .collect();
    let largest = phases
        .iter()
        .filter_map(|it| Some((*it, found.estimate("stage 4", "", &format!("phase_{it}"))?.mean)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    let largest = largest.map_or_else(
        || {
            lang.say(
                "The phases of stage 4 were not measured.",
                "Les phases de l'étape 4 n'ont pas été mesurées.",
            )
            .to_owned()
        },
        |(name, seconds)| {
            format!(
                "{} \"{name}\"{} {} ms.",
                lang.say(
                    "The longest phase of an order in stage 4 is",
                    "La phase la plus longue d'une commande à l'étape 4 est"
                ),
                lang.colon(),
                lang.number(Unit::Millis.of(seconds))
            )
        },
    );
    Ok(Answer {
        question: lang.say(
            "Reports now use only Redis, yet POST /orders stays behind. What limits it?",
            "Les rapports n'utilisent plus que Redis, mais POST /orders reste en arrière. Qu'est-ce qui le limite ?",
        ),
        paragraph: format!(
            "{} {} {}.",
            largest,
            lang.say("p95 of POST /orders when one cause after the other is removed:", "p95 de POST /orders quand on retire une cause après l'autre :"),
            steps.join("; ")
        ),
        table: Table { heading, rows: names.iter().map(row).collect() },
        figure: found.tails(&names, ORDER)?,
    })
}
