//! The crate depends on nothing, and its answers on nothing but the arguments.

use std::fs;
use std::path::Path;

/// Names that reach a clock, a file, a socket, chance, or state shared behind the caller's back.
const AMBIENT: &[&str] = &[
    "Atomic",
    "DefaultHasher",
    "HashMap",
    "HashSet",
    "Instant",
    "LazyLock",
    "Mutex",
    "OnceLock",
    "RandomState",
    "RwLock",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UNIX_EPOCH",
    "UdpSocket",
    "env",
    "fs",
    "getrandom",
    "io",
    "option_env",
    "os",
    "process",
    "static",
    "thread",
    "thread_local",
];

/// What of [`AMBIENT`] a source names outside its comments, with the lines.
fn ambient_names(source: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (line, text) in source.lines().enumerate() {
        // Every second piece between quotation marks is a text.
        let code = text.split('"').step_by(2).collect::<Vec<_>>().join(" ");
        let code = code.split("//").next().unwrap_or_default().replace("'static", "");
        let words = code.split(|it: char| !it.is_alphanumeric() && it != '_');
        for word in words {
            let named = |it: &&&str| word == **it || (**it == "Atomic" && word.starts_with(**it));
            found.extend(AMBIENT.iter().find(named).map(|it| (line + 1, *it)));
        }
    }
    found
}

fn check_folder(folder: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += check_folder(&path);
        } else {
            let source = fs::read_to_string(&path).unwrap();
            assert_eq!(ambient_names(&source), [], "{}", path.display());
            files += 1;
        }
    }
    files
}

#[test]
fn no_source_names_anything_but_its_arguments() {
    let files = check_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(15 <= files, "only {files} files were read");
}

#[test]
fn a_clock_a_file_or_a_global_would_be_found() {
    let clock = "use std::time::Instant;\nlet now = Instant::now(); // Mutex";
    assert_eq!(ambient_names(clock), [(1, "Instant"), (2, "Instant")]);
    assert_eq!(ambient_names("std::time::SystemTime::now()"), [(1, "SystemTime")]);
    assert_eq!(ambient_names("std::fs::read(path)"), [(1, "fs")]);
    assert_eq!(ambient_names("static SEED: AtomicU64"), [(1, "static"), (1, "Atomic")]);
    assert_eq!(ambient_names("id: &'static str = \"static\";"), []);
}

#[test]
fn the_manifest_has_no_dependency() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let dependencies =
        |line: &&str| line.starts_with('[') && line.replace("dev-", "").contains("dependencies");
    let sections = manifest.lines().filter(dependencies).collect::<Vec<_>>();
    assert_eq!(sections, ["[dev-dependencies]"]);
}
