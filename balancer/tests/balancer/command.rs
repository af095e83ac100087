//! Does the command line answer as nginx's does? The installed nginx is the judge.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use tempfile::TempDir;

const OURS: &str = env!("CARGO_BIN_EXE_balancer");

/// Files of the folder in which both are started; `FOLDER` stands for it, `PORT` for one in use.
const FILES: &[(&str, &str)] = &[
    ("ok.conf", "events {}\npid ok.pid;\nhttp {\n include inc/*.conf;\n include inc/a.conf;\n}\n"),
    ("inc/a.conf", "# a\nmap $uri $a { include values; }"),
    ("inc/b.conf", ""),
    ("values", "x y;\n"),
    ("logged.conf", "events {} pid ok.pid; error_log own.log;"),
    ("nolog.conf", "events {} pid ok.pid; error_log /nonexistent/own.log;"),
    (
        "busy.conf",
        "events {} pid ok.pid; http { access_log off; server { listen 127.0.0.1:PORT; } }",
    ),
    ("badpid.conf", "pid /nonexistent/p.pid; events {}"),
    ("noevents.conf", "pid ok.pid;\n"),
    ("wrong.conf", "events {}\nworker_processes x;\n"),
    ("open.conf", "events {\n"),
    ("include.conf", "events {}\ninclude nothing.conf;\n"),
    ("empty.conf", "events {} pid empty.pid;"),
    ("empty.pid", ""),
    ("garbage.conf", "events {} pid garbage.pid;"),
    ("garbage.pid", "abc\n"),
    ("gone.conf", "events {} pid gone.pid;"),
    ("gone.pid", "4100000\n"),
    ("nopid.conf", "events {} pid nopid.pid;"),
];

const CASES: &[&str] = &[
    "-t -c ok.conf",
    "-tq -c ok.conf",
    "-q -t -cok.conf",
    "-T -c ok.conf",
    "-Tq -c ok.conf",
    "-t -c logged.conf",
    "-t -c nolog.conf",
    "-t -c busy.conf",
    "-t -c badpid.conf",
    "-tq -c badpid.conf",
    "-T -c badpid.conf",
    "-t -c noevents.conf",
    "-t -c wrong.conf",
    "-tq -c wrong.conf",
    "-T -c wrong.conf",
    "-c wrong.conf",
    "-t -c open.conf",
    "-t -c include.conf",
    "-t -c missing.conf",
    "-c missing.conf",
    "-t -c missing.conf -e stderr",
    "-t -c wrong.conf -e stderr",
    "-c busy.conf",
    "-s reload -c empty.conf",
    "-s stop -c garbage.conf",
    "-s quit -c garbage.conf -e stderr",
    "-s reopen -c gone.conf",
    "-s reload -c nopid.conf",
    "-s reload -c nopid.conf -e stderr",
    "-s reload -c wrong.conf",
    "-s reload -c missing.conf",
    "-t -c ok.conf -g pid,other.pid;",
    "-t -c noevents.conf -g foo;",
    "-t -c ok.conf -g events,{}",
    "-t -c ok.conf -g worker_processes,2",
    "-t -c ok.conf -g worker_processes,2;",
    "-t -c ok.conf -g include,nothing;",
    "foo",
    "-t - -c ok.conf",
    "-x",
    "-tx",
    "-c",
    "-e",
    "-p",
    "-g",
    "-s",
    "-s nope",
    "-snope",
    "-t -c logged.conf -e /nonexistent/e.log",
];

/// What a program answers: its code, what it prints, and what its log has after it.
#[derive(Debug, Eq, PartialEq)]
struct Answer {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    log: String,
}

fn ask(program: &str, case: &str, port: u16) -> Answer {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("inc")).unwrap();
    for (name, text) in FILES {
        fs::write(path.join(name), text.replace("PORT", &port.to_string())).unwrap();
    }
    let mut command = Command::new(program);
    command.arg("-p").arg(path).args(["-e", "error.log"]);
    // A comma stands for a blank within a word.
    command.args(case.split(' ').map(|it| it.replace(',', " ")));
    let output =
        command.output().unwrap_or_else(|it| panic!("{program}: {it}: run script/bootstrap"));
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().map(|it| undated(it) + "\n");
        lines.collect::<String>().replace(path.to_str().unwrap(), "FOLDER")
    };
    let log = fs::read(path.join("error.log")).unwrap_or_default();
    Answer {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
        log: text(&log),
    }
}

/// A line without its date and the numbers of its process.
fn undated(line: &str) -> String {
    let dated = line.split_once('#').and_then(|(before, after)| {
        let (before, _) = before.rsplit_once("] ")?;
        let (_, level) = before.split_once('[')?;
        Some(format!("DATE [{level}] {}", after.split_once(": ")?.1))
    });
    dated.unwrap_or_else(|| line.to_owned())
}

#[test]
fn every_case_is_answered_as_by_nginx() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    let mut differ = Vec::new();
    std::thread::scope(|scope| {
        let asked = CASES.iter().map(|case| {
            scope.spawn(move || (case, ask("nginx", case, port), ask(OURS, case, port)))
        });
        for answers in asked.collect::<Vec<_>>() {
            let (case, theirs, mut ours) = answers.join().unwrap();
            // A start tells more of itself than nginx's: what has no effect, and which system it is.
            ours.log = ours
                .log
                .lines()
                .filter(|it| theirs.log.contains(*it))
                .fold(String::new(), |log, it| log + it + "\n");
            if ours != theirs {
                differ.push(format!("{case}\nnginx: {theirs:#?}\nours: {ours:#?}"));
            }
        }
    });
    assert!(
        differ.is_empty(),
        "{} of {} differ:\n{}",
        differ.len(),
        CASES.len(),
        differ.join("\n")
    );
}
