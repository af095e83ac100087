//! Questions 1 to 3: when does it fail, what fails, and whose failure is it?

use anyhow::Result;

use super::{Answer, ENDPOINTS, Found};
use crate::{
    record::Complaint,
    report::{
        plot::{self, Axis, Line},
        section::{Figure, Table},
    },
    stats::interval::Interval,
};

const FIRST: &str = "stage 1";

pub(super) fn users(found: &Found<'_>) -> Result<Answer> {
    let lang = found.lang;
    let ticks = |repeat: u64| {
        let same = move |it: &&crate::record::Tick| {
            it.load == found.load && it.policy == FIRST && it.repeat == repeat
        };
        found.record.timeline.iter().filter(same)
    };
    let mut repeats: Vec<u64> = found.rows(FIRST, "").iter().map(|it| it.repeat).collect();
    repeats.dedup();
    let mut rows = Vec::new();
    let mut firsts = Vec::new();
    for repeat in &repeats {
        let first = ticks(*repeat).find(|it| 0 < it.failed);
        let most = ticks(*repeat).map(|it| it.users).max().unwrap_or(0);
        firsts.extend(first.map(|it| it.users));
        rows.push(vec![
            (repeat + 1).to_string(),
            most.to_string(),
            first.map_or_else(|| "-".to_owned(), |it| it.users.to_string()),
            first.map_or_else(|| "-".to_owned(), |it| it.second.to_string()),
        ]);
    }
    let plateau = lang.interval(found.estimate(FIRST, "", "per_second"));
    let most = repeats.iter().flat_map(|it| ticks(*it)).map(|it| it.users).max().unwrap_or(0);
    let seconds =
        repeats.iter().flat_map(|it| ticks(*it)).map(|it| it.second + 1).max().unwrap_or(0);
    let first = match (firsts.iter().min(), firsts.iter().max()) {
        (Some(low), Some(high)) => format!(
            "{} {low} {} {high} {} ({} {} {}).",
            lang.say("The first failure was seen with", "Le premier échec a été vu avec"),
            lang.say("to", "à"),
            lang.say("users", "utilisateurs"),
            firsts.len(),
            lang.say("of the repeats:", "des répétitions :"),
            repeats.len(),
        ),
        _ => format!(
            "{} {most} {}.",
            lang.say(
                "No request failed in any repeat: the shop begins to fail beyond what was tried,",
                "Aucune requête n'a échoué : le magasin commence à échouer au-delà de ce qui a été essayé,"
            ),
            lang.say("users", "utilisateurs"),
        ),
    };
    let answered = format!(
        "{} {plateau} {}.",
        lang.say("Stage 1 answered", "L'étape 1 a répondu à"),
        lang.say("requests per second at full load", "requêtes par seconde à pleine charge"),
    );
    let limit = lang.say(
        "The runs were shorter than the client's time-out of 60 s, so a request that only waited could \
         not fail by it: the number of users is no breaking point of the full lab.",
        "Les exécutions étaient plus courtes que le délai du client, 60 s : une requête qui attendait \
         ne pouvait donc pas échouer par lui, et le nombre d'utilisateurs n'est pas le point de rupture \
         du labo complet.",
    );
    let paragraph = [first, answered, if seconds < 60 { limit.to_owned() } else { String::new() }];
    let paragraph = paragraph.join(" ").trim_end().to_owned();
    let line = |name: &str, of: &dyn Fn(&crate::record::Tick) -> u32| Line {
        name: name.to_owned(),
        points: ticks(repeats.first().copied().unwrap_or(0))
            .map(|it| (f64::from(it.second), f64::from(of(it))))
            .collect(),
    };
    let lines = [
        line(lang.say("users", "utilisateurs"), &|it| it.users),
        line(lang.say("answers per second", "réponses par seconde"), &|it| it.ok),
        line(lang.say("failures per second", "échecs par seconde"), &|it| it.failed),
    ];
    let write = |it: f64| lang.tick(it);
    let axes = (Axis { name: "s", write: &write }, Axis { name: "", write: &write });
    let caption = lang.say(
        "Stage 1, first repeat: users, answers and failures, second by second.",
        "Étape 1, première répétition : utilisateurs, réponses et échecs, seconde par seconde.",
    );
    Ok(Answer {
        question: lang.say(
            "How many users does it take before the Store Manager starts to fail in your environment?",
            "Combien d'utilisateurs faut-il pour que le Store Manager commence à échouer dans votre environnement ?",
        ),
        paragraph,
        table: Table {
            heading: [
                lang.say("repeat", "répétition"),
                lang.say("most users", "utilisateurs au plus"),
                lang.say("users at the first failure", "utilisateurs au premier échec"),
                lang.say("second", "seconde"),
            ]
            .map(str::to_owned)
            .into(),
            rows,
        },
        figure: Figure {
            svg: plot::lines(caption, 300, axes, &lines)?,
            caption: caption.to_owned(),
            names: lines.into_iter().map(|it| it.name).collect(),
        },
    })
}

