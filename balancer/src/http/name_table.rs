//! Which of the servers of an address has a name?

use std::collections::HashMap;

use crate::conf::ConfError;
use crate::http::server::Names;
use crate::regex::Matcher;
use crate::snapshot::Bind;
use crate::variable::{self, Scratch, Subject};

/// Positions of servers by name.
#[derive(Debug, Default)]
pub struct NameTable {
    /// By exact name, in lower case.
    exact: HashMap<Vec<u8>, usize>,
    /// `*.example.com`, by `.example.com`.
    leading: HashMap<Vec<u8>, usize>,
    /// `www.example.*`, by `www.example.`.
    trailing: HashMap<Vec<u8>, usize>,
    /// `~expression`, in the order of the file.
    pub regexes: Vec<(Matcher, usize)>,
}

impl NameTable {
    /// By nginx's order: exact, longest wildcard at the start, longest wildcard at the end, first
    /// expression. The host is in lower case.
    #[must_use]
    pub fn find(&self, host: &[u8], scratch: &Scratch) -> Option<usize> {
        if let Some(found) = self.exact.get(host) {
            return Some(*found);
        }
        let dots = |it: &(usize, &u8)| *it.1 == b'.';
        let starts = || host.iter().enumerate().filter(dots).map(|(at, _)| at);
        let leading = || starts().find_map(|at| self.leading.get(&host[at..]));
        let trailing = || {
            let longest_first = host.iter().enumerate().rev().filter(dots).map(|(at, _)| at);
            longest_first.into_iter().find_map(|at| self.trailing.get(&host[..=at]))
        };
        let matching = || self.regexes.iter().find(|(it, _)| it.exec(scratch, host));
        leading().or_else(trailing).copied().or_else(|| matching().map(|(_, server)| *server))
    }

    /// Enters the names of the server at a position; `is_alone` where no other is behind the
    /// address.
    ///
    /// Source: nginx `ngx_http.c`, `ngx_http_server_names`, and `ngx_hash.c`, `ngx_hash_add_key`.
    pub fn enter<S: Subject>(
        &mut self,
        own: &Names,
        at: usize,
        bind: &Bind,
        is_alone: bool,
        variables: &variable::Names<S>,
        problems: &mut Vec<ConfError>,
    ) {
        for (name, word) in own.lower() {
            let mut conflict = |it: &mut HashMap<Vec<u8>, usize>, key: &[u8]| {
                if it.contains_key(key) {
                    let text = format!("conflicting server name \"{name}\" on {bind}, ignored");
                    problems.push(ConfError::unplaced(text).warning());
                } else {
                    it.insert(key.to_vec(), at);
                }
            };
            let bytes = name.as_bytes();
            match bytes {
                [b'~', ..] => {}
                [b'.', rest @ ..] if is_plain(rest) => {
                    conflict(&mut self.exact, rest);
                    self.leading.entry(bytes.to_vec()).or_insert(at);
                }
                [b'*', rest @ ..] if is_plain(rest) => conflict(&mut self.leading, rest),
                [rest @ .., b'*'] if rest.ends_with(b".") && is_plain(rest) => {
                    conflict(&mut self.trailing, rest);
                }
                _ if is_plain(bytes) => conflict(&mut self.exact, bytes),
                // A single server of an address is never looked up by its names.
                _ if !is_alone => {
                    let text = format!("invalid server name or wildcard \"{name}\" on {bind}");
                    let problem = ConfError::unplaced(text);
                    problems.push(match word {
                        Some(word) => problem.with_help(format!("it stands in {}", word.span)),
                        None => problem,
                    });
                }
                _ => {}
            }
        }
        let expressions = own.regexes.iter();
        self.regexes.extend(expressions.map(|(_, it)| (Matcher::new(it, variables), at)));
    }
}

/// Whether a name has no star, and no two dots in a row.
fn is_plain(name: &[u8]) -> bool {
    !name.contains(&b'*') && !name.windows(2).any(|it| it == b"..")
}
