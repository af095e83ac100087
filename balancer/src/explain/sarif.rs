//! How do code scanners take problems in? As SARIF 2.1.0.
//!
//! Refusals are errors and warnings are warnings; with verdicts, what is accepted without effect
//! and what is our own word are notes.
//!
//! Source: OASIS, Static Analysis Results Interchange Format 2.1.0, sections 3.13 to 3.30.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Explanation, file, name};
use crate::conf::{Level, Span, Verdict};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

const RULES: [(&str, &str); 4] = [
    ("refused", "The configuration is not accepted."),
    ("warning", "The configuration is accepted, and the operator is told."),
    ("without-effect", "The directive is checked and does nothing."),
    ("extension", "The directive is a word of balancer, which nginx does not know."),
];

/// One SARIF document, ended by a line feed.
#[must_use]
pub fn render(explanation: &Explanation, with_verdicts: bool) -> String {
    let mut results: Vec<Value> = explanation
        .problems
        .iter()
        .map(|it| {
            let (rule, level) = match it.level {
                Level::Emerg => ("refused", "error"),
                Level::Warn => ("warning", "warning"),
            };
            let help = it.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
            result(rule, level, &format!("{}{help}", it.reason), it.span.as_ref())
        })
        .collect();
    let findings = explanation.findings.iter().filter(|_| with_verdicts);
    results.extend(findings.filter_map(|it| {
        let rule = match it.verdict {
            Verdict::Honoured | Verdict::Refused { .. } => return None,
            Verdict::WithoutEffect(_) => "without-effect",
            Verdict::Extension => "extension",
        };
        let remark = it.remark().map(|it| format!(": {it}")).unwrap_or_default();
        let text = format!("\"{}\" {}{remark}", it.written(), name(&it.verdict));
        Some(result(rule, "note", &text, Some(&it.span)))
    }));
    let rules = RULES.map(|(id, text)| json!({ "id": id, "shortDescription": { "text": text } }));
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": env!("CARGO_PKG_NAME"),
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn result(rule: &str, level: &str, text: &str, span: Option<&Span>) -> Value {
    let index = RULES.iter().position(|(id, _)| *id == rule);
    let locations: Vec<_> = span.into_iter().map(location).collect();
    json!({
        "ruleId": rule,
        "ruleIndex": index,
        "level": level,
        "message": { "text": text },
        "locations": locations,
    })
}

fn location(span: &Span) -> Value {
    let (start_line, start_column) = span.position();
    let (end_line, end_column) = span.source.position(span.end);
    json!({ "physicalLocation": {
        "artifactLocation": { "uri": uri(file(span)) },
        "region": {
            "startLine": start_line,
            "startColumn": start_column,
            "endLine": end_line,
            "endColumn": end_column,
        },
    } })
}

/// A path as a relative reference or, from the root, as a `file` URI.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(byte.into());
            }
            _ => write!(uri, "%{byte:02X}").expect("a string takes every text"),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::testing::{EACH, explain};

    #[test]
    fn results_name_their_rule_level_and_region() {
        let document: Value = serde_json::from_str(&render(&explain(EACH), true)).unwrap();
        assert_eq!(document["version"], "2.1.0");
        let results = document["runs"][0]["results"].as_array().unwrap();
        let rules: Vec<_> = results.iter().map(|it| it["ruleId"].as_str().unwrap()).collect();
        assert_eq!(rules, ["refused", "refused", "without-effect", "extension"]);
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            let rule = &document["runs"][0]["tool"]["driver"]["rules"][index];
            assert_eq!(rule["id"], result["ruleId"]);
            assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        }
        let region = &results[0]["locations"][0]["physicalLocation"]["region"];
        let expected = json!({ "startLine": 7, "startColumn": 5, "endLine": 7, "endColumn": 14 });
        assert_eq!(*region, expected);
    }

    #[test]
    fn verdicts_are_notes_only_where_they_are_asked_for() {
        let document: Value = serde_json::from_str(&render(&explain(EACH), false)).unwrap();
        assert_eq!(document["runs"][0]["results"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("conf/a b%.conf"), "conf/a%20b%25.conf");
        assert_eq!(uri("/etc/nginx.conf"), "file:///etc/nginx.conf");
    }
}