pub(super) fn endpoints(found: &Found<'_>) -> Result<Answer> {
    let lang = found.lang;
    let share = |endpoint: &str| {
        let rows = found.rows(FIRST, endpoint);
        let shares: Vec<f64> = rows
            .iter()
            .filter_map(|it| {
                let (ok, failed) = (it.figure("answered")?, it.figure("failed")?);
                Some(100.0 * failed / (ok + failed).max(1.0))
            })
            .collect();
        Interval::of(&shares)
    };
    let shares: Vec<_> = ENDPOINTS.iter().map(|it| (*it, share(it))).collect();
    // More than half only if the whole interval is.
    let over = shares.iter().filter(|it| it.1.is_some_and(|it| 50.0 < it.low)).count();
    let known = shares.iter().filter(|it| it.1.is_some()).count();
    let rows = shares
        .iter()
        .map(|(endpoint, share)| {
            vec![
                (*endpoint).to_owned(),
                lang.interval(found.estimate(FIRST, endpoint, "answered")),
                lang.interval(found.estimate(FIRST, endpoint, "failed")),
                lang.interval(*share),
            ]
        })
        .collect();
    let whiskers: Vec<_> = shares.iter().map(|(name, it)| ((*name).to_owned(), *it)).collect();
    let caption = lang.say(
        "Stage 1: share of the requests that failed, with its interval.",
        "Étape 1 : part des requêtes qui ont échoué, avec son intervalle.",
    );
    let axis = Axis { name: lang.say("failed, %", "échecs, %"), write: &|it| lang.tick(it) };
    Ok(Answer {
        question: lang.say(
            "Compare requests and failures of all endpoints. How many fail more than half of the time?",
            "Comparez les requêtes et les échecs de tous les endpoints. Combien échouent plus de la moitié du temps ?",
        ),
        paragraph: format!(
            "{over} {} {known} {}",
            lang.say("of", "sur"),
            lang.say(
                "endpoints that were measured failed more than half of the time in stage 1, with an interval \
                 that lies above one half.",
                "endpoints mesurés ont échoué plus de la moitié du temps à l'étape 1, avec un intervalle \
                 entièrement au-dessus de la moitié.",
            )
        ),
        table: Table {
            heading: [
                "endpoint",
                lang.say("answered", "réponses"),
                lang.say("failed", "échecs"),
                lang.say("failed, %", "échecs, %"),
            ]
            .map(str::to_owned)
            .into(),
            rows,
        },
        figure: Figure {
            svg: plot::whiskers(caption, axis, &whiskers, lang.nothing())?,
            caption: caption.to_owned(),
            names: Vec::new(),
        },
    })
}

/// Which part a text blames.
fn blamed(text: &str) -> &'static str {
    let text = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|it| text.contains(it));
    if has(&["redis"]) {
        "Redis"
    } else if has(&["mysql", "mariadb", "database", "too many connections", "1040", "pool"]) {
        "MySQL"
    } else if has(&["502", "504", "no answer", "connect", "timeout", "timed out"]) {
        "service"
    } else {
        "other"
    }
}

