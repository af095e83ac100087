//! `otel_*`: which requests leave a span, in which trace, and what is said of them?
//!
//! Source: nginx-otel 0.1.2 `http_module.cpp`.

use std::sync::Arc;

use crate::conf::{ConfError, Directive, Effect, Row, Word};
use crate::engine::exchange::Exchange;
use crate::engine::h1::field::hash;
use crate::http::variable::{Template, compile};
use crate::http::{EVERYWHERE, put};
use crate::otel::Exporter;
use crate::otel::context::Context;
use crate::variable::Names;

pub mod exporter;
mod span;

pub use self::span::finish;

/// What one block sets; `None` asks the enclosing block.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    trace: Option<Word>,
    context: Option<Propagation>,
    span_name: Option<Word>,
    span_attributes: Vec<(Word, Word)>,
}

/// What becomes of the context a request brings.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Propagation {
    /// Whether the span is part of the one that the request names.
    extracts: bool,
    /// Whether the server is told of ours.
    injects: bool,
}

/// The words of `otel_trace_context`.
const PROPAGATIONS: &[(&str, Propagation)] = &[
    ("ignore", Propagation { extracts: false, injects: false }),
    ("extract", Propagation { extracts: true, injects: false }),
    ("inject", Propagation { extracts: false, injects: true }),
    ("propagate", Propagation { extracts: true, injects: true }),
];

/// Directives of `http`, `server` and `location`.
pub const ROWS: &[Row<Settings>] = &[
    one(
        "otel_trace",
        Effect::Set(|it, directive| put(&mut it.trace, Ok(directive.text().clone()))),
    ),
    one(
        "otel_trace_context",
        Effect::Set(|it, directive| put(&mut it.context, directive.choice(PROPAGATIONS))),
    ),
    one(
        "otel_span_name",
        Effect::Set(|it, directive| put(&mut it.span_name, Ok(directive.text().clone()))),
    ),
    Row {
        name: "otel_span_attr",
        within: EVERYWHERE,
        arguments: 2..=2,
        effect: Effect::Add(Settings::add),
    },
];

const fn one(name: &'static str, effect: Effect<Settings>) -> Row<Settings> {
    Row { name, within: EVERYWHERE, arguments: 1..=1, effect }
}

impl Settings {
    #[expect(clippy::unnecessary_wraps, reason = "the form of a setter")]
    fn add(&mut self, directive: &Directive) -> Result<(), ConfError> {
        self.span_attributes.push((directive.words[1].clone(), directive.words[2].clone()));
        Ok(())
    }

    /// Fills what this block leaves open.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        let is_open = self.span_attributes.is_empty();
        Self {
            trace: self.trace.or_else(|| outer.trace.clone()),
            context: self.context.or(outer.context),
            span_name: self.span_name.or_else(|| outer.span_name.clone()),
            span_attributes: match is_open {
                true => outer.span_attributes.clone(),
                false => self.span_attributes,
            },
        }
    }

    /// Whether spans are asked for, and there must be somebody to take them.
    pub fn needs_exporter(&self) -> bool {
        self.trace.is_some()
    }

    /// What a request needs; `None` where nothing is asked for, so that it pays one look.
    pub fn compile(
        &self,
        exporter: Option<&Arc<Exporter>>,
        names: &Names<Exchange>,
    ) -> Result<Option<Box<Tracing>>, ConfError> {
        let named = |it: &Word| compile(it, names);
        let attribute = |(name, value): &(Word, Word)| Ok((name.to_string(), named(value)?));
        let is_off = |it: &Template| it.as_text().is_some_and(|it| !is_on(it));
        let trace = self.trace.as_ref().map(named).transpose()?.filter(|it| !is_off(it));
        let attributes = self.span_attributes.iter().map(attribute);
        let tracing = Tracing {
            trace: trace.zip(exporter.cloned()),
            context: self.context.unwrap_or_default(),
            span_name: self.span_name.as_ref().map(named).transpose()?,
            span_attributes: attributes.collect::<Result<_, ConfError>>()?,
        };
        let is_idle = tracing.trace.is_none()
            && tracing.context == Propagation::default()
            && tracing.span_name.is_none()
            && tracing.span_attributes.is_empty();
        Ok((!is_idle).then(|| Box::new(tracing)))
    }
}

/// Whether a value of `otel_trace` asks for a span.
fn is_on(value: &[u8]) -> bool {
    matches!(value, b"on" | b"1")
}

