//! The guides, checked against what they speak of.
//!
//! A link leads somewhere, a path in a sentence exists, a command is one the programs take, and a
//! promise names a test that is there. Each rule is tried on a bad page, too.

#![expect(clippy::unwrap_used, reason = "the pages of the workspace can be read")]

use std::{
    fs,
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Parser;
use lab::{args::Args, process::sibling};
use policy::CATALOG;

use crate::tidy::{files, workspace};

/// Folders at the top of the workspace; a word in backticks that begins with one is a path.
const FOLDERS: &[&str] =
    &["balancer", "configs", "docs", "fuzz", "lab", "locust", "policy", "script", "store"];

/// Places that a run makes, and that no clone holds.
const MADE: &[&str] = &["lab/runs"];

/// Every page, by its path from the workspace.
fn pages() -> Vec<(String, String)> {
    let pages: Vec<_> = files()
        .into_iter()
        .filter(|(path, _)| Path::new(path).extension().is_some_and(|it| it == "md"))
        .collect();
    assert!(5 < pages.len(), "the pages were not found");
    pages
}

/// Fails with all offences of a rule.
#[track_caller]
fn check_all(rule: impl Fn(&str, &str) -> Vec<String>) {
    let offences: Vec<_> = pages().iter().flat_map(|(path, text)| rule(path, text)).collect();
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// The lines of a page outside its blocks of code, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let code = code_lines(text);
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    lines.filter(|(number, line)| !code.contains(number) && !line.starts_with("```")).collect()
}

/// The numbers of the lines inside blocks of code: fenced, or indented after an empty line.
fn code_lines(text: &str) -> Vec<usize> {
    let (mut numbers, mut fenced, mut indented, mut before) = (Vec::new(), false, false, "");
    for (i, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            numbers.push(i + 1);
        } else {
            indented = line.starts_with("    ") && (indented || before.trim().is_empty());
            if indented {
                numbers.push(i + 1);
            }
        }
        before = line;
    }
    numbers
}

/// The blocks of code of a page, as their lines without the indent. What is fenced as `text` is a
/// drawing.
fn blocks(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<_> = text.lines().collect();
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    let (mut last, mut is_drawing) = (0, false);
    for number in code_lines(text) {
        let between = &lines[last..number - 1];
        if let Some(fence) = between.iter().rfind(|it| it.starts_with("```")) {
            is_drawing = *fence == "```text";
        }
        let line = lines[number - 1];
        let line = line.strip_prefix("    ").unwrap_or(line);
        let goes_on = 0 < last && between.iter().all(|it| it.trim().is_empty());
        match blocks.last_mut().filter(|_| goes_on) {
            _ if is_drawing => {}
            Some(block) => block.push(line),
            None => blocks.push(vec![line]),
        }
        last = number;
    }
    blocks
}

/// The words in backticks of a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// What the links of a line lead to: `(text, target)`.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split("](").skip(1).zip(line.split("](")).filter_map(|(after, before)| {
        let (_, text) = before.rsplit_once('[')?;
        let (target, _) = after.split_once(')')?;
        Some((text, target))
    })
}

/// How GitHub names the heading in a link: small letters and digits, dashes for spaces.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

/// A path from the workspace without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = plain.pop(),
            Component::CurDir => {}
            it => plain.push(it),
        }
    }
    plain
}

fn dead_links(path: &str, text: &str) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap();
    let is_dead = |target: &str| {
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let there = workspace().join(plain(&folder.join(file)));
        let read = || fs::read_to_string(&there).unwrap_or_default();
        let other = if file.is_empty() { text.to_owned() } else { read() };
        let mut headings = other.lines().filter(|it| it.starts_with('#'));
        let is_there = file.is_empty() || there.exists();
        !is_there || !heading.is_empty() && !headings.any(|it| anchor(it) == heading)
    };
    let mut dead = Vec::new();
    for (number, line) in prose(text) {
        for (_, target) in links(line).filter(|(_, it)| !it.contains("://") && is_dead(it)) {
            dead.push(format!("{path}:{number}: {target} leads nowhere"));
        }
    }
    dead
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn expanded(word: &str) -> Vec<String> {
    let parts = word.split_once('{').and_then(|(before, rest)| {
        let (list, after) = rest.split_once('}')?;
        Some((before, list, after))
    });
    match parts {
        Some((before, list, after)) => {
            list.split(',').map(|it| format!("{before}{it}{after}")).collect()
        }
        None => vec![word.to_owned()],
    }
}

