//! `map`: a variable whose value depends on another text.

use std::collections::HashMap;

use super::{Compute, Names, Subject, Template, compile, definable};
use crate::conf::{ConfError, Directive, Reading, Word};
use crate::regex::{Matcher, Regex};

/// A `map` as it is written.
#[derive(Clone, Debug)]
pub struct Block {
    /// The variable's name.
    pub name: String,
    source: Word,
    lines: Lines,
}

#[derive(Clone, Debug, Default)]
struct Lines {
    /// Whether keys are names of hosts, with masks.
    has_masks: bool,
    is_volatile: bool,
    default: Option<Word>,
    /// By key in lower case.
    exact: HashMap<Vec<u8>, Word>,
    /// `*.example.com`, by `.example.com`.
    leading: HashMap<Vec<u8>, Word>,
    /// `www.example.*`, by `www.example.`.
    trailing: HashMap<Vec<u8>, Word>,
    regexes: Vec<(Regex, Word)>,
}

impl Block {
    /// Reads a block.
    ///
    /// Source: nginx `ngx_http_map_module.c`, `ngx_http_map_block` and `ngx_http_map`.
    pub fn read<S: Subject>(
        directive: &Directive,
        reading: &mut Reading<'_>,
    ) -> Result<Self, ConfError> {
        let name = definable::<S>(&directive.words[2])?;
        reading.define(&name);
        let mut lines = Lines::default();
        for line in directive.entries() {
            lines.add(line?, reading)?;
        }
        Ok(Self { name, source: directive.text().clone(), lines })
    }

    /// Looks the variables up.
    pub fn compile<S: Subject>(&self, names: &Names<S>) -> Result<Map<S>, ConfError> {
        let all = |it: &HashMap<Vec<u8>, Word>| -> Result<HashMap<_, _>, ConfError> {
            it.iter().map(|(key, value)| Ok((key.clone(), compile(value, names)?))).collect()
        };
        let lines = &self.lines;
        let regex = |(regex, value): &(Regex, Word)| -> Result<_, ConfError> {
            Ok((Matcher::new(regex, names), compile(value, names)?))
        };
        Ok(Map {
            source: compile(&self.source, names)?,
            has_masks: lines.has_masks,
            is_volatile: lines.is_volatile,
            default: lines.default.as_ref().map(|it| compile(it, names)).transpose()?,
            exact: all(&lines.exact)?,
            leading: all(&lines.leading)?,
            trailing: all(&lines.trailing)?,
            regexes: lines.regexes.iter().map(regex).collect::<Result<_, _>>()?,
        })
    }
}

impl Lines {
    fn add(&mut self, line: &Directive, reading: &mut Reading<'_>) -> Result<(), ConfError> {
        let key = line.name();
        if let [_] = line.words.as_slice() {
            match key.as_str() {
                "hostnames" => self.has_masks = true,
                "volatile" => self.is_volatile = true,
                _ => return Err(key.refuse("invalid number of the map parameters")),
            }
            return Ok(());
        }
        let [_, value] = line.words.as_slice() else {
            return Err(key.refuse("invalid number of the map parameters"));
        };
        if *key == "default" {
            if self.default.replace(value.clone()).is_some() {
                return Err(key.refuse("duplicate default map parameter"));
            }
            return Ok(());
        }
        if let Some(expression) = key.as_bytes().strip_prefix(b"~") {
            let caseless = expression.strip_prefix(b"*");
            let regex = Regex::new(caseless.unwrap_or(expression), caseless.is_some());
            let regex = regex.map_err(|it| key.refuse(it))?;
            regex.names().for_each(|(_, it)| reading.define(it));
            self.regexes.push((regex, value.clone()));
            return Ok(());
        }
        let text = key.as_bytes().strip_prefix(b"\\").unwrap_or(key.as_bytes());
        let lower = text.to_ascii_lowercase();
        let shown = String::from_utf8_lossy(text).into_owned();
        let conflict = || Err(key.refuse(format!("conflicting parameter \"{shown}\"")));
        let is_plain = |it: &[u8]| {
            !it.contains(&b'*') && !it.windows(2).any(|it| it == b"..") && !it.contains(&0)
        };
        let is_new = match lower.as_slice() {
            _ if !self.has_masks => self.exact.insert(lower, value.clone()).is_none(),
            [b'.', rest @ ..] if is_plain(rest) => {
                self.exact.insert(rest.to_vec(), value.clone()).is_none()
                    && self.leading.insert(lower.clone(), value.clone()).is_none()
            }
            [b'*', rest @ ..] if rest.starts_with(b".") && is_plain(rest) => {
                self.leading.insert(rest.to_vec(), value.clone()).is_none()
            }
            [rest @ .., b'*'] if rest.ends_with(b".") && is_plain(rest) => {
                self.trailing.insert(rest.to_vec(), value.clone()).is_none()
            }
            rest if is_plain(rest) => self.exact.insert(lower, value.clone()).is_none(),
            _ => {
                return Err(key.refuse(format!("invalid hostname or wildcard \"{shown}\"")));
            }
        };
        if is_new { Ok(()) } else { conflict() }
    }
}

/// A `map`, ready to be looked into.
#[derive(Debug)]
pub struct Map<S> {
    source: Template<S>,
    has_masks: bool,
    is_volatile: bool,
    default: Option<Template<S>>,
    exact: HashMap<Vec<u8>, Template<S>>,
    leading: HashMap<Vec<u8>, Template<S>>,
    trailing: HashMap<Vec<u8>, Template<S>>,
    regexes: Vec<(Matcher, Template<S>)>,
}

impl<S: Subject> Map<S> {
    /// Source: nginx `ngx_hash.c`, `ngx_hash_find_combined`, then `ngx_http_map_find`.
    fn find(&self, subject: &S, text: &[u8]) -> Option<&Template<S>> {
        let key = match text.strip_suffix(b".") {
            Some(name) if self.has_masks => name,
            _ => text,
        };
        let key = key.to_ascii_lowercase();
        let dots = || key.iter().enumerate().filter(|(_, it)| **it == b'.').map(|(at, _)| at);
        self.exact
            .get(&key)
            .or_else(|| dots().find_map(|at| self.leading.get(&key[at..])))
            .or_else(|| {
                let longest_first = dots().collect::<Vec<_>>().into_iter().rev();
                longest_first.into_iter().find_map(|at| self.trailing.get(&key[..=at]))
            })
            .or_else(|| {
                let found = self.regexes.iter().find(|(it, _)| it.exec(subject.scratch(), text));
                found.map(|(_, value)| value)
            })
            .or(self.default.as_ref())
    }
}

impl<S: Subject> Compute<S> for Map<S> {
    fn compute(&self, subject: &S, out: &mut Vec<u8>) -> bool {
        let text = self.source.value(subject);
        if let Some(value) = self.find(subject, &text) {
            value.write(subject, out);
        }
        true
    }

    fn is_volatile(&self) -> bool {
        self.is_volatile
    }
}