/// How the requests of a location are traced.
#[derive(Debug)]
pub struct Tracing {
    /// Which of them leave a span, and with whom.
    trace: Option<(Template, Arc<Exporter>)>,
    context: Propagation,
    span_name: Option<Template>,
    span_attributes: Vec<(String, Template)>,
}

/// Where a request stands in its trace.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The span it is a part of, `None` for the first of its trace.
    pub parent: Option<Context>,
    /// Its own.
    pub current: Context,
    /// Who takes its span, `None` where it leaves none.
    exporter: Option<Arc<Exporter>>,
    /// `traceparent` in the place of the client's, `None` where that is passed on.
    injected: Option<String>,
}

const PARENT: &[u8] = b"traceparent";
const STATE: &[u8] = b"tracestate";

impl Trace {
    /// That of a request, begun when it is first asked for.
    pub fn of(exchange: &Exchange) -> &Self {
        exchange.trace.get_or_init(|| {
            let extracts = tracing(exchange).is_some_and(|it| it.context.extracts);
            let value = |name| {
                let field = exchange.field(hash(name), name);
                field.map(|it| exchange.text(it.value)).unwrap_or_default()
            };
            let parent = extracts.then(|| Context::parse(value(PARENT), value(STATE))).flatten();
            let current = parent.as_ref().map_or_else(Context::root, Context::child);
            Box::new(Self { parent, current, exporter: None, injected: None })
        })
    }

    /// The same for a request of ours that belongs to it: it leaves no span.
    #[must_use]
    pub fn within(&self) -> Box<Self> {
        Box::new(Self { exporter: None, ..self.clone() })
    }

    /// What the server is told in the place of the client's header line of that name: empty for
    /// no such line, `None` where the client's is passed on.
    pub fn injected(&self, name: &[u8]) -> Option<&[u8]> {
        let parent = self.injected.as_ref()?;
        if name.eq_ignore_ascii_case(PARENT) {
            return Some(parent.as_bytes());
        }
        name.eq_ignore_ascii_case(STATE).then_some(self.current.state.as_bytes())
    }

    /// The header lines that the server is told.
    pub fn lines(&self) -> impl Iterator<Item = (&'static [u8], &[u8])> {
        let lines = [PARENT, STATE].map(|it| self.injected(it).map(|value| (it, value)));
        lines.into_iter().flatten().filter(|(_, value)| !value.is_empty())
    }
}

fn tracing(exchange: &Exchange) -> Option<&Tracing> {
    exchange.location()?.tracing.as_deref()
}

impl Tracing {
    /// Decides on a request that has come from without and found its location.
    ///
    /// Source: nginx-otel `http_module.cpp`, `onRequestStart`.
    pub fn start(&self, exchange: &mut Exchange) {
        let sampled = self.trace.as_ref().filter(|(trace, _)| is_on(&trace.value(exchange)));
        let exporter = sampled.map(|(_, exporter)| Arc::clone(exporter));
        if exporter.is_none() && self.context == Propagation::default() {
            return;
        }
        Trace::of(exchange);
        let Some(trace) = exchange.trace.get_mut() else { return };
        trace.current.is_sampled = exporter.is_some();
        trace.exporter = exporter;
        if self.context.injects {
            trace.injected = Some(trace.current.parent());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::testing::directive;

    #[test]
    fn a_block_with_attributes_of_its_own_inherits_none() {
        let attribute = |name: &str| {
            let mut settings = Settings::default();
            settings.add(&directive(&format!("otel_span_attr {name} $status;"))).unwrap();
            settings
        };
        let names = |it: Settings| it.span_attributes.into_iter().map(|it| it.0.to_string());
        let outer = attribute("a");
        assert_eq!(names(Settings::default().within(&outer)).collect::<Vec<_>>(), ["a"]);
        assert_eq!(names(attribute("b").within(&outer)).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_location_that_asks_for_nothing_costs_nothing() {
        let compiled = |line: &str| {
            let mut settings = Settings::default();
            for row in ROWS.iter().filter(|it| line.starts_with(&format!("{} ", it.name))) {
                let (Effect::Set(set) | Effect::Add(set)) = row.effect else { panic!("{line}") };
                set(&mut settings, &directive(line)).unwrap();
            }
            settings.compile(None, &Names::default()).unwrap().is_some()
        };
        assert!(!compiled(""));
        assert!(!compiled("otel_trace off;"));
        assert!(!compiled("otel_trace_context ignore;"));
        assert!(compiled("otel_trace_context inject;"));
        assert!(compiled("otel_span_name a;"));
    }
}
