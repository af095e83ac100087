//! How is a problem of the configuration told?
//!
//! First in nginx's one line, because editors and pipelines match it; then, for people, with the
//! source line, a mark under the word and the way out.

use std::fmt;
use std::io;
use std::ops::Range;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};

use super::source::Span;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug)]
pub struct ConfError {
    /// nginx's text, without file and line.
    pub reason: String,
    /// The word it is about; `None` when the problem is not tied to a line.
    pub span: Option<Span>,
    /// The way out, a sentence or a question.
    pub help: Option<String>,
    /// Whether the configuration is refused.
    pub level: Level,
    /// Where in reading order nginx would have noticed it.
    order: u32,
}

/// How bad a problem is, in nginx's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// The configuration is refused.
    Emerg,
    /// The configuration is used, the operator is told.
    Warn,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emerg => "emerg",
            Self::Warn => "warn",
        })
    }
}

impl ConfError {
    /// A refusal at a word or directive.
    pub fn new(reason: impl Into<String>, span: Span) -> Self {
        let order = span.order;
        Self { reason: reason.into(), span: Some(span), help: None, level: Level::Emerg, order }
    }

    /// A refusal that no line is to blame for; it comes after all those that name one.
    pub fn unplaced(reason: impl Into<String>) -> Self {
        Self::after_reading(reason.into(), 0)
    }

    /// A refusal of the whole, found when every block has been judged.
    pub fn of_the_whole(reason: impl Into<String>) -> Self {
        Self::after_reading(reason.into(), 1)
    }

    /// A refusal of what is opened, made or counted when the whole has been judged.
    pub fn of_the_world(reason: impl Into<String>) -> Self {
        Self::after_reading(reason.into(), 2)
    }

    /// The later the step, the later in the order.
    fn after_reading(reason: String, step: u32) -> Self {
        let order = u32::MAX - 2 + step;
        Self { reason, span: None, help: None, level: Level::Emerg, order }
    }

    /// Adds the way out.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Turns a refusal into a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.level = Level::Warn;
        self
    }

    /// Moves the problem, in reading order, to the place where nginx notices it, for instance the
    /// closing brace of the block.
    #[must_use]
    pub fn noticed_at(mut self, place: &Span) -> Self {
        self.order = place.order;
        self
    }

    /// As nginx prints it on the console.
    #[must_use]
    pub fn line(&self) -> String {
        format!("nginx: [{}] {self}", self.level)
    }

    /// Reading order first, then the place in the line; those without a line last.
    fn key(&self) -> (u32, u32) {
        (self.order, self.span.as_ref().map_or(u32::MAX, |it| it.start))
    }
}

/// As nginx logs it: the text, then ` in FILE:LINE` or ` in command line`.
impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.span {
            Some(span) => write!(f, "{} in {span}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for ConfError {}

/// The text of an operating system error as nginx adds it: `(2: No such file or directory)`.
#[must_use]
pub fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(code) => {
            let bare = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
            format!("({code}: {bare})")
        }
        None => format!("({text})"),
    }
}

/// Puts problems in the order in which nginx would have found them: the first is the one it prints.
pub fn sort(problems: &mut [ConfError]) {
    problems.sort_by_key(ConfError::key);
}

/// Whether, and how, source lines are shown below nginx's lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Marks {
    /// nginx's lines only.
    Absent,
    /// Without color.
    Plain,
    /// With terminal colors.
    Colored,
}

/// All problems as text: one line each, then the marked source lines.
#[must_use]
pub fn render(problems: &[ConfError], marks: Marks) -> String {
    let mut text: String = problems.iter().map(|it| it.line() + "\n").collect();
    let theme = match marks {
        Marks::Absent => return text,
        Marks::Plain => GraphicalTheme::unicode_nocolor(),
        Marks::Colored => GraphicalTheme::unicode(),
    };
    let handler =
        GraphicalReportHandler::new_themed(theme).with_width(WIDTH).without_syntax_highlighting();
    for problem in problems {
        handler.render_report(&mut text, &Marked::new(problem)).expect("a string takes every text");
    }
    text
}

/// Columns of a report; long help texts wrap there.
const WIDTH: usize = 100;

