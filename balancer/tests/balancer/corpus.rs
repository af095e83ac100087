//! Are configurations read as nginx and others read them?
//!
//! Three judges: the trees beside the files of `corpus`, which crossplane wrote; crossplane
//! itself, for every configuration there is; and the installed nginx, for every kind of mistake.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use balancer::conf::error::sort;
use balancer::conf::{self, Directive, Reader, Syntax, pattern};
use proptest::prelude::*;
use tempfile::TempDir;

/// The real files.
struct Disk;

impl Reader for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let names = |directory: &Path| {
            std::fs::read_dir(directory)?.map(|it| it.map(|it| it.file_name())).collect()
        };
        Ok(pattern::glob(pattern, &names))
    }
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// The files of the corpus, without those that are only included.
fn files() -> Vec<PathBuf> {
    let files = Disk.glob(&corpus().join("*.conf")).unwrap();
    assert!(10 < files.len(), "the corpus is not there: {files:?}");
    files
}

/// One line for each directive: its line, then its words, each in brackets.
///
/// The parentheses of `if` are left out, because crossplane does not keep them.
fn tree(directives: &[Directive], depth: usize, text: &mut String) {
    for directive in directives {
        let line = directive.span.position().0;
        let mut words: Vec<String> = directive.words.iter().map(ToString::to_string).collect();
        if words[0] == "if" {
            // A parenthesis by itself is a word; an empty text is another.
            let mut inner = words.split_off(1);
            let first = inner[0].strip_prefix('(').unwrap_or(&inner[0]).to_owned();
            if first.is_empty() {
                inner.remove(0);
            } else {
                inner[0] = first;
            }
            let last = inner.pop().unwrap();
            words.append(&mut inner);
            let last = last.strip_suffix(')').unwrap_or(&last);
            if !last.is_empty() {
                words.push(last.to_owned());
            }
        }
        let words: Vec<_> = words.iter().map(|it| format!("[{}]", it.escape_debug())).collect();
        let open = if directive.block.is_some() { " {" } else { "" };
        writeln!(text, "{:indent$}{line} {}{open}", "", words.join(" "), indent = 2 * depth)
            .unwrap();
        tree(directive.children(), depth + 1, text);
    }
}

fn read(path: &Path) -> Syntax {
    conf::read(path, "", &Disk)
}

#[test]
fn files_from_the_wild_have_the_trees_that_crossplane_gave_them() {
    for file in files() {
        let syntax = read(&file);
        assert!(syntax.problems.is_empty(), "{}: {:?}", file.display(), syntax.problems);
        let mut text = String::new();
        tree(&syntax.directives, 0, &mut text);
        let expected = std::fs::read_to_string(file.with_extension("tree")).unwrap();
        assert_eq!(text, expected, "{}", file.display());
    }
}

/// The configurations of the differential cases, written to a folder.
fn cases(folder: &Path) -> Vec<PathBuf> {
    let around = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/balancer/differential/cases");
    let mut files = Vec::new();
    for case in Disk.glob(&around.join("*/*.txt")).unwrap() {
        let text = std::fs::read_to_string(&case).unwrap();
        let part = |kind: &str| {
            let of_kind = |it: &str| it.strip_prefix(kind).map(|it| format!("{it}\n"));
            text.split("\n--- ").filter_map(of_kind).collect::<String>()
        };
        let (http, server) = (part("http\n"), part("server\n"));
        let (main, stream) = (part("main\n"), part("stream\n"));
        let whole = format!(
            "{main}\nevents {{}}\nhttp {{\n{http}\nserver {{\n{server}\n}}\n}}\n\
             stream {{\n{stream}\n}}\n"
        );
        let file = folder.join(format!("{}.conf", files.len()));
        // What would be included is not there; how the line is read is what counts.
        std::fs::write(&file, whole.replace("include ", "included ")).unwrap();
        files.push(file);
    }
    assert!(100 < files.len(), "the cases are not there: {files:?}");
    files
}

#[test]
fn crossplane_reads_every_configuration_as_we_do() {
    let folder = TempDir::new().unwrap();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut all = files();
    for folder in ["configs", "configs/docker", "configs/nginx"] {
        all.extend(Disk.glob(&workspace.join(folder).join("*.conf")).unwrap());
    }
    all.extend(cases(folder.path()));
    let python = workspace.join(".venv/bin/python");
    let output = Command::new(&python).arg(corpus().join("tree.py")).args(&all).output();
    let output = output.expect("crossplane is not installed: run script/bootstrap");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "run script/bootstrap: {said}");
    let trees = format!("\n{}", String::from_utf8(output.stdout).unwrap());
    let mut trees = trees.trim_end().split("\n# ").skip(1);
    for file in &all {
        let name = format!("{}\n", file.display());
        let theirs = trees.next().unwrap().strip_prefix(&name).expect("a tree for each file");
        let mut ours = String::new();
        tree(&read(file).directives, 0, &mut ours);
        assert_eq!(ours.trim_end(), theirs, "{}", file.display());
    }
}

