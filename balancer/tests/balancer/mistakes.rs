//! Are mistakes told in nginx's words, at nginx's line? The installed nginx is the judge.
//!
//! Two sources: every row of the catalog, broken in each way that rows can be broken, so that a
//! new directive is judged from its first day; and the lines of `mistakes.txt`.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use balancer::conf::{Block, Level, MANY, Origin};
use balancer::modules;
use balancer::snapshot::build::{Paths, build, read};
use tempfile::TempDir;

/// Lines of `BLOCK | TEXT`, or `BLOCK | TEXT => MESSAGE` where the installed nginx is too old.
const LINES: &str = include_str!("mistakes.txt");

/// Without it the installed nginx knows no `stream`.
const MODULE: &str = "load_module /usr/lib/nginx/modules/ngx_stream_module.so;";

/// A text in its block; the blocks around it are complete.
fn within(block: Block, text: &str) -> Option<String> {
    let http = |text: &str| {
        let served = "server { listen 127.0.0.1:8098; }";
        format!("events {{}}\nhttp {{\naccess_log off;\n{text}\n{served}\n}}\n")
    };
    let stream = |text: &str| {
        let served = "server { listen 127.0.0.1:8098; return a; }";
        format!("{MODULE}\nevents {{}}\nstream {{\n{text}\n{served}\n}}\n")
    };
    let server = |text: &str| http(&format!("server {{\nlisten 127.0.0.1:8099;\n{text}\n}}"));
    Some(match block {
        Block::Main => format!("{text}\nevents {{}}\n"),
        Block::Events => format!("events {{\n{text}\n}}\n"),
        Block::Http => http(text),
        Block::Server => server(text),
        Block::Location => server(&format!("location /a {{\n{text}\n}}")),
        Block::IfInServer => server(&format!("if ($host) {{\n{text}\n}}")),
        Block::IfInLocation => server(&format!("location /a {{\nif ($host) {{\n{text}\n}}\n}}")),
        Block::LimitExcept => {
            server(&format!("location /a {{\nlimit_except GET {{\n{text}\n}}\n}}"))
        }
        Block::Upstream => http(&format!("upstream u {{\n{text}\n}}")),
        Block::Stream => stream(text),
        Block::StreamServer => stream(&format!("server {{\nlisten 127.0.0.1:8097;\n{text}\n}}")),
        Block::StreamUpstream => stream(&format!("upstream u {{\n{text}\n}}")),
        _ => return None,
    })
}

/// Lines of `BLOCK | TEXT` that are accepted with warnings.
const WARNINGS: &[&str] = &[
    "http | gzip_types text/html text/plain text/plain;",
    "http | types { a/b c; d/e c; f/g c; }",
    "http | sub_filter_types text/html a/b a/b;",
    "server | server_name a b; } server { listen 127.0.0.1:8099; server_name b a;",
    "upstream | least_conn; ip_hash; server 127.0.0.1:1;",
    "location | allow 10.0.0.1/8; deny 2001:db8::1/32;",
    "http | set_real_ip_from 10.0.0.1/8;",
    "http | geo $a { 10.0.0.1/8 b; 10.0.0.0/8 c; }",
];

/// The block and the text of a line.
fn placed(line: &str) -> (Block, &str) {
    let (block, text) = line.split_once(" | ").unwrap();
    let block = match block {
        "main" => Block::Main,
        "events" => Block::Events,
        "http" => Block::Http,
        "server" => Block::Server,
        "location" => Block::Location,
        "upstream" => Block::Upstream,
        "stream" => Block::Stream,
        "stream server" => Block::StreamServer,
        "stream upstream" => Block::StreamUpstream,
        other => panic!("no block {other}"),
    };
    (block, text)
}

/// What both say first; empty when the text is accepted.
fn both(folder: &Path, text: &str) -> (String, String) {
    let conf = folder.join("nginx.conf");
    std::fs::write(&conf, text).unwrap();
    (theirs(folder, &conf), ours(folder, &conf))
}

fn theirs(folder: &Path, conf: &Path) -> String {
    let text = said(folder, conf);
    // A refusal counts before a warning, which nginx may tell earlier.
    let refusal = text.lines().find(|it| it.contains("[emerg]"));
    refusal.unwrap_or_default().to_owned()
}