/// A problem beside the text it points into.
#[derive(Debug)]
struct Marked<'a> {
    problem: &'a ConfError,
    text: Option<(NamedSource<String>, Range<usize>)>,
}

impl<'a> Marked<'a> {
    fn new(problem: &'a ConfError) -> Self {
        let text = problem.span.as_ref().map(|span| {
            let name = span.source.name.as_deref().unwrap_or("command line");
            let text = same_length(&span.source.bytes);
            let end = span.range().end.min(text.len());
            (NamedSource::new(name, text), span.range().start.min(end)..end)
        });
        Self { problem, text }
    }
}

/// The bytes as text of the same length, so that offsets stay right: a malformed byte becomes `?`.
fn same_length(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

impl fmt::Display for Marked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.reason)
    }
}

impl std::error::Error for Marked<'_> {}

impl Diagnostic for Marked<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.level {
            Level::Emerg => miette::Severity::Error,
            Level::Warn => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|it| Box::new(it) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.text.as_ref().map(|(text, _)| text as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (_, range) = self.text.as_ref()?;
        let label = LabeledSpan::new_primary_with_span(None, range.clone());
        Some(Box::new(std::iter::once(label)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::conf::source::Source;

    fn span(text: &str, start: u32, end: u32, line: u32) -> Span {
        let name = Some("nginx.conf".to_owned());
        let source = Arc::new(Source { name, bytes: text.as_bytes().to_vec() });
        Span { source, start, end, line, order: line }
    }

    #[test]
    fn the_mark_stands_under_the_word() {
        let text = "upstream store {\n    leastconn;\n    server store:5000;\n}\n";
        let problem = ConfError::new("unknown directive \"leastconn\"", span(text, 21, 30, 2))
            .with_help("did you mean `least_conn`?");
        let expected = "\
nginx: [emerg] unknown directive \"leastconn\" in nginx.conf:2
  × unknown directive \"leastconn\"
   ╭─[nginx.conf:2:5]
 1 │ upstream store {
 2 │     leastconn;
   ·     ─────────
 3 │     server store:5000;
   ╰────
  help: did you mean `least_conn`?
";
        assert_eq!(render(std::slice::from_ref(&problem), Marks::Plain), expected);
        let lines = render(&[problem], Marks::Absent);
        assert_eq!(lines, expected.lines().next().unwrap().to_owned() + "\n");
    }

    #[test]
    fn malformed_bytes_and_the_end_of_a_file_can_be_marked() {
        let name = Some("nginx.conf".to_owned());
        let source = Arc::new(Source { name, bytes: b"a \xff\xfe\xe2\x82;\nb".to_vec() });
        for (start, end) in [(2, 6), (7, 9), (9, 9), (20, 30)] {
            let span = Span { source: Arc::clone(&source), start, end, line: 1, order: 1 };
            let text = render(&[ConfError::new("bad", span)], Marks::Plain);
            assert!(text.contains("nginx.conf:"), "{text}");
        }
    }

    #[test]
    fn a_problem_comes_where_nginx_notices_it() {
        let at = |order| Span { order, ..span("", 0, 0, order) };
        let mut problems = [
            ConfError::of_the_world("open() \"a.log\" failed"),
            ConfError::of_the_whole("no \"events\" section in configuration"),
            ConfError::unplaced("unknown \"a\" variable"),
            ConfError::new("duplicate location \"/\"", at(2)).noticed_at(&at(9)),
            ConfError::new("unknown directive \"b\"", at(5)),
        ];
        sort(&mut problems);
        let reasons = problems.map(|it| it.to_string());
        let expected = [
            "unknown directive \"b\" in nginx.conf:5",
            "duplicate location \"/\" in nginx.conf:2",
            "unknown \"a\" variable",
            "no \"events\" section in configuration",
            "open() \"a.log\" failed",
        ];
        assert_eq!(reasons, expected);
    }

    #[test]
    fn system_errors_are_told_as_nginx_tells_them() {
        let text = os_text(&io::Error::from_raw_os_error(2));
        assert_eq!(text, "(2: No such file or directory)");
    }
}