fn missing_paths(path: &str, text: &str) -> Vec<String> {
    let mut missing = Vec::new();
    for (number, line) in prose(text) {
        for word in quoted(line).filter_map(|it| it.split_whitespace().next()) {
            let top = word.split_once('/').map_or("", |it| it.0);
            if !FOLDERS.contains(&top) || MADE.iter().any(|it| word.starts_with(it)) {
                continue;
            }
            for named in expanded(word) {
                // Before a word that stands for others: `configs/nginx/<name>.conf`.
                let is_open = |part: &&str| part.contains(['*', '<']) || part.contains("NAME");
                let known: PathBuf = named.split('/').take_while(|it| !is_open(it)).collect();
                if !workspace().join(known).exists() {
                    missing.push(format!("{path}:{number}: there is no {named}"));
                }
            }
        }
    }
    missing
}

/// The commands of ours in a page, each as its words.
///
/// In a block where a line begins with `$ ` only such lines are commands, the others are output.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for block in blocks(text) {
        let joined = block.join("\n").replace("\\\n", " ");
        let is_session = joined.lines().any(|it| it.starts_with("$ "));
        for line in joined.lines() {
            let line = match line.strip_prefix("$ ") {
                Some(it) => it,
                None if is_session => continue,
                None => line,
            };
            let words = words(line);
            let program = words.first().map_or("", String::as_str);
            let program = program.trim_start_matches("target/release/");
            let is_ours = ["lab", "balancer", "store"].contains(&program);
            if is_ours || program.starts_with("script/") {
                let rest = words[1..].iter().cloned();
                found.push([program.to_owned()].into_iter().chain(rest).collect());
            }
        }
    }
    found
}

/// The words of a command as the shell splits it, up to a comment, a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in line.chars() {
        match (quote, letter) {
            (None, '#') if word.is_none() => break,
            (None, '|' | '>' | '&' | ';') => break,
            (None, ' ') => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), it) if open == it => quote = None,
            (_, it) => word.get_or_insert_default().push(it),
        }
    }
    words.extend(word);
    words
}

