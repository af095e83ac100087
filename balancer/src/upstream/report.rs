//! What does a server say of its own load, in the words of ORCA?
//!
//! Source: Envoy `orca_parser.cc`, the `endpoint-load-metrics` header.

use std::time::Duration;

use policy::Report;

/// The line of an answer that carries it, in lower case.
pub const NAME: &[u8] = b"endpoint-load-metrics";

/// The measures that somebody uses; `None` where the server does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    requests: Option<f64>,
    errors: Option<f64>,
    cpu: Option<f64>,
    application: Option<f64>,
    in_flight: Option<f64>,
    latency_ms: Option<f64>,
}

impl Load {
    /// Reads `TEXT name=number, …` or `JSON {…}`; what is not understood says nothing.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (format, text) = str::from_utf8(value).ok()?.split_once(' ')?;
        let mut load = Self::default();
        match format {
            "TEXT" => {
                for (name, number) in text.split(',').filter_map(|it| it.split_once('=')) {
                    load.enter(name.trim(), number.trim().parse().ok()?);
                }
            }
            "JSON" => {
                let document: serde_json::Value = serde_json::from_str(text).ok()?;
                for (name, value) in document.as_object()? {
                    match (value.as_f64(), value.as_object()) {
                        (Some(number), _) => load.enter(name, number),
                        (_, Some(named)) if name == "named_metrics" => {
                            let numbers =
                                named.iter().filter_map(|(it, n)| Some((it, n.as_f64()?)));
                            numbers
                                .for_each(|(it, n)| load.enter(&format!("named_metrics.{it}"), n));
                        }
                        _ => {}
                    }
                }
            }
            _ => return None,
        }
        Some(load)
    }

    fn enter(&mut self, name: &str, number: f64) {
        let place = match name {
            "rps_fractional" | "rps" => &mut self.requests,
            "eps" => &mut self.errors,
            "cpu_utilization" => &mut self.cpu,
            "application_utilization" => &mut self.application,
            "named_metrics.in_flight" => &mut self.in_flight,
            "named_metrics.latency_ms" => &mut self.latency_ms,
            _ => return,
        };
        *place = Some(number).filter(|it| it.is_finite() && 0.0 <= *it);
    }

    /// What weights are reckoned from; the application's own measure comes first.
    pub fn report(&self) -> Report {
        let utilization = self.application.filter(|it| 0.0 < *it).or(self.cpu);
        Report {
            requests: self.requests.unwrap_or_default(),
            errors: self.errors.unwrap_or_default(),
            utilization: utilization.unwrap_or_default(),
        }
    }

    /// Requests in progress and how long they take, as far as the server says.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast to u32 ends at its range"
    )]
    pub fn probed(&self) -> (Option<u32>, Option<Duration>) {
        let latency = self.latency_ms.and_then(|it| Duration::try_from_secs_f64(it / 1e3).ok());
        (self.in_flight.map(|it| it as u32), latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let text =
            b"TEXT cpu_utilization=0.3, rps_fractional=10.5,eps=1, named_metrics.in_flight=4,\
                     named_metrics.latency_ms=2.5, mem_utilization=0.8";
        let json = br#"JSON {"cpu_utilization": 0.3, "rps_fractional": 10.5, "eps": 1,
            "named_metrics": {"in_flight": 4, "latency_ms": 2.5}, "other": "word"}"#;
        let load = Load::parse(text).unwrap();
        assert_eq!(Load::parse(json), Some(load));
        assert_eq!(load.report(), Report { requests: 10.5, errors: 1.0, utilization: 0.3 });
        assert_eq!(load.probed(), (Some(4), Some(Duration::from_micros(2500))));
    }

    #[test]
    fn the_application_knows_better_than_its_processor() {
        let load = Load::parse(b"TEXT cpu_utilization=0.3, application_utilization=0.6").unwrap();
        assert!((load.report().utilization - 0.6).abs() < 1e-9);
    }

    #[test]
    fn what_makes_no_sense_says_nothing() {
        assert_eq!(Load::parse(b"BIN AAAA"), None);
        assert_eq!(Load::parse(b"TEXT rps=much"), None);
        assert_eq!(Load::parse(b"JSON [1]"), None);
        assert_eq!(Load::parse(b"TEXT rps=-1"), Some(Load::default()));
        assert_eq!(Load::parse(b"TEXT rps=inf"), Some(Load::default()));
    }
}
