//! Do the sub-commands say what becomes of a configuration, and stay away under nginx's name?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_balancer");

/// A folder with a configuration and room for its logs.
fn folder(text: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
    folder
}

fn test(folder: &TempDir, words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("test").args(words).arg("-p").arg(folder.path()).args(["-c", "nginx.conf"]);
    command.env_remove("NO_COLOR").output().unwrap()
}

const ACCEPTED: &str = "events { use epoll; }\nhttp { access_log off; sendfile on; }\n";
const REFUSED: &str = "events { }\nhttp {\n  leastconn;\n  brotli on;\n}\n";

#[test]
fn an_accepted_configuration_is_explained_as_json() {
    let output = test(&folder(ACCEPTED), &["--explain", "--format", "json"]);
    assert!(output.status.success());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["accepted"], true);
    assert_eq!(document["counts"]["without_effect"], 2);
    assert!(output.stderr.is_empty());
}

#[test]
fn every_error_is_told_and_the_first_line_is_nginx_s() {
    let folder = folder(REFUSED);
    let output = test(&folder, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let conf = folder.path().join("nginx.conf").display().to_string();
    let expected = [
        format!("nginx: [emerg] unknown directive \"leastconn\" in {conf}:3"),
        format!("nginx: [emerg] unknown directive \"brotli\" in {conf}:4"),
        format!("nginx: configuration file {conf} test failed"),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn marks_are_colored_unless_colors_are_unwelcome() {
    let folder = folder(REFUSED);
    let text = String::from_utf8(test(&folder, &["--color"]).stderr).unwrap();
    assert!(text.contains("\x1b[") && text.contains("help: "), "{text}");
    let mut command = Command::new(PROGRAM);
    command.args(["test", "--color", "-p"]).arg(folder.path()).args(["-c", "nginx.conf"]);
    let output = command.env("NO_COLOR", "1").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains('\x1b') && text.contains("3 │   leastconn;"), "{text}");
}

#[test]
fn scanners_are_given_one_document_or_one_command_for_each_problem() {
    let folder = folder(REFUSED);
    let document: Value =
        serde_json::from_slice(&test(&folder, &["--format", "sarif"]).stdout).unwrap();
    assert_eq!(document["runs"][0]["results"].as_array().unwrap().len(), 2);
    let text = String::from_utf8(test(&folder, &["--format=github"]).stdout).unwrap();
    assert_eq!(text.lines().filter(|it| it.starts_with("::error file=")).count(), 2);
}

#[test]
fn under_the_name_nginx_there_are_no_sub_commands() {
    let folder = folder(ACCEPTED);
    let nginx = folder.path().join("nginx");
    std::os::unix::fs::symlink(PROGRAM, &nginx).unwrap();
    for name in ["test", "directives"] {
        let output = Command::new(&nginx).arg(name).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text, format!("nginx: invalid option: \"{name}\"\n"));
    }
    let help = Command::new(&nginx).arg("-h").output().unwrap();
    assert!(!String::from_utf8(help.stderr).unwrap().contains("Commands"));
}

#[test]
fn a_parameter_of_our_own_is_an_extension_and_strictly_refused() {
    let text = "events { }\nhttp { access_log off; upstream u { hash $uri consistent bounded=1.5; \
                server 127.0.0.1:1; server 127.0.0.1:2; } }\n";
    let folder = folder(text);
    let output = test(&folder, &["--format", "json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = document["directives"].as_array().unwrap();
    let row = rows.iter().find(|it| it["parameter"] == "bounded=1.5").unwrap();
    assert_eq!((&row["verdict"], &row["directive"]), (&"extension".into(), &"hash".into()));
    let text = String::from_utf8(test(&folder, &["--strict"]).stderr).unwrap();
    assert!(text.starts_with("nginx: [emerg] invalid parameter \"bounded=1.5\" in "), "{text}");
}

#[test]
fn a_group_with_a_mistake_is_no_mistake_of_who_names_it() {
    let text = "events { }\nhttp { access_log off; upstream u { server nosuch.invalid:80; }\n\
                server { listen 127.0.0.1:1; location / { proxy_pass http://u; } } }\n";
    let text = String::from_utf8(test(&folder(text), &["--strict"]).stderr).unwrap();
    assert!(text.contains("host not found in upstream \"nosuch.invalid:80\""), "{text}");
    assert_eq!(text.matches("[emerg]").count(), 1, "{text}");
}
