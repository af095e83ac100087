//! How do problems appear beside the lines of a pull request? As GitHub's workflow commands.
//!
//! Source: GitHub, Workflow commands for GitHub Actions; `actions/toolkit`,
//! `packages/core/src/command.ts`.

use super::{Explanation, file, name};
use crate::conf::{Level, Span, Verdict};

/// One command a line: errors, warnings and, with verdicts, notices.
#[must_use]
pub fn render(explanation: &Explanation, with_verdicts: bool) -> String {
    let mut text = String::new();
    for problem in &explanation.problems {
        let kind = match problem.level {
            Level::Emerg => "error",
            Level::Warn => "warning",
        };
        let help = problem.help.as_ref().map(|it| format!("\n{it}")).unwrap_or_default();
        let message = format!("{}{help}", problem.reason);
        text.push_str(&command(kind, "nginx.conf", &message, problem.span.as_ref()));
    }
    for finding in explanation.findings.iter().filter(|_| with_verdicts) {
        if let Verdict::WithoutEffect(_) | Verdict::Extension = finding.verdict {
            let remark = finding.remark().map(|it| format!(": {it}")).unwrap_or_default();
            let message = format!("{}{remark}", finding.written());
            text.push_str(&command(
                "notice",
                name(&finding.verdict),
                &message,
                Some(&finding.span),
            ));
        }
    }
    text
}

fn command(kind: &str, title: &str, message: &str, span: Option<&Span>) -> String {
    let place = span.map(|span| {
        let (line, column) = span.position();
        let (end_line, end_column) = span.source.position(span.end);
        // Columns of more than one line are not shown.
        let columns = if line == end_line {
            format!(",col={column},endColumn={end_column}")
        } else {
            String::new()
        };
        format!("file={},line={line},endLine={end_line}{columns},", property(file(span)))
    });
    let place = place.unwrap_or_default();
    format!("::{kind} {place}title={}::{}\n", property(title), data(message))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::testing::{EACH, explain};

    /// What the runner understands of a command: kind, properties, message.
    ///
    /// Source: GitHub `actions/runner`, `src/Runner.Common/ActionCommand.cs`, `TryParseV2`.
    fn parse(line: &str) -> (String, Vec<(String, String)>, String) {
        let unescape = |it: &str| {
            let it = it.replace("%0D", "\r").replace("%0A", "\n");
            it.replace("%3A", ":").replace("%2C", ",").replace("%25", "%")
        };
        let (head, message) = line.strip_prefix("::").unwrap().split_once("::").unwrap();
        let (kind, properties) = head.split_once(' ').unwrap();
        let properties = properties.split(',').map(|it| it.split_once('=').unwrap());
        let properties = properties.map(|(name, value)| (name.to_owned(), unescape(value)));
        (kind.to_owned(), properties.collect(), unescape(message))
    }

    #[test]
    fn the_runner_reads_back_what_was_meant() {
        let text = render(&explain(EACH), true);
        let commands: Vec<_> = text.lines().map(parse).collect();
        let kinds: Vec<_> = commands.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(kinds, ["error", "error", "notice", "notice"]);
        let (_, properties, message) = &commands[1];
        let value = |name: &str| &properties.iter().find(|it| it.0 == name).unwrap().1;
        assert_eq!((value("file").as_str(), value("line").as_str()), ("nginx.conf", "8"));
        assert_eq!((value("col").as_str(), value("endColumn").as_str()), ("5", "17"));
        assert!(message.starts_with("unknown directive \"fastcgi_pass\"\nmodule fastcgi"));
    }

    #[test]
    fn signs_of_the_command_are_hidden_in_values() {
        assert_eq!(property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
        assert_eq!(data("a:b,c%\r\n"), "a:b,c%25%0D%0A");
    }
}
