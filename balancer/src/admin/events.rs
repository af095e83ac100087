//! The page's changes, sent as they happen.
//!
//! Source: HTML, 9.2 "Server-sent events".

use std::sync::Arc;

use askama::Template;
use hyper::body::Bytes;

use super::body::Body;
use super::page::Live;
use super::watch::Watch;

/// Most who watch at a time; more would take the places of those who scrape.
const MOST: usize = 32;

/// A body that never ends by itself; `None` when too many watch.
pub(super) fn stream(watch: &Arc<Watch>) -> Option<Body> {
    if watch.listeners() >= MOST {
        return None;
    }
    let mut news = watch.listen();
    news.mark_changed();
    let watch = Arc::clone(watch);
    let (events, body) = Body::in_portions();
    tokio::spawn(async move {
        loop {
            let changed = tokio::select! {
                changed = news.changed() => changed.is_ok(),
                // Whoever has left is not sent anything that would tell.
                () = events.closed() => false,
            };
            if !changed {
                return;
            }
            let event = match (Live { view: &watch.view(), can_change: watch.can_change }).render()
            {
                Ok(html) => event(&html),
                Err(error) => {
                    tracing::error!(%error, "The page cannot be written: {error}");
                    return;
                }
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
    });
    Some(body)
}

/// A text of several lines as one event.
fn event(text: &str) -> Bytes {
    let mut event = String::with_capacity(text.len() * 9 / 8);
    for line in text.lines().filter(|it| !it.is_empty()) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_data_of_one_event() {
        assert_eq!(event("<p>\n\na</p>\n"), "data: <p>\ndata: a</p>\n\n");
    }
}
