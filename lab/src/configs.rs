//! Which configurations does the workspace ship, and how does one look with real addresses?

use std::{
    env,
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The folder that holds `configs/`: looked for upwards from the current folder, then from the
/// running program.
pub fn workspace() -> Result<PathBuf> {
    let places = [env::current_dir().ok(), env::current_exe().ok()];
    places
        .iter()
        .flatten()
        .flat_map(|it| it.ancestors())
        .find(|it| it.join("configs/nginx").is_dir())
        .map(Path::to_path_buf)
        .context("configs/nginx is neither above this folder nor above this program")
}

/// The policies that have a file in `configs/nginx`, by name, sorted.
pub fn policies(workspace: &Path) -> Result<Vec<String>> {
    let folder = workspace.join("configs/nginx");
    let entries = fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new("conf")) {
            names.extend(path.file_stem().map(|it| it.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// The text of `configs/nginx/<policy>.conf`.
///
/// # Errors
///
/// When there is no such file, with the names there are.
pub fn read(workspace: &Path, policy: &str) -> Result<String> {
    let known = policies(workspace)?;
    if !known.iter().any(|it| it == policy) {
        bail!("there is no policy \"{policy}\": choose one of {}", known.join(", "));
    }
    let path = workspace.join("configs/nginx").join(policy).with_extension("conf");
    fs::read_to_string(&path).with_context(|| format!("{}", path.display()))
}

/// The same configuration with `listen` as its only listener and `servers` in its upstream.
///
/// The server at `i` keeps the parameters, such as a weight, of the line at `i`; servers beyond
/// the last line take its parameters. Everything else stays as it is, comments included.
pub fn with_addresses(text: &str, listen: SocketAddr, servers: &[SocketAddr]) -> String {
    let parameters: Vec<&str> = text.lines().filter_map(server_parameters).collect();
    let mut written = Vec::new();
    let mut upstream_done = false;
    for line in text.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if server_parameters(line).is_some() {
            if !upstream_done {
                written.extend(servers.iter().enumerate().map(|(i, server)| {
                    let rest = parameters[i.min(parameters.len() - 1)];
                    format!("{indent}server {server}{rest};\n")
                }));
            }
            upstream_done = true;
        } else if line.trim_start().starts_with("listen ") {
            written.push(format!("{indent}listen {listen};\n"));
        } else {
            written.push(format!("{line}\n"));
        }
    }
    written.concat()
}

/// What follows the address in `server ADDRESS PARAMETERS;`, with the space before it, or `None`
/// for any other line.
fn server_parameters(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("server ")?.strip_suffix(';')?;
    let address = rest.trim_start().split(' ').next()?;
    Some(&rest[rest.find(address)? + address.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_replaced_and_nothing_else() {
        let text = "http {\n  upstream shop {\n    # weights\n    server a:1 weight=5;\n    server b:1;\n  }\n  \
                    server {\n    listen 80;\n  }\n}\n";
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(
            with_addresses(text, at(8080), &[at(1), at(2), at(3)]),
            "http {\n  upstream shop {\n    # weights\n    server 127.0.0.1:1 weight=5;\n    \
             server 127.0.0.1:2;\n    server 127.0.0.1:3;\n  }\n  server {\n    \
             listen 127.0.0.1:8080;\n  }\n}\n"
        );
    }

    #[test]
    fn an_unknown_policy_is_answered_with_the_known_ones() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("configs/nginx")).unwrap();
        for name in ["random.conf", "least_conn.conf", "notes.txt"] {
            fs::write(folder.path().join("configs/nginx").join(name), "events {}\n").unwrap();
        }
        let error = read(folder.path(), "leastconn").unwrap_err().to_string();
        assert_eq!(error, "there is no policy \"leastconn\": choose one of least_conn, random");
        assert_eq!(read(folder.path(), "random").unwrap(), "events {}\n");
    }
}
