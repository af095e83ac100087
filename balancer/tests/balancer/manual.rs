//! Do the manual page and the completions say what the program takes, all of it and no more?

#![expect(clippy::unwrap_used, reason = "a test that cannot run a program has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    let output = command.current_dir(workspace()).args(arguments).output();
    output.unwrap_or_else(|it| panic!("{program}: {it}: run script/bootstrap"))
}

/// What a program wrote, on both outputs.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it)).concat()
}

fn balancer(arguments: &[&str]) -> String {
    said(&run(env!("CARGO_BIN_EXE_balancer"), arguments))
}

/// A way to call the program: its sub-command if any, and words with which it ends soon.
const WAYS: [(&str, &[&str]); 5] = [
    ("", &["-h"]),
    ("test", &["-h"]),
    ("directives", &[]),
    ("top", &["--once", "127.0.0.1:1"]),
    ("healthcheck", &["127.0.0.1:1"]),
];

/// Each option, and a value where it takes one, after the sub-command it belongs to.
const OPTIONS: &[(&str, &str, &str)] = &[
    ("", "-h", ""),
    ("", "-?", ""),
    ("", "-v", ""),
    ("", "-V", ""),
    ("", "-t", ""),
    ("", "-T", ""),
    ("", "-q", ""),
    ("", "-s", "reload"),
    ("", "-p", "/tmp"),
    ("", "-e", "stderr"),
    ("", "-c", "/nowhere"),
    ("", "-g", "daemon off;"),
    ("", "--admin", "127.0.0.1:1"),
    ("", "--admin-token-file", "/nowhere"),
    ("", "--strict", ""),
    ("test", "-q", ""),
    ("test", "-c", "/nowhere"),
    ("test", "-p", "/tmp"),
    ("test", "-g", "daemon off;"),
    ("test", "--strict", ""),
    ("test", "--explain", ""),
    ("test", "--format", "sarif"),
    ("test", "--color", ""),
    ("directives", "--format", "markdown"),
    ("top", "--once", ""),
    ("top", "--interval", "2"),
];

/// The options that a usage shows: single letters, also of a group, and long words.
fn options_of(usage: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in usage.split([' ', ',', '[', ']', '\n']) {
        if word.len() > 2 && word.starts_with("--") {
            found.insert(word.to_owned());
        } else if let Some(letters) = word.strip_prefix('-').filter(|it| !it.starts_with('-')) {
            found.extend(letters.chars().map(|it| format!("-{it}")));
        }
    }
    found
}

fn options(command: &str) -> BTreeSet<String> {
    let own = OPTIONS.iter().filter(|it| it.0 == command);
    own.map(|it| it.1.to_owned()).collect()
}

#[test]
fn no_sub_command_is_forgotten_here() {
    let source = read("balancer/src/subcommand.rs");
    let (_, arms) = source.split_once("match name.as_str() {\n").unwrap();
    let names = arms.lines().map_while(|it| Some(it.trim().strip_prefix('"')?.split_once('"')?.0));
    let known = BTreeSet::from(WAYS.map(|it| it.0));
    assert_eq!([""].into_iter().chain(names).collect::<BTreeSet<_>>(), known);
}

#[test]
fn each_option_is_taken_and_told_by_the_usage() {
    for (command, end) in WAYS {
        for (_, option, value) in OPTIONS.iter().filter(|it| it.0 == command) {
            let words = [command, option, value].into_iter().filter(|it| !it.is_empty());
            let words: Vec<_> = words.chain(end.iter().copied()).collect();
            let text = balancer(&words);
            assert!(!text.starts_with("nginx: invalid option"), "{words:?}: {text}");
        }
        let wrong = if ["", "test"].contains(&command) { "-h" } else { "--nothing" };
        let words = [command, wrong].into_iter().filter(|it| !it.is_empty());
        let told = balancer(&words.collect::<Vec<_>>());
        let (_, usage) = told.split_once("Usage: ").expect("there is a usage");
        let told = options_of(usage.split("other options").next().unwrap());
        assert_eq!(told, options(command), "{command}: {usage}");
    }
}

