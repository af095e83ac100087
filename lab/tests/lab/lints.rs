//! Do the files that are no Rust pass the checkers of their own kind?
//!
//! Shell scripts, container files, the Compose file, the workflow. `script/bootstrap` installs the
//! checkers; each is shown a bad file first, so that one that finds nothing ever is noticed.

#![expect(clippy::unwrap_used, reason = "a test that cannot run a checker has failed")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::tidy::{files, workspace};

/// A program of `.venv`, run where the workspace is.
pub(crate) fn checker(name: &str) -> Command {
    let program = workspace().join(".venv/bin").join(name);
    assert!(program.exists(), "{} is not there: run script/bootstrap", program.display());
    let mut command = Command::new(program);
    command.current_dir(workspace());
    command
}

/// What a program had to say, on both outputs.
pub(crate) fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it)).concat()
}

/// Files whose path or text is of a kind, by their path from the workspace.
fn found(is_it: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let of = |(path, text): (String, String)| is_it(&path, &text).then_some(path);
    let found: Vec<_> = files().into_iter().filter_map(of).collect();
    assert!(!found.is_empty(), "nothing to look at");
    found
}

/// Has `command` refuse a bad file, with `fault` among its words, and accept `good` ones.
#[track_caller]
fn check(command: impl Fn() -> Command, bad: (&str, &str), fault: &str, good: &[String]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(bad.0);
    fs::write(&path, bad.1).unwrap();
    let refused = command().arg(path).output().unwrap();
    let text = said(&refused);
    assert!(!refused.status.success() && text.contains(fault), "it finds nothing: {text}");
    let accepted = command().args(good).output().unwrap();
    assert!(accepted.status.success(), "\n{}", said(&accepted));
}

fn is_shell(path: &str, text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.starts_with("#!") && first.ends_with("sh")
        || Path::new(path).extension().is_some_and(|it| it == "bash")
}

fn is_container_file(path: &str, _text: &str) -> bool {
    let name = Path::new(path).file_name().unwrap().to_string_lossy();
    name == "Dockerfile" || name.starts_with("Dockerfile.") || name.ends_with(".Dockerfile")
}

fn is_compose_file(path: &str, _text: &str) -> bool {
    let name = Path::new(path).file_name().unwrap().to_string_lossy();
    name.starts_with("compose") && Path::new(path).extension().is_some_and(|it| it == "yml")
}

#[test]
fn shell_scripts_pass_shellcheck() {
    let scripts = found(is_shell);
    assert!(scripts.iter().any(|it| it == "script/bootstrap"), "{scripts:?}");
    let bad = ("bad", "#!/bin/sh\ncd $1\n");
    check(|| checker("shellcheck"), bad, "SC2086", &scripts);
}

#[test]
fn container_files_pass_hadolint() {
    let bad = ("Dockerfile", "FROM debian\nRUN cd /tmp && ls\n");
    check(|| checker("hadolint"), bad, "DL3006", &found(is_container_file));
}

/// `check-jsonschema` with a schema that it carries.
fn schema(name: &str) -> Command {
    let mut command = checker("check-jsonschema");
    command.arg("--builtin-schema").arg(format!("vendor.{name}"));
    command
}

#[test]
fn compose_files_follow_the_specification() {
    let bad = ("compose.yml", "services: { a: { image: b, port: [80] } }\n");
    check(|| schema("compose-spec"), bad, "'port' was unexpected", &found(is_compose_file));
}

#[test]
fn the_workflow_follows_its_schema() {
    let bad = ("ci.yml", "on: push\njobs: { a: { steps: [{ run: b }] } }\n");
    let workflows = found(|path, _| path.starts_with(".github/workflows/"));
    check(|| schema("github-workflows"), bad, "'runs-on' is a required property", &workflows);
}
