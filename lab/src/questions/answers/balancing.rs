//! Questions 8 and 9: what does a balancer change, and which policy does the file select?

use anyhow::Result;

use super::{Answer, ENDPOINTS, Found, told};
use crate::{
    questions::lang::Lang,
    report::{
        number::whole,
        plot::{self, Axis, Line},
        section::{Figure, Table, estimate},
    },
    stats::{self, interval::Interval},
};

pub(super) fn replicas(found: &Found<'_>) -> Result<Answer> {
    let lang = found.lang;
    let steps = [
        ("stage 4", "stage 4, 2 replicas"),
        ("stage 4", "stage 4, 3 replicas"),
        ("fixed", "fixed, 2 replicas"),
        ("fixed", "fixed, 3 replicas"),
    ];
    Ok(Answer {
        question: lang.say(
            "With the load balancer, how do the three endpoints differ, in percent?",
            "Avec le répartiteur de charge, comment les trois endpoints diffèrent-ils, en pourcentage ?",
        ),
        paragraph: format!(
            "{} {} {}",
            told(found, "stage 4", "stage 4, 2 replicas", "p95"),
            told(found, "fixed", "fixed, 2 replicas", "p95"),
            lang.say(
                "All replicas, the database and the load share one machine here: on several machines \
                 each replica would bring a processor of its own.",
                "Ici, toutes les répliques, la base et la charge partagent une machine : sur plusieurs \
                 machines, chaque réplique apporterait son propre processeur.",
            )
        ),
        table: found.changes(&steps),
        figure: found.tails(
            &["stage 4", "stage 4, 2 replicas", "stage 4, 3 replicas", "fixed", "fixed, 2 replicas", "fixed, 3 replicas"],
            ENDPOINTS[0],
        )?,
    })
}

pub(super) fn policy(found: &Found<'_>) -> Result<Answer> {
    let lang = found.lang;
    let [equal, slow] = &found.pools;
    let policies = found.record.policies(slow);
    // The first replica is the slow one.
    let share = |load: &str, policy: &str| {
        let rows = found.record.valid(load, policy, "");
        let shares: Vec<f64> =
            rows.iter().filter_map(|it| it.shares.first()).map(|it| 100.0 * it).collect();
        Interval::of(&shares)
    };
    let crowd = |load: &str, policy: &str| {
        let series = found.record.series.iter().filter(|it| it.0 == load && it.1 == policy);
        let on_first: Vec<f64> =
            series.filter_map(|it| it.3.first()).map(|it| f64::from(*it)).collect();
        stats::mean(&on_first)
    };
    let mut rows = Vec::new();
    for policy in &policies {
        for load in [equal, slow] {
            let valid = found.record.valid(load, policy, "");
            rows.push(vec![
                (*policy).to_owned(),
                load.clone(),
                lang.interval(share(load, policy)),
                crowd(load, policy).map_or_else(|| "-".to_owned(), |it| lang.number(it)),
                lang.millis(estimate(&valid, "p50")),
                lang.millis(estimate(&valid, "p99")),
            ]);
        }
    }
    let on_slow = on_slow(lang, share(slow, "least_conn"), share(slow, "round_robin"));
    let line = |policy: &&str| Line {
        name: (*policy).to_owned(),
        points: found
            .record
            .series
            .iter()
            .filter(|it| it.0 == *slow && it.1 == **policy)
            .filter_map(|it| Some((it.2, f64::from(*it.3.first()?))))
            .collect(),
    };
    let lines: Vec<Line> = policies.iter().map(line).collect();
    let caption = lang.say(
        "Requests on the slow replica over time, one line per policy, first repeat; open loop.",
        "Requêtes sur la réplique lente au fil du temps, une ligne par politique, première répétition ; boucle ouverte.",
    );
    let axes = (
        Axis { name: "s", write: &|it| lang.tick(it) },
        Axis { name: lang.say("in flight", "en cours"), write: &whole },
    );
    Ok(Answer {
        question: lang.say(
            "Which balancing policy does the attribute in the configuration file select?",
            "Quelle politique de répartition l'attribut du fichier de configuration choisit-il ?",
        ),
        paragraph: format!(
            "{} {on_slow}",
            lang.say(
                "least_conn: the next request goes to the server with the fewest requests in progress for its \
                 weight, ties by weighted round robin. With one host name only the addresses count that it \
                 led to when it was resolved.",
                "least_conn : la prochaine requête va au serveur qui a le moins de requêtes en cours pour son \
                 poids, les égalités par tourniquet pondéré. Avec un seul nom d'hôte, seules comptent les adresses \
                 auxquelles il menait lors de sa résolution.",
            )
        ),
        table: Table {
            heading: [
                lang.say("policy", "politique"),
                lang.say("replicas", "répliques"),
                lang.say("share of the first, %", "part de la première, %"),
                lang.say("mean in flight on it", "en cours sur elle, moyenne"),
                "p50, ms",
                "p99, ms",
            ]
            .map(str::to_owned)
            .into(),
            rows,
        },
        figure: Figure {
            svg: plot::lines(caption, 260, axes, &lines)?,
            caption: caption.to_owned(),
            names: policies.iter().map(|it| (*it).to_owned()).collect(),
        },
    })
}

/// What the data say of the share that the slow replica got.
fn on_slow(lang: Lang, least: Option<Interval>, turns: Option<Interval>) -> String {
    let seen = match least.zip(turns) {
        Some((least, turns)) if least.high < turns.low => lang.say(
            "It is seen in the data: the slow replica got fewer requests from least_conn than from \
             round_robin, and the intervals do not touch",
            "Les données le montrent : la réplique lente a reçu moins de requêtes de least_conn que de \
             round_robin, et les intervalles ne se touchent pas",
        ),
        Some(_) => lang.say(
            "These data do not show it: the intervals of what the slow replica got from least_conn and \
             from round_robin touch",
            "Ces données ne le montrent pas : les intervalles de ce que la réplique lente a reçu de \
             least_conn et de round_robin se touchent",
        ),
        None => lang.say(
            "No valid run shows it",
            "Aucune exécution valide ne le montre",
        ),
    };
    format!(
        "{seen} (least_conn {} %, round_robin {} %).",
        lang.interval(least),
        lang.interval(turns)
    )
}