/// What the programs have against a command, `None` if they take it.
fn refusal(command: &[String]) -> Option<String> {
    let (program, rest) = command.split_first()?;
    let lab = |words: &[String]| {
        let words = ["lab"].into_iter().chain(words.iter().map(String::as_str));
        let refused = Args::try_parse_from(words).err().filter(clap::Error::use_stderr);
        refused.map(|it| it.to_string())
    };
    // With its flag for help last, a program reads its words and does nothing.
    let asked = |name: &str, words: &[&str]| {
        let mut command = Command::new(sibling(name).unwrap());
        let output = command.args(words).stdin(Stdio::null()).output().unwrap();
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (program.as_str(), words.first()) {
        ("script/up", _) => lab(&[&["up".to_owned()], rest].concat()),
        ("lab" | "script/lab", _) => lab(rest),
        // They have no flag for help, and their words are few.
        ("balancer", Some(&"top" | &"healthcheck")) => None,
        ("balancer", Some(&"test" | &"directives")) => {
            asked("balancer", &[&words, &["-h"][..]].concat())
        }
        ("balancer", _) => asked("balancer", &[&["-h"][..], &words].concat()),
        ("store", _) => asked("store", &[&words, &["--help"][..]].concat()),
        (script, _) => {
            let text = fs::read_to_string(workspace().join(script));
            let Ok(text) = text else { return Some("there is no such script".to_owned()) };
            let flags = words.iter().filter_map(|it| it.strip_prefix("--"));
            let unknown: Vec<_> = flags.filter(|it| !text.contains(&format!("--{it}"))).collect();
            (!unknown.is_empty()).then(|| format!("{script} does not know {unknown:?}"))
        }
    }
}

fn refused_commands(path: &str, text: &str) -> Vec<String> {
    let refused = |it: Vec<String>| refusal(&it).map(|why| (it.join(" "), why));
    let refused = commands(text).into_iter().filter_map(refused);
    refused.map(|(command, why)| format!("{path}: {command}\n{why}")).collect()
}

/// Tests that a page names by a link to their file, and that are not there.
fn missing_tests(path: &str, text: &str) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap();
    let mut missing = Vec::new();
    for (number, line) in prose(text) {
        for (name, target) in
            links(line).filter(|(_, it)| Path::new(it).extension().is_some_and(|it| it == "rs"))
        {
            let name = name.trim_matches('`');
            let file = workspace().join(plain(&folder.join(target)));
            let text = fs::read_to_string(file).unwrap_or_default();
            let begins = text.find(&format!("fn {name}("));
            // An attribute stands just above, with no blank line between.
            let is_test = begins.is_some_and(|at| {
                let above = text[..at].rsplit("\n\n").next().unwrap_or_default();
                above.contains("test]")
            });
            if !is_test {
                missing.push(format!("{path}:{number}: {target} has no test {name}"));
            }
        }
    }
    missing
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let page = "# A heading, here\n[a](b.md) [c](#a-heading-here) [d](#nowhere) [e](https://f)\n";
    let dead = ["docs/x.md:2: b.md leads nowhere", "docs/x.md:2: #nowhere leads nowhere"];
    assert_eq!(dead_links("docs/x.md", page), dead);
    assert_eq!(dead_links("docs/x.md", "[a](../README.md)\n"), Vec::<String>::new());
    assert_eq!(dead_links("docs/x.md", "```\n[a](b.md)\n```\n"), Vec::<String>::new());
    check_all(dead_links);
}

#[test]
fn every_path_that_a_page_names_exists() {
    let page =
        "`docs/{adr,none}` and `configs/nginx/NAME.conf` in `lab/none/NAME` or `lab/runs/x`\n";
    let missing = ["a.md:1: there is no docs/none", "a.md:1: there is no lab/none/NAME"];
    assert_eq!(missing_paths("a.md", page), missing);
    check_all(missing_paths);
}

#[test]
fn every_command_of_a_page_is_one_that_the_programs_take() {
    let page = "text\n\n    lab load --users 1 # a few\n    lab lod\n    script/none\n    cargo lab\n\n\
                ```\n$ balancer -c a --admni b \\\n    -g 'daemon off;' | head\n\nbalancer -z\n```\n\
                ```text\nlab drives\n```\n";
    let refused = refused_commands("a.md", page);
    assert_eq!(refused.len(), 3, "{refused:?}");
    for (refused, command) in refused.iter().zip(["lab lod", "script/none", "balancer -c a"]) {
        assert!(refused.starts_with(&format!("a.md: {command}")), "{refused}");
    }
    check_all(refused_commands);
}

#[test]
fn every_test_that_a_page_names_is_there() {
    let page = "[`every_test_that_a_page_names_is_there`](../lab/tests/lab/pages.rs) and\n\
                [`quoted`](../lab/tests/lab/pages.rs)\n";
    let missing = ["docs/x.md:2: ../lab/tests/lab/pages.rs has no test quoted"];
    assert_eq!(missing_tests("docs/x.md", page), missing);
    check_all(missing_tests);
}

#[test]
fn every_policy_is_in_the_guide() {
    let text = fs::read_to_string(workspace().join("docs/policies.md")).unwrap();
    let words: Vec<&str> = text.lines().flat_map(quoted).collect();
    for entry in CATALOG {
        assert!(words.contains(&entry.id), "docs/policies.md does not tell of {}", entry.id);
        let file = format!("](../configs/nginx/{}.conf)", entry.name);
        assert!(text.contains(&file), "docs/policies.md does not link {}.conf", entry.name);
    }
}
