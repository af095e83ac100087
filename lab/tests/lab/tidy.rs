//! The rules of the workspace, checked on its source.
//!
//! Each rule is a function from a file to its offences, so that it is tried on bad text too: a rule
//! that never fires is no rule.

#![expect(clippy::unwrap_used, reason = "the source of the workspace can be read")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use policy::CATALOG;

/// Lines of a file before its tests; beyond, it wants to be two.
const LONGEST: usize = 400;

/// Which members a member may depend on, and which its tests may use besides.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    ("balancer", &["policy"], &["lab"]),
    ("lab", &["policy"], &[]),
    ("policy", &[], &[]),
    ("store", &[], &["lab"]),
];

/// Parts of the balancer that may name Pingora.
const HOSTED: &[&str] = &["engine", "listen", "process", "tls"];

/// Parts that take text and values and touch nothing.
const PURE: &[&str] = &["balancer/src/conf", "balancer/src/http", "store/src/domain"];

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every text file of ours, by its path from the workspace, in order.
pub(crate) fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![workspace()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if [".git", ".venv", "target", "__pycache__", "runs"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let path = path.strip_prefix(workspace()).unwrap();
                found.push((path.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    assert!(50 < found.len(), "the source was not found");
    found
}

/// Applies a rule to every file whose path ends so.
#[track_caller]
fn check_all(ending: &str, rule: impl Fn(&str, &str) -> Option<String>) {
    let files = files();
    let offences: Vec<_> = files
        .iter()
        .filter(|(path, _)| path.ends_with(ending))
        .filter_map(|(path, text)| rule(path, text))
        .collect();
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// The text before the module of tests, empty for a file that is one.
fn before_tests<'a>(path: &str, text: &'a str) -> &'a str {
    if path.contains("/tests/") || path.ends_with("/tests.rs") {
        return "";
    }
    text.split("\n#[cfg(test)]\n").next().unwrap_or(text)
}

/// The lines that are not comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|it| !it.trim_start().starts_with("//"))
}

fn length(path: &str, text: &str) -> Option<String> {
    let lines = before_tests(path, text).lines().count();
    (LONGEST < lines).then(|| format!("{path}: {lines} lines before its tests: split it by idea"))
}

fn opening(path: &str, text: &str) -> Option<String> {
    let source = path.contains("/src/") && !path.ends_with("/tests.rs");
    (source && !text.starts_with("//! "))
        .then(|| format!("{path}: does not open with the question it answers"))
}

fn file_name(path: &str, _text: &str) -> Option<String> {
    let vague = ["utils", "util", "helpers", "misc", "common"];
    path.split(['/', '.'])
        .find(|it| vague.contains(it))
        .map(|it| format!("{path}: {it} says nothing: name it after what it knows"))
}

fn pingora(path: &str, text: &str) -> Option<String> {
    let part = path.strip_prefix("balancer/src/")?;
    if HOSTED.iter().any(|it| part.starts_with(it)) {
        return None;
    }
    // A word in a text is no use of it: a policy is called after it.
    let names = |line: &&str| line.split('"').step_by(2).any(|it| it.contains("pingora"));
    let line = code(text).find(names)?;
    Some(format!("{path}: Pingora is only for {}: {}", HOSTED.join(", "), line.trim()))
}

fn purity(path: &str, text: &str) -> Option<String> {
    if !PURE.iter().any(|it| path.starts_with(it)) {
        return None;
    }
    let code: String = code(before_tests(path, text)).collect();
    let code = code.replace(' ', "");
    let grouped = code.split("usestd::{").skip(1).any(|it| {
        let group = it.split(';').next().unwrap_or_default();
        group.split(['{', ',', '}']).any(|it| it == "fs" || it.starts_with("fs::"))
    });
    let named = ["std::fs", "tokio::", "sqlx::"].into_iter().find(|it| code.contains(it));
    let named = named.or(grouped.then_some("std::fs"))?;
    Some(format!("{path}: {named} in a part that performs no I/O"))
}

fn machine_path(path: &str, text: &str) -> Option<String> {
    let own = workspace().display().to_string();
    let places = [own.as_str(), concat!("/wo", "rk/main"), concat!("/wo", "rk/target")];
    let place = places.iter().find(|it| 1 < it.len() && text.contains(**it))?;
    Some(format!("{path}: {place} is a place on one machine"))
}

fn arrows(path: &str, text: &str) -> Option<String> {
    let (member, _) = path.split_once("/Cargo.toml")?;
    let (_, code, tests) = ARROWS.iter().find(|it| it.0 == member)?;
    let manifest: toml::Table = text.parse().unwrap();
    let used = |section: &str| -> Vec<String> {
        let table = manifest.get(section).and_then(toml::Value::as_table);
        table.into_iter().flat_map(|it| it.keys().cloned()).collect()
    };
    let is_member = |it: &str| ARROWS.iter().any(|(member, ..)| *member == it);
    let strays: Vec<_> = used("dependencies")
        .into_iter()
        .chain(used("build-dependencies"))
        .filter(|it| is_member(it) && !code.contains(&it.as_str()))
        .chain(used("dev-dependencies").into_iter().filter(|it| {
            is_member(it) && !code.contains(&it.as_str()) && !tests.contains(&it.as_str())
        }))
        .collect();
    (!strays.is_empty()).then(|| format!("{path}: may not depend on {}", strays.join(", ")))
}

#[test]
fn no_file_has_more_than_400_lines_before_its_tests() {
    let long = "line\n".repeat(401);
    assert!(length("lab/src/a.rs", &long).is_some());
    assert!(length("lab/src/a.rs", &format!("\n#[cfg(test)]\n{long}")).is_none());
    check_all(".rs", length);
}

#[test]
fn every_source_file_opens_with_what_it_is_about() {
    assert!(opening("lab/src/a.rs", "use std::fs;\n").is_some());
    check_all(".rs", opening);
}

#[test]
fn no_file_is_called_utils() {
    assert!(file_name("lab/src/utils.rs", "").is_some());
    assert!(file_name("lab/src/utils/a.rs", "").is_some());
    check_all(".rs", file_name);
}

#[test]
fn pingora_stays_where_it_is_hosted() {
    assert!(pingora("balancer/src/http.rs", "use pingora_core::Result;\n").is_some());
    assert!(pingora("balancer/src/http.rs", "// pingora does it so\n").is_none());
    assert!(pingora("balancer/src/http.rs", "name(\"pingora_rr\")\n").is_none());
    assert!(pingora("balancer/src/engine/peer.rs", "use pingora_core::Result;\n").is_none());
    check_all(".rs", pingora);
}

#[test]
fn configuration_routing_and_domain_perform_no_io() {
    for text in
        ["use std::fs;\n", "use std::{\n    fmt,\n    fs::File,\n};\n", "tokio::spawn(it)\n"]
    {
        assert!(purity("store/src/domain/id.rs", text).is_some(), "{text}");
    }
    assert!(purity("store/src/domain/id.rs", "use std::{fmt, mem};\n").is_none());
    assert!(purity("store/src/db.rs", "use std::fs;\n").is_none());
    check_all(".rs", purity);
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    let here = format!("see {}\n", workspace().join("target").display());
    assert!(machine_path("README.md", &here).is_some());
    check_all("", machine_path);
}

#[test]
fn members_depend_on_each_other_only_along_the_arrows() {
    assert!(arrows("store/Cargo.toml", "[dependencies]\npolicy.workspace = true\n").is_some());
    assert!(arrows("policy/Cargo.toml", "[dev-dependencies]\nlab = {}\n").is_some());
    assert!(arrows("store/Cargo.toml", "[dev-dependencies]\nlab = {}\n").is_none());
    check_all("Cargo.toml", arrows);
}

#[test]
fn each_policy_that_a_file_can_name_has_its_smallest_file() {
    let shipped = lab::configs::policies(&workspace()).unwrap();
    for entry in CATALOG {
        let Some(words) = entry.directive else { continue };
        assert!(shipped.iter().any(|it| it == entry.name), "no configs/nginx/{}.conf", entry.name);
        let text = lab::configs::read(&workspace(), entry.name).unwrap();
        let directive = words.first().copied().unwrap_or_default();
        assert!(text.contains(directive), "{}.conf does not say {directive}", entry.name);
    }
    for name in shipped {
        assert!(CATALOG.iter().any(|it| it.name == name), "{name}.conf names no policy");
    }
}

/// The packages of a lock file, as `name version`.
fn locked(path: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(workspace().join(path)).unwrap();
    let of = |lines: &str, key: &str| {
        let value = lines.lines().find_map(|it| it.strip_prefix(key).map(str::to_owned));
        value.unwrap_or_default().replace('"', "")
    };
    let packages = text.split("\n[[package]]\n").skip(1);
    packages.map(|it| format!("{} {}", of(it, "name = "), of(it, "version = "))).collect()
}

#[test]
fn fuzzers_are_built_with_what_the_balancer_is_built_with() {
    let (ours, theirs) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    let manifest = fs::read_to_string(workspace().join("balancer/Cargo.toml")).unwrap();
    let (_, after) = manifest.split_once("\n[dependencies]\n").unwrap();
    let dependencies = after.split("\n[").next().unwrap();
    for line in dependencies.lines().filter(|it| !it.is_empty() && !it.starts_with('#')) {
        let name = line.split(['.', ' ', '=']).next().unwrap();
        let known = |it: &&String| it.split_once(' ').is_some_and(|(it, _)| it == name);
        let same = theirs.iter().filter(known).any(|it| ours.contains(it));
        assert!(same, "{name}: run `cargo metadata` in fuzz, it mends fuzz/Cargo.lock");
    }
}
