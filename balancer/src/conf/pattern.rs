//! Which paths does the pattern of an `include` name?
//!
//! What a directory holds is asked of the caller. As in a shell, `*` and `?` stop at `/` and do
//! not match a dot at the start of a name.
//!
//! Source: POSIX `glob` and `fnmatch`, as nginx calls them (`GLOB_NOSORT` is not set).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The paths a pattern names, sorted by their bytes.
///
/// `names` lists a directory; one that cannot be listed holds nothing. A part without `*`, `?`
/// and `[` must exist all the same, so it is looked for in its directory too.
pub fn glob(pattern: &Path, names: &dyn Fn(&Path) -> io::Result<Vec<OsString>>) -> Vec<PathBuf> {
    let pattern = pattern.as_os_str().as_bytes();
    let mut found = match pattern.strip_prefix(b"/") {
        Some(_) => vec![PathBuf::from("/")],
        None => vec![PathBuf::new()],
    };
    for part in pattern.split(|it| *it == b'/').filter(|it| !it.is_empty()) {
        found = found.iter().flat_map(|directory| step(directory, part, names)).collect();
    }
    found.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    found
}

/// The entries of one directory that one part of a pattern names.
fn step(
    directory: &Path,
    part: &[u8],
    names: &dyn Fn(&Path) -> io::Result<Vec<OsString>>,
) -> Vec<PathBuf> {
    if matches!(part, b"." | b"..") {
        return vec![directory.join(OsString::from_vec(part.to_vec()))];
    }
    let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let entries = names(listed).unwrap_or_default();
    let fits = |name: &OsString| {
        let name = name.as_bytes();
        (!name.starts_with(b".") || part.starts_with(b".")) && matches_name(part, name)
    };
    entries.iter().filter(|it| fits(it)).map(|it| directory.join(it)).collect()
}

/// Whether a name fits one part of a pattern.
fn matches_name(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', rest @ ..] => (0..=name.len()).any(|skip| matches_name(rest, &name[skip..])),
        [b'?', rest @ ..] => !name.is_empty() && matches_name(rest, &name[1..]),
        [b'[', rest @ ..] => match (name, set(rest)) {
            ([first, after @ ..], Some((set, rest))) => {
                set.holds(*first) && matches_name(rest, after)
            }
            (_, Some(_)) => false,
            (_, None) => name.first() == Some(&b'[') && matches_name(rest, &name[1..]),
        },
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => {
            name.first() == Some(literal) && matches_name(rest, &name[1..])
        }
    }
}

/// What stands between brackets.
struct Set<'a> {
    negated: bool,
    members: &'a [u8],
}

impl Set<'_> {
    fn holds(&self, byte: u8) -> bool {
        let mut rest = self.members;
        let mut held = false;
        while let [first, after @ ..] = rest {
            (held, rest) = match after {
                [b'-', last, after @ ..] => (held || (*first..=*last).contains(&byte), after),
                _ => (held || *first == byte, after),
            };
        }
        held != self.negated
    }
}

/// Splits the rest of a pattern behind `[` into the set and what follows its `]`; `None` when the
/// bracket is not closed and stands for itself.
fn set(pattern: &[u8]) -> Option<(Set<'_>, &[u8])> {
    let (negated, members) = match pattern {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    // A bracket that comes first is a member.
    let end = 1 + members.get(1..)?.iter().position(|it| *it == b']')?;
    Some((Set { negated, members: &members[..end] }, &members[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(pattern: &str, fits: &[&str], others: &[&str]) {
        let fit = |name: &&&str| matches_name(pattern.as_bytes(), name.as_bytes());
        assert_eq!(fits.iter().filter(fit).count(), fits.len(), "{pattern} {fits:?}");
        assert_eq!(others.iter().filter(fit).count(), 0, "{pattern} {others:?}");
    }

    #[test]
    fn stars_marks_and_sets_match_names() {
        check_name("*.conf", &["a.conf", ".conf"], &["a.conf~", "conf", "a.con"]);
        check_name("a*b*c", &["abc", "axbxc", "abbc"], &["ab", "acb", "xabc"]);
        check_name("?", &["a", "?"], &["", "ab"]);
        check_name("[a-cx]1", &["a1", "b1", "x1"], &["d1", "1", "-1"]);
        check_name("[!a-c]", &["d", "!"], &["a", "b"]);
        check_name("[^a]", &["b"], &["a"]);
        check_name("[]a]", &["]", "a"], &["b"]);
        check_name("[a", &["[a"], &["a"]);
        check_name("\\*", &["*"], &["a", "\\*"]);
        check_name("", &[""], &["a"]);
    }

    /// A tree of four directories.
    fn names(directory: &Path) -> io::Result<Vec<OsString>> {
        let names: &[&str] = match directory.to_str().unwrap() {
            "/" => &["etc"],
            "/etc" => &["nginx", "b", "a.conf"],
            "/etc/nginx" | "." => &["sites", "b.conf", "B.conf", ".x.conf", "a.conf"],
            "/etc/nginx/sites" => &["2", "1"],
            _ => return Err(io::ErrorKind::NotADirectory.into()),
        };
        Ok(names.iter().map(OsString::from).collect())
    }

    #[track_caller]
    fn check(pattern: &str, expected: &[&str]) {
        let found = glob(Path::new(pattern), &names);
        assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{pattern}");
    }

    #[test]
    fn a_pattern_names_existing_paths_in_the_order_of_their_bytes() {
        check(
            "/etc/nginx/*.conf",
            &["/etc/nginx/B.conf", "/etc/nginx/a.conf", "/etc/nginx/b.conf"],
        );
        check("/etc/*/sites/*", &["/etc/nginx/sites/1", "/etc/nginx/sites/2"]);
        check("/etc/nginx/.*.conf", &["/etc/nginx/.x.conf"]);
        check("*.conf", &["B.conf", "a.conf", "b.conf"]);
        check("/etc/nginx/../n*x", &[]);
        check("/none/*", &[]);
        check("/etc/nginx/sites/[2-9]", &["/etc/nginx/sites/2"]);
    }
}
