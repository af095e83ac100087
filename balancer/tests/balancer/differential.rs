//! Does the program behave as nginx does? The installed nginx is the judge.
//!
//! Each file below `differential/cases` is a configuration, what clients send and what upstreams
//! answer. Both programs are started with it, and everything that can be seen from outside is
//! written down for each: the bytes that the client gets, the bytes that reach the upstreams and
//! in which order, the access logs and the error log. The two accounts must be equal line by
//! line, or differ exactly as the file says, with a reason.
//!
//! A reader adds a case by adding a file; `differential/case.rs` tells the form. `CASE=words` runs
//! only the cases whose path contains the words.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Mutex;
use std::{env, fs, thread};

use self::account::difference;
use self::case::Case;
use self::play::play;

mod account;
mod case;
mod play;
mod server;
mod upstream;

/// Cases that run at once: starting and waiting take longer than computing.
const AT_ONCE: usize = 4;

/// Plays every case of a folder and tells all that are wrong.
fn check(topic: &str) {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/balancer/differential/cases").join(topic);
    let wanted = env::var("CASE").unwrap_or_default();
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.to_string_lossy().contains(&wanted))
        .collect();
    cases.sort();
    let count = cases.len();
    let (rest, wrong) = (Mutex::new(cases), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(path) = rest.lock().unwrap().pop() else { break };
                    let case = Case::parse(&path, &fs::read_to_string(&path).unwrap());
                    if let Some(text) = judge(&case) {
                        wrong.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {count} differ:\n\n{}", wrong.len(), wrong.join("\n"));
}

/// What is wrong with a case, `None` when both programs do the same or differ as foretold.
fn judge(case: &Case) -> Option<String> {
    let (theirs, ours) = thread::scope(|scope| {
        let theirs = scope.spawn(|| play(case, &server::nginx()));
        let ours = play(case, &server::balancer());
        (theirs.join().unwrap(), ours)
    });
    let found = difference(&theirs, &ours);
    if found.changed == case.differs && !theirs.is_refused() {
        return None;
    }
    let foretold = match &case.differs[..] {
        [] => String::new(),
        lines => format!("    foretold:\n{}\n    found:\n", lines.join("\n")),
    };
    Some(format!("=== {}: {}\n{foretold}{}", case.name, case.title, found.text))
}

/// One test per folder, and one that says that no folder was forgotten.
macro_rules! topics {
    ($($topic:ident)*) => {
        $(
            #[test]
            fn $topic() {
                check(stringify!($topic));
            }
        )*

        #[test]
        fn every_folder_of_cases_is_played() {
            let folder =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/balancer/differential/cases");
            for entry in fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!([$(stringify!($topic)),*].contains(&name.as_str()), "{name}");
            }
        }
    };
}

topics! { routing rewriting values pages files stream proxying balancing guarding filtering talking logging }
