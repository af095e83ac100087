//! Does the Debian package hold what its unit, its page and its scripts speak of?
//!
//! What `cargo deb` will read; `script/package --try` builds the package and lives with it.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the manifest has failed")]

use std::{collections::BTreeMap, fs, path::Path};

use crate::tidy::workspace;

fn metadata() -> toml::Table {
    let text = fs::read_to_string(workspace().join("balancer/Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    manifest["package"]["metadata"]["deb"].as_table().unwrap().clone()
}

/// Each file of the package and where it comes from, as `cargo deb` lays them.
fn files() -> BTreeMap<String, String> {
    let metadata = metadata();
    let assets = metadata["assets"].as_array().unwrap().iter();
    let laid = assets.map(|it| {
        let word = |at: usize| it[at].as_str().unwrap().to_owned();
        let (source, mut place) = (word(0), format!("/{}", word(1)));
        if place.ends_with('/') {
            place += Path::new(&source).file_name().unwrap().to_str().unwrap();
        }
        (place, source)
    });
    laid.collect()
}

/// The paths below these folders that a text names.
fn named(text: &str) -> Vec<&str> {
    let words = text.split(|it: char| it.is_whitespace() || "=\"',;".contains(it));
    let roots = ["/etc/balancer/", "/etc/default/", "/usr/sbin/"];
    let words = words.map(|it| it.strip_prefix('-').unwrap_or(it).trim_end_matches('.'));
    words.filter(|it| roots.iter().any(|root| it.starts_with(root))).collect()
}

#[test]
fn each_file_of_the_package_is_there() {
    for (place, source) in files() {
        let path = workspace().join("balancer").join(&source);
        if let Some(made) = source.strip_prefix("target/release/") {
            // One by cargo, one by `script/package` from all that is linked.
            assert!(["balancer", "third-party.gz"].contains(&made), "{place}");
        } else if source.ends_with("/*.conf") {
            assert!(fs::read_dir(path.parent().unwrap()).unwrap().count() > 1, "{source}");
        } else {
            assert!(path.is_file(), "{source}");
        }
    }
    let scripts =
        workspace().join("balancer").join(metadata()["maintainer-scripts"].as_str().unwrap());
    let units = metadata()["systemd-units"]["unit-scripts"].as_str().unwrap().to_owned();
    assert!(workspace().join("balancer").join(units).join("balancer.service").is_file());
    for script in ["postinst", "postrm"] {
        let text = fs::read_to_string(scripts.join(script)).unwrap();
        // Where the lines for the unit are put.
        assert!(text.contains("\n#DEBHELPER#\n"), "{script}");
    }
}

#[test]
fn the_package_says_whose_it_is_and_which_version() {
    let read = |path: &str| fs::read_to_string(workspace().join(path)).unwrap();
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let package = &manifest["workspace"]["package"];
    let version = package["version"].as_str().unwrap();
    assert!(read("configs/debian/changelog").starts_with(&format!("balancer ({version}-1) ")));
    let licence = package["license"].as_str().unwrap();
    let copyright = read("configs/debian/copyright");
    assert!(copyright.contains(&format!("\nLicense: {licence}\n")));
    let notices = copyright.split_whitespace().find(|it| it.ends_with("third-party.gz."));
    assert!(files().contains_key(notices.unwrap().trim_end_matches('.')));
}

#[test]
fn what_the_unit_and_the_page_name_is_in_the_package() {
    let files = files();
    let read = |path: &str| fs::read_to_string(workspace().join(path)).unwrap();
    let mut count = 0;
    for path in
        ["configs/systemd/balancer.service", "docs/man/balancer.8", "configs/debian/default"]
    {
        let text = read(path);
        for name in named(&text).into_iter().filter(|it| !it.ends_with("/token")) {
            let is_there =
                files.keys().any(|it| it == name || it.starts_with(name) && name.ends_with('/'));
            assert!(is_there, "{path}: {name} is not in the package");
            count += 1;
        }
    }
    assert!(10 < count, "hardly anything is named");
    let conf = read("configs/debian/nginx.conf");
    assert!(conf.contains("include /etc/balancer/conf.d/*.conf;"));
    assert!(files.contains_key("/etc/balancer/conf.d/default.conf"));
}