fn said(folder: &Path, conf: &Path) -> String {
    let mut command = Command::new("nginx");
    let pid = format!("pid {};", folder.join("nginx.pid").display());
    let given = std::fs::read_to_string(conf).unwrap();
    // The default one belongs to whoever runs; a second one would be a duplicate.
    if !given.contains("pid") {
        command.args(["-g", &pid]);
    }
    command.args(["-t", "-q", "-e", "/dev/null", "-p"]).arg(folder).arg("-c").arg(conf);
    let output = command.output().expect("nginx is not installed: run script/bootstrap");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ours(folder: &Path, conf: &Path) -> String {
    let paths = Paths { prefix: folder.to_path_buf(), conf: conf.into() };
    let problems = match read(&paths, None, false) {
        Err(problems) => problems,
        Ok(configuration) => build(&configuration, None).err().unwrap_or_default(),
    };
    let refusal = problems.iter().find(|it| it.level == Level::Emerg);
    refusal.map(balancer::conf::ConfError::line).unwrap_or_default()
}

/// A name in each way its row can be broken.
fn broken(name: &str, least: usize, most: usize, opens: bool) -> Vec<String> {
    let words = |count: usize| " 1".repeat(count);
    let end = if opens { " {}" } else { ";" };
    let mut texts = Vec::new();
    if 0 < least {
        texts.push(format!("{name}{}{end}", words(least - 1)));
    }
    if most < 9 {
        texts.push(format!("{name}{}{end}", words(most + 1)));
    }
    texts.push(format!("{name}{}{}", words(least), if opens { ";" } else { " {}" }));
    if !opens && (least..=most.min(least)).contains(&1) {
        texts.push(format!("{name} nonsense!;"));
        texts.push(format!("{name} '';"));
        texts.push(format!("{name} -1;"));
        texts.push(format!("{name} 1x;"));
        texts.push(format!("{name} 99999999999999999999;"));
    }
    texts
}

/// Names whose refusal is a matter of the version or of what is not built, each with the reason.
const EXCUSED: &[(&str, &str)] = &[
    ("user", "its own tests know which users there are"),
    ("server", "a name that does not resolve is known to differ"),
    ("debug_connection", "no name is looked up for what has no effect"),
    ("load_module", "no file is opened"),
    ("proxy_cache", "told at the line, not at the end of `http`"),
    ("error_log", "files are opened in other order"),
    ("access_log", "files are opened in other order"),
    ("pid", "files are opened in other order"),
];

#[test]
fn every_row_is_refused_as_nginx_refuses_it() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    let catalog = modules::catalog();
    let rows: BTreeSet<_> = catalog
        .iter()
        .filter(|it| it.refused.is_none() && it.origin == Origin::Nginx)
        .filter(|it| !EXCUSED.iter().any(|(name, _)| *name == it.name))
        .filter_map(|it| {
            let most = if *it.arguments.end() == MANY { 9 } else { *it.arguments.end() };
            Some((it.name, *it.within.last()?, *it.arguments.start(), most, it.opens))
        })
        .collect();
    let (mut compared, mut wrong) = (0, Vec::new());
    for (name, block, least, most, opens) in rows {
        let Some(known) = within(block, &format!("{name};")) else { continue };
        let newer = ["unknown directive", "directive is not allowed here"];
        let said = both(folder.path(), &known).0;
        if newer.iter().any(|it| said.contains(it)) {
            continue;
        }
        let misplaced = if block == Block::Events { Block::Main } else { Block::Events };
        let texts = broken(name, least, most, opens).into_iter().map(|it| (block, it));
        for (block, text) in texts.chain([(misplaced, format!("{name} 1;"))]) {
            let mut whole = within(block, &text).unwrap();
            if known.starts_with(MODULE) && block == misplaced {
                whole = format!("{MODULE}\n{whole}");
            }
            let (theirs, ours) = both(folder.path(), &whole);
            compared += 1;
            // What nginx accepts may need what is not built: a refusal is honest.
            if theirs != ours && !(theirs.is_empty() && ours.contains("invalid value")) {
                wrong.push(format!("{text} in {block}\n  nginx: {theirs}\n  ours:  {ours}"));
            }
        }
    }
    assert!(300 < compared, "only {compared} were compared");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn mistakes_of_the_list_are_told_as_nginx_tells_them() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    let mut wrong = Vec::new();
    for line in LINES.lines().filter(|it| !it.starts_with('#') && !it.is_empty()) {
        let (block, text) = placed(line);
        let (text, expected) = match text.split_once(" => ") {
            Some((text, expected)) => (text, Some(expected)),
            None => (text, None),
        };
        let whole = within(block, &text.replace("\\n", "\n")).unwrap();
        let (theirs, ours) = both(folder.path(), &whole);
        let is_right = match expected {
            Some(expected) => ours.starts_with(&format!("nginx: [emerg] {expected}")),
            None => theirs == ours && !theirs.is_empty(),
        };
        if !is_right {
            let theirs = expected.unwrap_or(&theirs);
            wrong.push(format!("{line}\n  nginx: {theirs}\n  ours:  {ours}"));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn warnings_are_those_of_nginx() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    let conf = folder.path().join("nginx.conf");
    for line in WARNINGS {
        let (block, text) = placed(line);
        std::fs::write(&conf, within(block, text).unwrap()).unwrap();
        let said = said(folder.path(), &conf);
        let is_told = |it: &&str| it.contains("[warn]") && !it.contains("\"user\" directive");
        let mut theirs: Vec<_> = said.lines().filter(is_told).map(str::to_owned).collect();
        let paths = Paths { prefix: folder.path().to_path_buf(), conf: conf.clone() };
        let configuration = read(&paths, None, false).unwrap();
        let snapshot = build(&configuration, None).unwrap();
        let told = configuration.warnings.iter().chain(&snapshot.warnings);
        let mut ours: Vec<_> = told.map(balancer::conf::ConfError::line).collect();
        theirs.sort();
        ours.sort();
        assert!(!theirs.is_empty() && !said.contains("[emerg]"), "{line}: {said}");
        assert_eq!(ours, theirs, "{line}");
    }
}