#[test]
fn the_help_names_the_commands() {
    let help = balancer(&["-h"]);
    for (command, _) in WAYS.iter().filter(|it| !it.0.is_empty()) {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
}

/// The options in a piece of the page: `Fl x`, `Fl xyz` for several letters, `Fl -word`.
fn flags(mdoc: &str) -> BTreeSet<String> {
    let words: Vec<_> = mdoc.split_whitespace().collect();
    let pairs = words.windows(2).filter(|it| it[0] == "Fl");
    pairs.flat_map(|it| options_of(&format!("-{}", it[1]))).collect()
}

#[test]
fn the_page_shows_and_explains_each_option() {
    let page = read("docs/man/balancer.8");
    let (_, synopsis) = page.split_once(".Sh SYNOPSIS\n").unwrap();
    let (synopsis, description) = synopsis.split_once(".Sh DESCRIPTION\n").unwrap();
    let ways = synopsis.split(".Nm\n").skip(1).map(|it| {
        let command = it.lines().next().and_then(|it| it.strip_prefix(".Cm "));
        (command.unwrap_or_default(), flags(it))
    });
    assert_eq!(ways.collect::<Vec<_>>(), WAYS.map(|it| (it.0, options(it.0))));
    let explained: String = description.lines().filter(|it| it.starts_with(".It Fl ")).collect();
    let all = OPTIONS.iter().map(|it| it.1.to_owned());
    assert_eq!(flags(&explained.replace(".It", " ")), all.collect());
}

#[test]
fn the_page_is_written_as_pages_are() {
    let page = "docs/man/balancer.8";
    let output = run("mandoc", &["-T", "lint", "-W", "warning", page]);
    assert!(output.status.success(), "{}", said(&output));
    let output = run("groff", &["-ww", "-mandoc", "-T", "utf8", "-z", page]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(&output));
}

/// Which words a shell offers after these; the last is the beginning of what is offered.
type Offer = fn(&[&str]) -> BTreeSet<String>;

/// Shells, in which the words are those that the functions for completion themselves say.
const SHELLS: [(&str, Offer); 3] = [("bash", bash), ("zsh", zsh), ("fish", fish)];

fn words(output: &Output) -> BTreeSet<String> {
    assert!(output.status.success() && output.stderr.is_empty(), "{}", said(output));
    said(output).lines().map(str::to_owned).collect()
}

fn bash(typed: &[&str]) -> BTreeSet<String> {
    const SCRIPT: &str = "source configs/completions/balancer.bash
        COMP_WORDS=(balancer \"$@\") COMP_CWORD=$#
        _balancer
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let script = [&["--norc", "-c", SCRIPT, "bash"], typed].concat();
    words(&run("bash", &script))
}

fn fish(typed: &[&str]) -> BTreeSet<String> {
    let line = format!("balancer {}", typed.join(" "));
    let script = format!("source configs/completions/balancer.fish; complete -C '{line}'");
    let offered = words(&run("fish", &["--no-config", "-c", &script]));
    offered.iter().map(|it| it.split('\t').next().unwrap().to_owned()).collect()
}

/// Here the words are told to `_arguments`, which stands for zsh's.
fn zsh(typed: &[&str]) -> BTreeSet<String> {
    const SCRIPT: &str = "fpath=($PWD/configs/completions $fpath)
        autoload -Uz compinit && compinit -D -u
        [[ $_comps[balancer] == _balancer ]] || exit 1
        _arguments() { print -l -- \"$@\" }
        _describe() { print -l -- ${${(P)2}%%:*} }
        words=(balancer \"$@\") CURRENT=$(( $# + 1 ))
        _balancer";
    let offered = words(&run("zsh", &[&["-fc", SCRIPT, "zsh"], typed].concat()));
    // Those of `_arguments` itself.
    let ours = offered.iter().filter(|it| !["-s", "-A", "-*"].contains(&it.as_str()));
    let name = |it: &String| {
        let it = it.strip_prefix('(').map_or(it.as_str(), |it| it.split_once(')').unwrap().1);
        it.trim_start_matches('*').split('[').next().unwrap().to_owned()
    };
    ours.map(name).filter(|it| !it.contains(':')).collect()
}

#[test]
fn shells_offer_each_option_where_it_is_taken() {
    for (shell, offer) in SHELLS {
        for (command, _) in WAYS {
            let typed: Vec<_> = [command, "-"].into_iter().filter(|it| !it.is_empty()).collect();
            let mut expected = options(command);
            // One help is enough, and everywhere good.
            expected.remove("-?");
            let mut offered = offer(&typed);
            offered.retain(|it| {
                it.starts_with('-') && it != "-?" && (it != "-h" || command.is_empty())
            });
            assert_eq!(offered, expected, "{shell}: {typed:?}");
        }
    }
}

#[test]
fn shells_offer_sub_commands_and_values() {
    let set = |words: &str| words.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    for (shell, offer) in SHELLS {
        let mut commands = offer(&[""]);
        commands.retain(|it| !it.starts_with('-'));
        assert_eq!(commands, set("test directives top healthcheck"), "{shell}");
    }
    for (shell, offer) in [("bash", bash as Offer), ("fish", fish)] {
        assert_eq!(offer(&["-s", ""]), set("stop quit reopen reload"), "{shell}");
        let forms = offer(&["test", "--format", ""]);
        assert_eq!(forms, set("text json sarif github"), "{shell}");
        for form in forms {
            let text = balancer(&["test", "--format", &form, "-h"]);
            assert!(!text.starts_with("nginx: invalid option"), "{form}: {text}");
        }
        let forms = offer(&["directives", "--format", ""]);
        assert_eq!(forms, set("text markdown"), "{shell}");
    }
}
