//! What do the words beyond nginx's options ask for?
//!
//! `test` explains a configuration, `directives` lists what the program knows, `top` shows what it
//! does, `healthcheck` whether it serves. Under the name `nginx` there are none, so that a script that meets them by mistake is told
//! as nginx tells it.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::args::{Args, is_called_nginx};
use crate::conf::error::{Marks, render};
use crate::explain::{Explanation, github, json, reference, sarif, table};
use crate::modules;
use crate::process::command::{CONF, PREFIX, try_out};
use crate::process::complain;
use crate::snapshot::build::{Paths, examine};

mod ask;
mod healthcheck;
mod top;

/// What a sub-command is asked for besides nginx's options.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Asked {
    explain: bool,
    color: bool,
    format: Format,
    /// nginx's options.
    rest: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Format {
    #[default]
    Text,
    Json,
    Sarif,
    Github,
    Markdown,
}

impl Format {
    const ALL: [(&str, Self); 5] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("sarif", Self::Sarif),
        ("github", Self::Github),
        ("markdown", Self::Markdown),
    ];
}

/// Does what a sub-command asks for; `None` when the words, program name first, hold none.
pub fn run(words: &[String]) -> Option<ExitCode> {
    let [program, name, words @ ..] = words else { return None };
    if is_called_nginx(program) {
        return None;
    }
    let done = match name.as_str() {
        "test" => Asked::parse(words).and_then(|it| test(&it)),
        "directives" => Asked::parse(words).and_then(|it| directives(&it)),
        "healthcheck" => healthcheck::run(words),
        "top" => top::run(words, is_plain()),
        _ => return None,
    };
    Some(done.unwrap_or_else(|text| {
        complain(&format!("nginx: {text}"));
        ExitCode::FAILURE
    }))
}

impl Asked {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut asked = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.split_once('=').map_or((&**word, None), |(it, value)| (it, Some(value))) {
                ("--explain", None) => asked.explain = true,
                ("--color", None) => asked.color = true,
                ("--format", value) => {
                    let value = value.or_else(|| words.next().map(String::as_str));
                    let value = value.ok_or("option \"--format\" requires parameter")?;
                    let known = Format::ALL.iter().find(|(name, _)| *name == value);
                    let format = known.ok_or(format!("invalid option: \"--format {value}\""))?;
                    asked.format = format.1;
                }
                _ => asked.rest.push(word.clone()),
            }
        }
        Ok(asked)
    }

    /// How problems are shown: with marks on a terminal and where colors are asked for.
    fn marks(&self) -> Marks {
        match (self.color || io::stderr().is_terminal(), is_plain()) {
            (false, _) => Marks::Absent,
            (true, true) => Marks::Plain,
            (true, false) => Marks::Colored,
        }
    }
}

/// Whether colors are unwelcome.
///
/// Source: no-color.org: any value but the empty one.
fn is_plain() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty())
}

/// `test`: as `-t`, in more forms.
fn test(asked: &Asked) -> Result<ExitCode, String> {
    let args = Args::parse(asked.rest.iter().cloned())?;
    if args.help {
        complain(TEST_USAGE);
        return Ok(ExitCode::SUCCESS);
    }
    let prefix = args.prefix.clone().unwrap_or_else(|| PREFIX.into());
    let conf = prefix.join(args.conf.as_deref().unwrap_or(Path::new(CONF)));
    let paths = Paths { prefix, conf };
    let file = paths.conf.display().to_string();
    let globals = args.globals.as_deref();
    let examined = examine(&paths, globals, args.strict);
    let mut explanation = Explanation::new(file.clone(), &examined);
    let is_readable = explanation.is_accepted();
    if let Ok(configuration) = examined.configuration(&paths, args.strict) {
        explanation.problems.extend(try_out(&configuration));
    }
    let is_accepted = explanation.is_accepted();
    match asked.format {
        Format::Text => {
            let problems = render(&explanation.problems, asked.marks());
            if !problems.is_empty() {
                complain(problems.trim_end());
            }
            if asked.explain {
                let color = (asked.color || io::stdout().is_terminal()) && !is_plain();
                write(&table::render(&explanation, color))?;
            }
            if is_readable && !args.quiet {
                complain(&format!("nginx: the configuration file {file} syntax is ok"));
            }
            if !is_accepted {
                complain(&format!("nginx: configuration file {file} test failed"));
            } else if !args.quiet {
                complain(&format!("nginx: configuration file {file} test is successful"));
            }
        }
        Format::Json => write(&json::render(&explanation))?,
        Format::Sarif => write(&sarif::render(&explanation, asked.explain))?,
        Format::Github => write(&github::render(&explanation, asked.explain))?,
        Format::Markdown => return Err("invalid option: \"--format markdown\"".to_owned()),
    }
    Ok(if is_accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `directives`: every directive that is known.
fn directives(asked: &Asked) -> Result<ExitCode, String> {
    let catalog = modules::catalog();
    match asked.format {
        Format::Text if asked.rest.is_empty() => write(&reference::text(&catalog))?,
        Format::Markdown if asked.rest.is_empty() => write(&reference::markdown(&catalog))?,
        _ => complain(DIRECTIVES_USAGE),
    }
    Ok(ExitCode::SUCCESS)
}

fn write(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|it| format!("[emerg] cannot write to standard output: {it}"))
}

const TEST_USAGE: &str = "Usage: balancer test [-q] [-c filename] [-p prefix] [-g directives]
             [--strict] [--explain] [--format text|json|sarif|github] [--color]

  --explain     : show what becomes of each directive
  --format form : for people (text), programs (json), code scanners (sarif) or GitHub (github)
  --color       : mark problems in their lines, although standard error is no terminal
  other options : as in `balancer -h`
";

const DIRECTIVES_USAGE: &str = "Usage: balancer directives [--format text|markdown]";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Asked, String> {
        Asked::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_not_ours_is_left_for_nginx_s_options() {
        let asked = parse("-c a.conf --explain --format=json --strict --color").unwrap();
        assert!(asked.explain && asked.color);
        assert_eq!(asked.format, Format::Json);
        assert_eq!(asked.rest, ["-c", "a.conf", "--strict"]);
        assert_eq!(parse("--format sarif").unwrap().format, Format::Sarif);
    }

    #[test]
    fn an_unknown_form_is_told_in_nginx_s_words() {
        assert_eq!(parse("--format xml").unwrap_err(), "invalid option: \"--format xml\"");
        assert_eq!(parse("--format").unwrap_err(), "option \"--format\" requires parameter");
    }

    #[test]
    fn there_are_none_under_the_name_nginx() {
        let words = |program: &str, name: &str| [program, name].map(str::to_owned);
        assert!(run(&words("/usr/sbin/nginx", "directives")).is_none());
        assert!(run(&words("balancer", "-t")).is_none());
        assert!(run(&words("balancer", "nope")).is_none());
    }
}
