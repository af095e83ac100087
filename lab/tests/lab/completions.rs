//! Do shells and `man` take what the lab and the store say about themselves?

#![expect(clippy::unwrap_used, reason = "a test that cannot run a program has failed")]

use std::{fs, path::Path, process::Command};

use lab::process::sibling;

use crate::lints::said;

/// Programs, some of their commands, and options of one of these.
const PROGRAMS: [(&str, &[&str], &str, &[&str]); 2] = [
    ("lab", &["up", "load", "simulate", "report"], "up", &["--replicas", "--policy", "--port"]),
    ("store", &["serve", "seed", "verify"], "seed", &["--reset", "--items-min", "--log-format"]),
];

/// What a program writes to standard output.
#[track_caller]
fn written(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|it| panic!("{command:?}: {it}"));
    let quiet = output.status.success() && output.stderr.is_empty();
    assert!(quiet, "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What a shell does with the completions of a program.
fn shell(program: &str, name: &str, folder: &Path, script: &str) -> String {
    let completions = written(Command::new(sibling(program).unwrap()).args(["completions", name]));
    fs::write(folder.join(format!("_{program}")), completions).unwrap();
    let first = match name {
        "bash" => "--norc",
        "zsh" => "-f",
        _ => "--no-config",
    };
    written(Command::new(name).current_dir(folder).args([first, "-c", script]))
}

#[test]
fn shells_offer_commands_and_options() {
    let folder = tempfile::tempdir().unwrap();
    for (program, commands, one, options) in PROGRAMS {
        for (line, expected) in [("", commands), (&format!("{one} --"), options)] {
            let count = line.split(' ').count();
            let bash = format!(
                "source _{program}; COMP_WORDS=({program} {line} ''); COMP_CWORD={count}
                 _{program} {program} '{}' {one}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                line.split(' ').next_back().unwrap()
            );
            let fish = format!("source _{program}; complete -C '{program} {line}'");
            for (name, script) in [("bash", &bash), ("fish", &fish)] {
                let offered = shell(program, name, folder.path(), script);
                let offered: Vec<_> =
                    offered.lines().map(|it| it.split('\t').next().unwrap()).collect();
                for it in expected {
                    assert!(offered.contains(it), "{name}: {program} {line}: {it}: {offered:?}");
                }
            }
        }
        // zsh offers only where somebody types: it says which function it would call.
        let zsh = format!(
            "fpath=($PWD $fpath); autoload -Uz compinit && compinit -D -u
             autoload +X _{program}; print $_comps[{program}]; functions _{program}"
        );
        let text = shell(program, "zsh", folder.path(), &zsh);
        assert!(text.starts_with(&format!("_{program}\n")), "{text}");
        for it in commands.iter().chain(options) {
            assert!(text.contains(it), "zsh: {program}: {it}");
        }
    }
}

#[test]
fn each_command_has_a_manual_page_without_a_warning() {
    for (program, commands, one, options) in PROGRAMS {
        let folder = tempfile::tempdir().unwrap();
        written(Command::new(sibling(program).unwrap()).arg("man").arg(folder.path()));
        let page = |it: &str| folder.path().join(format!("{it}.1"));
        assert!(commands.iter().all(|it| page(&format!("{program}-{it}")).exists()));
        for entry in fs::read_dir(folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let mut groff = Command::new("groff");
            written(groff.args(["-ww", "-man", "-K", "utf8", "-T", "utf8", "-z"]).arg(&path));
            let mut mandoc = Command::new("mandoc");
            written(mandoc.args(["-T", "lint", "-W", "error"]).arg(&path));
        }
        let text = fs::read_to_string(page(&format!("{program}-{one}"))).unwrap();
        let text = text.replace("\\-", "-");
        assert!(options.iter().all(|it| text.contains(it)), "{program} {one}: {text}");
    }
}
