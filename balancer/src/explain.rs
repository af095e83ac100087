//! What became of each directive of a configuration?
//!
//! One verdict for each directive, and for each parameter that has one of its own, in reading
//! order, beside every problem that was found. [`table`] shows them to people; [`json`],
//! [`sarif`] and [`github`] to programs; [`mod@reference`] lists what the program knows at all.

pub mod github;
pub mod json;
pub mod reference;
pub mod sarif;
pub mod table;

use std::collections::HashSet;

use crate::conf::{Block, ConfError, Directive, Judgement, Level, Span, Verdict};
use crate::snapshot::build::Examined;

/// Every verdict and every problem of one configuration.
#[derive(Debug)]
pub struct Explanation {
    /// The main file, as messages name it.
    pub file: String,
    /// In reading order; lines of `include` among them.
    pub findings: Vec<Finding>,
    /// In the order in which nginx would have found them.
    pub problems: Vec<ConfError>,
}

/// A directive or a parameter, and what became of it.
#[derive(Debug)]
pub struct Finding {
    /// The directive's name.
    pub directive: String,
    /// The parameter, when the verdict is that of one parameter.
    pub parameter: Option<String>,
    /// Where it stands.
    pub span: Span,
    /// The block it stands in; `None` for an `include`, which stands for what it reads.
    pub block: Option<Block>,
    /// What became of it.
    pub verdict: Verdict,
}

impl Explanation {
    /// Puts what was found in order.
    #[must_use]
    pub fn new(file: String, examined: &Examined) -> Self {
        let judged = examined.judgements.iter().map(Finding::of);
        let mut findings: Vec<_> =
            judged.chain(examined.includes.iter().map(Finding::of_include)).collect();
        findings.sort_by_key(|it| (it.span.order, it.span.start));
        Self { file, findings, problems: examined.problems.clone() }
    }

    /// Whether nothing refuses the configuration.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.problems.iter().all(|it| it.level != Level::Emerg)
    }

    /// How many findings have a verdict of this name.
    #[must_use]
    pub fn count(&self, verdict: &str) -> usize {
        self.findings.iter().filter(|it| name(&it.verdict) == verdict).count()
    }
}

impl Finding {
    fn of(judgement: &Judgement) -> Self {
        let (directive, parameter) = match judgement.subject.split_once(' ') {
            Some((directive, parameter)) => (directive, Some(parameter.to_owned())),
            None => (&*judgement.subject, None),
        };
        Self {
            directive: directive.to_owned(),
            parameter,
            span: judgement.span.clone(),
            block: Some(judgement.block),
            verdict: judgement.verdict.clone(),
        }
    }

    fn of_include(directive: &Directive) -> Self {
        Self {
            directive: directive.name().to_string(),
            parameter: None,
            span: directive.span.clone(),
            block: None,
            verdict: Verdict::Honoured,
        }
    }

    /// What was written, on one line: the whole directive, or its name and the parameter.
    #[must_use]
    pub fn written(&self) -> String {
        match &self.parameter {
            Some(parameter) => format!("{} {parameter}", self.directive),
            None => self.span.text().split_whitespace().collect::<Vec<_>>().join(" "),
        }
    }

    /// Why it is so, and the way out.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        match &self.verdict {
            Verdict::Honoured | Verdict::Extension => None,
            Verdict::WithoutEffect(reason) => Some((*reason).to_owned()),
            Verdict::Refused { reason, help: None } => Some(reason.clone()),
            Verdict::Refused { reason, help: Some(help) } => Some(format!("{reason}: {help}")),
        }
    }
}

/// One line for each directive that does nothing, told at its first place.
#[must_use]
pub fn without_effect(judgements: &[Judgement]) -> Vec<String> {
    let mut judged: Vec<_> = judgements.iter().collect();
    judged.sort_by_key(|it| (it.span.order, it.span.start));
    let mut told = HashSet::new();
    judged
        .into_iter()
        .filter_map(|it| match it.verdict {
            Verdict::WithoutEffect(reason) if told.insert(it.subject.as_str()) => {
                Some(format!("\"{}\" has no effect: {reason} in {}", it.subject, it.span))
            }
            _ => None,
        })
        .collect()
}

/// The names of the verdicts.
pub const VERDICTS: [&str; 4] = ["honoured", "without effect", "extension", "refused"];

/// The name of a verdict.
#[must_use]
pub const fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Honoured => VERDICTS[0],
        Verdict::WithoutEffect(_) => VERDICTS[1],
        Verdict::Extension => VERDICTS[2],
        Verdict::Refused { .. } => VERDICTS[3],
    }
}

/// The file a span points into, as messages name it.
#[must_use]
pub fn file(span: &Span) -> &str {
    span.source.name.as_deref().unwrap_or("command line")
}

#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;

    use super::*;
    use crate::snapshot::build::{Paths, examine};

    /// What is found in a text.
    pub(crate) fn examined(text: &str) -> Examined {
        let folder = tempfile::tempdir().expect("a folder");
        let conf = folder.path().join("nginx.conf");
        std::fs::write(&conf, text).expect("a file");
        examine(&Paths { prefix: folder.path().to_path_buf(), conf }, None, false)
    }

    /// The explanation of a text, read from a file called `nginx.conf`.
    pub(crate) fn explain(text: &str) -> Explanation {
        let mut explanation = Explanation::new("nginx.conf".into(), &examined(text));
        // The folder's name is another one each time.
        let rename = |span: &mut Span| {
            let bytes = span.source.bytes.clone();
            let name = span.source.name.as_deref().map(|it| {
                Path::new(it).file_name().expect("a file").to_string_lossy().into_owned()
            });
            span.source = std::sync::Arc::new(crate::conf::Source { name, bytes });
        };
        explanation.findings.iter_mut().for_each(|it| rename(&mut it.span));
        explanation.problems.iter_mut().filter_map(|it| it.span.as_mut()).for_each(rename);
        explanation
    }

    /// A text with one of each verdict.
    pub(crate) const EACH: &str = "events { use epoll; }\n\
        http {\n    upstream a {\n        server 127.0.0.1:1;\n        peak_ewma;\n    }\n\
        \x20   leastconn;\n    fastcgi_pass a:1, 100%;\n}\n";
}

#[cfg(test)]
mod tests {
    use super::testing::{EACH, examined, explain};

    #[test]
    fn what_does_nothing_is_told_once_at_its_first_place() {
        let text = "events { use epoll; }\nhttp {\n sendfile on;\n server { sendfile off; }\n}";
        let lines = super::without_effect(&examined(text).judgements);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("\"use\" has no effect: the runtime uses epoll in "));
        assert!(lines[1].ends_with("nginx.conf:3"), "{lines:?}");
    }

    #[test]
    fn each_directive_is_found_in_reading_order_with_one_verdict() {
        let explanation = explain(EACH);
        let found: Vec<_> = explanation
            .findings
            .iter()
            .map(|it| (it.written(), super::name(&it.verdict)))
            .collect();
        let expected = [
            ("events", "honoured"),
            ("use epoll", "without effect"),
            ("http", "honoured"),
            ("upstream a", "honoured"),
            ("server 127.0.0.1:1", "honoured"),
            ("peak_ewma", "extension"),
            ("leastconn", "refused"),
            ("fastcgi_pass a:1, 100%", "refused"),
        ];
        let expected = expected.map(|(written, verdict)| (written.to_owned(), verdict));
        assert_eq!(found, expected);
        assert!(!explanation.is_accepted());
        assert_eq!(explanation.count("refused"), 2);
    }
}
