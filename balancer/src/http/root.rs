//! `root`, `alias`: which file a path stands for.

use std::path::{Path, PathBuf};

use crate::conf::{Block, ConfError, Directive, Effect, Row, Word};
use crate::engine::exchange::Exchange;
use crate::http::WITH_IF;
use crate::http::location::{Kind, Pattern};
use crate::http::variable::{Template, compile};
use crate::variable::Names;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    line: Option<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    word: Word,
    place: Place,
}

/// What of a path follows the words of the directive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// `root`: all of it.
    Root,
    /// `alias`: what follows this many bytes.
    Alias(usize),
    /// `alias` in a location with an expression: nothing.
    Whole,
}

/// The rows of both.
pub const ROWS: &[Row<Settings>] = &[
    Row { name: "root", within: WITH_IF, arguments: 1..=1, effect: Effect::Add(Settings::read) },
    Row {
        name: "alias",
        within: &[Block::Location],
        arguments: 1..=1,
        effect: Effect::Add(Settings::read),
    },
];

impl Settings {
    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self { line: self.line.or_else(|| outer.line.clone()) }
    }

    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_core_root`.
    fn read(&mut self, directive: &Directive) -> Result<(), ConfError> {
        let (name, word) = (directive.name(), directive.text());
        let place = if *name == "alias" { Place::Alias(0) } else { Place::Root };
        if let Some(line) = &self.line {
            let earlier = if line.place == Place::Root { "root" } else { "alias" };
            return Err(name.refuse(if *name == *earlier {
                format!("\"{name}\" directive is duplicate")
            } else {
                format!(
                    "\"{name}\" directive is duplicate, \"{earlier}\" directive was specified \
                     earlier"
                )
            }));
        }
        for variable in ["document_root", "realpath_root"] {
            if word.contains(&format!("${variable}")) || word.contains(&format!("${{{variable}}}"))
            {
                let text =
                    format!("the ${variable} variable cannot be used in the \"{name}\" directive");
                return Err(word.refuse(text));
            }
        }
        self.line = Some(Line { word: word.clone(), place });
        Ok(())
    }

    /// Tells an `alias` which location it stands in.
    ///
    /// # Errors
    ///
    /// A named location has no path that could be replaced.
    pub fn place(&mut self, pattern: &Pattern) -> Result<(), ConfError> {
        let Some(line) = self.line.as_mut().filter(|it| it.place != Place::Root) else {
            return Ok(());
        };
        line.place = match pattern.kind {
            Kind::Named => {
                let text = "the \"alias\" directive cannot be used inside the named location";
                return Err(line.word.refuse(text));
            }
            Kind::Regex => Place::Whole,
            _ => Place::Alias(pattern.path.len()),
        };
        Ok(())
    }

    /// Looks variables up; paths are below `prefix`.
    pub fn compile(&self, names: &Names<Exchange>, prefix: &Path) -> Result<Root, ConfError> {
        let prefix = prefix.to_path_buf();
        let Some(Line { word, place }) = &self.line else {
            return Ok(Root { folder: Template::text(b"html"), place: Place::Root, prefix });
        };
        let trimmed = match word.as_bytes().strip_suffix(b"/") {
            Some(short) if *place == Place::Root => word.with_bytes(short),
            _ => word.clone(),
        };
        Ok(Root { folder: compile(&trimmed, names)?, place: *place, prefix })
    }
}

/// Where the files of a location are.
#[derive(Debug)]
pub struct Root {
    folder: Template,
    place: Place,
    prefix: PathBuf,
}

impl Root {
    /// The folder, as `$document_root` has it.
    pub fn folder(&self, exchange: &Exchange) -> Vec<u8> {
        let mut out = Vec::new();
        let folder = self.folder.value(exchange);
        // The folder `/` is written without its slash.
        if folder.first() != Some(&b'/') && !folder.is_empty() {
            out.extend_from_slice(self.prefix.as_os_str().as_encoded_bytes());
            if out.last() != Some(&b'/') {
                out.push(b'/');
            }
        }
        out.extend_from_slice(&folder);
        out
    }

    /// The file a path stands for.
    ///
    /// Source: nginx `ngx_http_core_module.c`, `ngx_http_map_uri_to_path`.
    pub fn file(&self, exchange: &Exchange) -> Vec<u8> {
        let mut file = self.folder(exchange);
        file.extend_from_slice(match self.place {
            Place::Root => &exchange.path,
            Place::Alias(length) => exchange.path.get(length..).unwrap_or_default(),
            Place::Whole => b"",
        });
        file
    }

    /// The file a name of `try_files` stands for; `is_fixed` says that it has no variables.
    ///
    /// Source: nginx `ngx_http_try_files_module.c`, `ngx_http_try_files_handler`.
    pub fn tried(&self, exchange: &Exchange, name: &[u8], is_fixed: bool) -> (Vec<u8>, Vec<u8>) {
        let (mut rest, mut path) = (name, Vec::new());
        if let Place::Alias(length) = self.place
            && let Some(location) = exchange.path.get(..length)
        {
            if !is_fixed {
                rest = name.strip_prefix(location).unwrap_or(name);
            }
            path.extend_from_slice(location);
        }
        path.extend_from_slice(rest);
        let mut file = self.folder(exchange);
        file.extend_from_slice(rest);
        (file, path)
    }

    /// Whether the path says nothing about the file.
    pub fn is_whole(&self) -> bool {
        self.place == Place::Whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    fn settings(text: &str) -> Settings {
        let mut settings = Settings::default();
        settings.read(&directive(text)).unwrap();
        settings
    }

    #[track_caller]
    fn check(text: &str, location: &str, path: &str, expected: &str) {
        let mut settings = settings(text);
        settings.place(&Pattern::read(&directive(location)).unwrap()).unwrap();
        let root = settings.compile(&Names::default(), Path::new("/etc/nginx")).unwrap();
        let exchange = Exchange { path: path.as_bytes().to_vec(), ..Exchange::default() };
        assert_eq!(String::from_utf8(root.file(&exchange)).unwrap(), expected, "{text}");
    }

    #[test]
    fn a_root_keeps_the_path_and_an_alias_replaces_its_beginning() {
        check("root html/;", "location /i/ {}", "/i/a", "/etc/nginx/html/i/a");
        check("root /;", "location /i/ {}", "/i/a", "/i/a");
        check("alias /data/;", "location /i/ {}", "/i/a", "/data/a");
        check("alias /data/a;", "location ~ ^/i {}", "/i/a", "/data/a");
    }

    #[test]
    fn a_block_has_one_of_both() {
        let mut root = settings("root a;");
        let told = |it: Result<(), ConfError>| it.unwrap_err().reason;
        assert_eq!(told(root.read(&directive("root b;"))), "\"root\" directive is duplicate");
        assert_eq!(
            told(root.read(&directive("alias b;"))),
            "\"alias\" directive is duplicate, \"root\" directive was specified earlier"
        );
        assert_eq!(
            told(Settings::default().read(&directive("root $document_root/a;"))),
            "the $document_root variable cannot be used in the \"root\" directive"
        );
    }
}