pub(super) fn messages(found: &Found<'_>) -> Result<Answer> {
    let lang = found.lang;
    let stages = [FIRST, "stage 3"];
    let of = |stage: &str| -> Vec<&Complaint> {
        let same = |it: &&Complaint| it.load == found.load && it.policy == stage;
        found.record.errors.iter().filter(same).collect()
    };
    let parts = ["service", "MySQL", "Redis", "other"];
    let named = |part| if part == "other" { lang.say("other", "autre") } else { part };
    let count = |stage: &str, part: &str| -> u64 {
        of(stage).iter().filter(|it| blamed(&it.text) == part).map(|it| it.times).sum()
    };
    let mut rows: Vec<(u64, Vec<String>)> = Vec::new();
    for stage in stages {
        for it in of(stage) {
            let cells = vec![
                stage.to_owned(),
                it.times.to_string(),
                named(blamed(&it.text)).to_owned(),
                it.endpoint.clone(),
                it.text.clone(),
            ];
            rows.push((it.times, cells));
        }
    }
    rows.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    rows.truncate(12);
    let mut sentences = Vec::new();
    for stage in stages {
        let all: u64 = parts.iter().map(|it| count(stage, it)).sum();
        let most = parts.iter().max_by_key(|it| count(stage, it)).copied().unwrap_or("other");
        let opened = lang.interval(found.estimate(stage, "", "opened"));
        let opened = format!(
            "{} {opened} {}",
            lang.say("it opened", "elle a ouvert"),
            lang.say("database connections in a run", "connexions à la base par exécution")
        );
        sentences.push(if all == 0 {
            format!(
                "{stage}: {}; {opened}.",
                lang.say(
                    "no request failed, so no part is to blame",
                    "aucune requête n'a échoué, donc aucune partie n'est en cause"
                )
            )
        } else {
            format!(
                "{stage}: {all} {}, {} {} {}; {opened}.",
                lang.say("failures in all repeats", "échecs sur toutes les répétitions"),
                count(stage, most),
                lang.say("of them name", "d'entre eux nomment"),
                named(most),
            )
        });
    }
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer than 2^52 failures")]
    let bars: Vec<_> = stages
        .iter()
        .map(|stage| {
            ((*stage).to_owned(), parts.iter().map(|it| count(stage, it) as f64).collect())
        })
        .collect();
    let caption = lang.say(
        "Failures by the part that their text names.",
        "Échecs selon la partie que leur texte nomme.",
    );
    let axis = Axis { name: lang.say("failures", "échecs"), write: &|it| lang.tick(it) };
    Ok(Answer {
        question: lang.say(
            "Show some error messages. Which part is failing: the service, MySQL, Redis, other?",
            "Montrez quelques messages d'erreur. Quelle partie échoue : le service, MySQL, Redis, autre ?",
        ),
        paragraph: sentences.join(" "),
        table: Table {
            heading: [
                lang.say("stage", "étape"),
                lang.say("times", "fois"),
                lang.say("part", "partie"),
                "endpoint",
                lang.say("text", "texte"),
            ]
            .map(str::to_owned)
            .into(),
            rows: rows.into_iter().map(|it| it.1).collect(),
        },
        figure: Figure {
            svg: plot::bars(caption, axis, &bars)?,
            caption: caption.to_owned(),
            names: parts.map(|it| named(it).to_owned()).into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_blames_the_part_that_it_names() {
        for (text, part) in [
            ("503: redis: all 100 connections are in use", "Redis"),
            ("503: database: too many connections (max_connections 151)", "MySQL"),
            ("503: no connection within 5 s (pool of 16)", "MySQL"),
            ("no answer: TimeoutError('timed out')", "service"),
            ("502 without JSON", "service"),
            ("409: stock", "other"),
        ] {
            assert_eq!(blamed(text), part, "{text}");
        }
    }
}
