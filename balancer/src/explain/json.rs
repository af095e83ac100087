//! How do verdicts look to a program?

use serde::Serialize;

use super::{Explanation, Finding, file, name};
use crate::NGINX_VERSION;
use crate::conf::{ConfError, Span, Verdict};

/// The form below; raised when a reader of the old form would be misled.
const FORM: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    form: u32,
    nginx_version: &'static str,
    balancer_version: &'static str,
    file: &'a str,
    accepted: bool,
    counts: Counts,
    directives: Vec<Row<'a>>,
    problems: Vec<Problem<'a>>,
}

#[derive(Serialize)]
struct Counts {
    honoured: usize,
    without_effect: usize,
    extension: usize,
    refused: usize,
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    block: Option<String>,
    directive: &'a str,
    parameter: Option<&'a str>,
    written: String,
    verdict: &'static str,
    reason: Option<&'a str>,
    help: Option<&'a str>,
}

/// Columns count characters from 1; `nginx_line` is the line nginx names.
#[derive(Serialize)]
struct Place<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    nginx_line: u32,
}

#[derive(Serialize)]
struct Problem<'a> {
    level: String,
    message: &'a str,
    nginx: String,
    #[serde(flatten)]
    place: Option<Place<'a>>,
    help: Option<&'a str>,
}

/// One JSON document, ended by a line feed.
#[must_use]
pub fn render(explanation: &Explanation) -> String {
    let document = Document {
        form: FORM,
        nginx_version: NGINX_VERSION,
        balancer_version: env!("CARGO_PKG_VERSION"),
        file: &explanation.file,
        accepted: explanation.is_accepted(),
        counts: Counts {
            honoured: explanation.count("honoured"),
            without_effect: explanation.count("without effect"),
            extension: explanation.count("extension"),
            refused: explanation.count("refused"),
        },
        directives: explanation.findings.iter().map(row).collect(),
        problems: explanation.problems.iter().map(problem).collect(),
    };
    let text = serde_json::to_string_pretty(&document);
    text.expect("no key is anything but text") + "\n"
}

fn row(finding: &Finding) -> Row<'_> {
    let (reason, help) = match &finding.verdict {
        Verdict::Honoured | Verdict::Extension => (None, None),
        Verdict::WithoutEffect(reason) => (Some(*reason), None),
        Verdict::Refused { reason, help } => (Some(reason.as_str()), help.as_deref()),
    };
    Row {
        place: place(&finding.span),
        block: finding.block.map(|it| it.to_string().replace('`', "")),
        directive: &finding.directive,
        parameter: finding.parameter.as_deref(),
        written: finding.written(),
        verdict: name(&finding.verdict),
        reason,
        help,
    }
}

fn place(span: &Span) -> Place<'_> {
    let (line, column) = span.position();
    Place { file: file(span), line, column, nginx_line: span.line }
}

fn problem(problem: &ConfError) -> Problem<'_> {
    Problem {
        level: problem.level.to_string(),
        message: &problem.reason,
        nginx: problem.line(),
        place: problem.span.as_ref().map(place),
        help: problem.help.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::explain::testing::{EACH, explain};

    #[test]
    fn a_document_holds_verdicts_and_problems_with_their_places() {
        let document: Value = serde_json::from_str(&render(&explain(EACH))).unwrap();
        assert_eq!(document["accepted"], false);
        assert_eq!(document["counts"]["refused"], 2);
        let row = &document["directives"][6];
        assert_eq!(row["directive"], "leastconn");
        assert_eq!(row["block"], "http");
        assert_eq!((&row["line"], &row["column"]), (&7.into(), &5.into()));
        assert_eq!(row["reason"], "unknown directive \"leastconn\"");
        let problem = &document["problems"][0];
        let line = "nginx: [emerg] unknown directive \"leastconn\" in nginx.conf:7";
        assert_eq!(problem["nginx"], line);
        assert_eq!(problem["level"], "emerg");
    }

    #[test]
    fn a_problem_of_no_line_has_no_place() {
        let mut explanation = explain("events {}");
        explanation.problems.push(ConfError::unplaced("unknown \"a\" variable"));
        let document: Value = serde_json::from_str(&render(&explanation)).unwrap();
        let problem = &document["problems"][0];
        assert_eq!(problem["message"], "unknown \"a\" variable");
        assert_eq!(problem.get("line"), None);
    }
}
