//! The page: everything of the view, complete without a script.

use askama::Template;

use super::view::{Group, Histogram, Server, View};

/// The page of a view.
#[derive(Debug, Template)]
#[template(path = "status.html")]
pub struct Page<'a> {
    /// What it shows.
    pub view: &'a View,
}

impl Page<'_> {
    /// Percent of the group's requests that were placed on the server, 0 before the first.
    fn share(group: &Group, server: &Server) -> u64 {
        (server.picks * 100 + group.picks / 2).checked_div(group.picks).unwrap_or_default()
    }

    /// Percent of the group's requests in progress that are the server's, 0 when there are none.
    fn load(group: &Group, server: &Server) -> u64 {
        (server.active * 100).checked_div(group.active).unwrap_or_default()
    }

    /// A quantile for people, `–` before the first answer.
    fn quantile(histogram: &Histogram, share: f64) -> String {
        match histogram.quantile_ms(share) {
            Some(millis) if millis < 10.0 => format!("{millis:.1} ms"),
            Some(millis) => format!("{millis:.0} ms"),
            None => "–".to_owned(),
        }
    }
}
