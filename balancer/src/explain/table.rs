//! How do verdicts look to a person? One line each, below the file it stands in.

use std::fmt::Write;

use super::{Explanation, Finding, VERDICTS, file, name};
use crate::conf::Verdict;

/// The widest column of directives; longer ones end in `…`.
const WIDEST: usize = 44;

/// The table, and below it how often each verdict was given.
#[must_use]
pub fn render(explanation: &Explanation, is_colored: bool) -> String {
    let mut text = String::new();
    let shown = |it: &Finding| shortened(&it.written());
    let width = explanation.findings.iter().map(|it| shown(it).chars().count()).max();
    let width = width.unwrap_or_default();
    let mut last = None;
    for finding in &explanation.findings {
        let here = file(&finding.span);
        if last.replace(here) != Some(here) {
            writeln!(text, "{here}").expect("a string takes every text");
        }
        let (line, _) = finding.span.position();
        let verdict = format!("{:<14}", name(&finding.verdict));
        let verdict = if is_colored { painted(&verdict, &finding.verdict) } else { verdict };
        let written = shown(finding);
        let remark = finding.remark().unwrap_or_default();
        let row = format!("{line:>6}  {verdict}  {written:<width$}  {remark}");
        writeln!(text, "{}", row.trim_end()).expect("a string takes every text");
    }
    let counts = VERDICTS.map(|it| format!("{} {it}", explanation.count(it)));
    writeln!(text, "{}", counts.join(", ")).expect("a string takes every text");
    text
}

fn shortened(written: &str) -> String {
    if written.chars().count() <= WIDEST {
        return written.to_owned();
    }
    written.chars().take(WIDEST - 1).chain(['…']).collect()
}

fn painted(text: &str, verdict: &Verdict) -> String {
    let color = match verdict {
        Verdict::Honoured => 32,
        Verdict::WithoutEffect(_) => 33,
        Verdict::Extension => 36,
        Verdict::Refused { .. } => 31,
    };
    format!("\x1b[{color}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::testing::{EACH, explain};

    #[test]
    fn a_row_has_line_verdict_directive_and_remark() {
        let table = render(&explain(EACH), false);
        let rows: Vec<_> = table.lines().collect();
        assert_eq!(rows[0], "nginx.conf");
        assert_eq!(rows[1], "     1  honoured        events");
        assert!(rows[2].starts_with("     1  without effect  use epoll               "), "{table}");
        let expected = "     7  refused         leastconn               \
                        unknown directive \"leastconn\": did you mean `least_conn`? \
                        `least_conn` belongs in `upstream` or `upstream` of `stream`";
        assert_eq!(rows[7], expected);
        let last = "4 honoured, 1 without effect, 1 extension, 2 refused";
        assert_eq!(rows.last(), Some(&last));
    }

    #[test]
    fn a_long_directive_is_cut_and_a_color_ends_with_its_word() {
        let long = "a".repeat(60);
        let table = render(&explain(&format!("events {{}}\n{long};\n")), true);
        let cut = format!("{}…  ", "a".repeat(WIDEST - 1));
        assert!(table.contains(&cut), "{table}");
        assert!(table.contains("\x1b[31mrefused       \x1b[0m"), "{table}");
    }
}