#[test]
fn a_written_tree_reads_back_the_same() {
    for file in files() {
        let first = read(&file);
        let folder = TempDir::new().unwrap();
        let again = folder.path().join("nginx.conf");
        std::fs::write(&again, written(&first.directives)).unwrap();
        let second = read(&again);
        assert!(second.problems.is_empty(), "{:?}", second.problems);
        assert_eq!(written(&first.directives), written(&second.directives), "{}", file.display());
    }
}

/// The directives as text with every word in quotes.
fn written(directives: &[Directive]) -> String {
    let mut text = String::new();
    for directive in directives {
        for word in &directive.words {
            let word = word.replace('\\', "\\\\").replace('"', "\\\"");
            write!(text, "\"{word}\" ").unwrap();
        }
        match directive.block {
            None => text.push_str(";\n"),
            Some(_) => write!(text, "{{\n{}}}\n", written(directive.children())).unwrap(),
        }
    }
    text
}

/// What the installed nginx says first of a configuration.
fn nginx(file: &Path) -> String {
    let mut command = Command::new("nginx");
    command.args(["-t", "-e", "/dev/null", "-c"]).arg(file);
    let output = command.output().expect("nginx is not installed: run script/bootstrap");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // nginx misses `events` only after it has approved of the syntax.
    let approval = format!("nginx: the configuration file {} syntax is ok\n", file.display());
    text.strip_prefix(&approval).unwrap_or(&text).to_owned()
}

/// What we say first: a mistake of the text, or that the first name is unknown.
fn ours(file: &Path) -> String {
    let mut syntax = read(file);
    sort(&mut syntax.problems);
    let problem = syntax.problems.first();
    let unknown = syntax.directives.first();
    match (problem, unknown) {
        (Some(problem), None) => problem.line() + "\n",
        (Some(problem), Some(unknown))
            if problem.span.as_ref().is_none_or(|it| it.order < unknown.mark.order) =>
        {
            problem.line() + "\n"
        }
        (_, Some(unknown)) => {
            let name = unknown.name();
            format!("nginx: [emerg] unknown directive \"{name}\" in {}\n", unknown.mark)
        }
        (None, None) => "nginx: [emerg] no \"events\" section in configuration\n".to_owned(),
    }
}

#[track_caller]
fn check_against_nginx(folder: &Path, text: &str) -> Result<(), TestCaseError> {
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let theirs = nginx(&file);
    let ours = ours(&file);
    prop_assert!(theirs.starts_with(&ours), "{text:?}\nnginx: {theirs}ours: {ours}");
    Ok(())
}

/// Every message of the lexer and the parser, each at more than one line.
const MISTAKES: &[&str] = &[
    ";",
    "\n{",
    "}\n",
    "a\n",
    "a b\n\n",
    "a \"b;\n",
    "a 'b\n;\n}",
    "\n\"a\"b;",
    "\"a\"};",
    "'a'\"b\";",
    "a b }",
    "#only",
    "",
    "include nowhere.conf;",
    "include\n nowhere.conf\n;",
    "include sub/*.conf;",
    "\n\"a\\tb\\\"\" c;",
    "${a}b{",
    "a${b{c}d e;",
    "a\r\nb\r\n;\r\n",
];

#[test]
fn mistakes_are_told_in_the_words_and_at_the_line_of_nginx() {
    let folder = TempDir::new().unwrap();
    for text in MISTAKES {
        check_against_nginx(folder.path(), text).unwrap();
    }
}

/// Pieces that mean something to the lexer, and some that do not.
fn piece() -> impl Strategy<Value = &'static str> {
    let pieces = [
        "a", "b", "n", "t", "é", " ", " ", "\n", "\t", "\r", ";", ";", "{", "}", "\"", "\"", "'",
        "\\", "#", "$", ")", "(",
    ];
    prop::sample::select(pieces.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_first_directive_is_read_as_nginx_reads_it(
        pieces in prop::collection::vec(piece(), 1..14),
    ) {
        let folder = TempDir::new().unwrap();
        // nginx's own message breaks a character of several bytes, so none may be unexpected.
        let text = pieces.concat().replace("\"é", "\" é").replace("'é", "' é");
        check_against_nginx(folder.path(), &text)?;
    }
}

proptest! {
    #[test]
    fn no_text_stops_the_reader(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, &text).unwrap();
        let syntax = read(&file);
        let shown = conf::error::render(&syntax.problems, conf::error::Marks::Plain);
        prop_assert!(syntax.problems.len() <= shown.lines().count());
    }
}
