//! The thread that sends: full batches at once, the others when their time has come.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::client::Client;
use super::proto::{
    ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans, ScopeSpans,
    Span,
};
use super::{Fate, Queue, State};

/// How long a collector that was not reached is left alone; what is for it meanwhile is lost.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends what a queue takes until nobody adds to it any more.
pub(super) fn run(queue: &Arc<Queue>) {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(Sender::new(queue).run()),
        Err(error) => tracing::error!("Spans are not sent: no runtime: {error}"),
    }
}

/// A batch that is over: its spans, and how many were refused and why, or why it was lost.
type Sent = (usize, Result<(u64, String), String>);

struct Sender<'a> {
    queue: &'a Arc<Queue>,
    client: Option<Client>,
    under_way: JoinSet<Sent>,
    /// When the collector may be connected to again.
    not_before: Option<Instant>,
    /// What was told of the collector last; `None` while it takes spans.
    trouble: Option<String>,
}

impl<'a> Sender<'a> {
    fn new(queue: &'a Arc<Queue>) -> Self {
        Self { queue, client: None, under_way: JoinSet::new(), not_before: None, trouble: None }
    }

    async fn run(mut self) {
        let interval = self.queue.target.interval.max(Duration::from_millis(1));
        // What comes while this thread starts is no batch yet.
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_over = |it: MutexGuard<'_, State>| it.is_closed && it.waiting.is_empty();
        loop {
            let mut is_due = false;
            tokio::select! {
                _ = ticks.tick() => is_due = true,
                () = self.queue.ready.notified() => {}
                Some(sent) = self.under_way.join_next() => {
                    // A call that panicked would be a batch that is under way for ever.
                    let (spans, result) = sent.unwrap_or((0, Err("it panicked".to_owned())));
                    self.settle(spans, result);
                }
            }
            while let Some(batch) = self.queue.take(is_due) {
                self.send(batch).await;
            }
            if self.under_way.is_empty() && is_over(self.queue.lock()) {
                return;
            }
        }
    }

    /// Has a batch on its way.
    async fn send(&mut self, batch: Vec<Span>) {
        let spans = batch.len();
        match self.connected().await {
            Ok(client) => {
                let queue = Arc::clone(self.queue);
                let message = message(&queue, batch);
                self.under_way
                    .spawn(async move { (spans, client.export(&queue.target, &message).await) });
            }
            Err(text) => self.settle(spans, Err(text)),
        }
    }

    /// The connection, a new one where there is none any more.
    async fn connected(&mut self) -> Result<Client, String> {
        if let Some(client) = self.client.take()
            && let Ok(client) = client.ready().await
        {
            return Ok(self.client.insert(client).clone());
        }
        if self.not_before.is_some_and(|it| Instant::now() < it) {
            return Err(self.trouble.clone().unwrap_or_default());
        }
        match Client::connect(&self.queue.target).await {
            Ok(client) => Ok(self.client.insert(client).clone()),
            Err(text) => {
                self.not_before = Some(Instant::now() + PAUSE);
                Err(text)
            }
        }
    }

    /// Counts a batch that is over, and tells of a change.
    fn settle(&mut self, spans: usize, result: Result<(u64, String), String>) {
        let count = spans as u64;
        let trouble = match result {
            Ok((rejected, reason)) => {
                let rejected = rejected.min(count);
                Fate::Rejected.count(rejected);
                Fate::Exported.count(count - rejected);
                (rejected > 0).then_some(reason)
            }
            Err(text) => {
                Fate::Failed.count(count);
                Some(text)
            }
        };
        if self.trouble != trouble {
            match &trouble {
                // nginx-otel's words.
                Some(text) => tracing::error!("OTel export failure: {text}"),
                None => tracing::info!("OTel export goes on"),
            }
            self.trouble = trouble;
        }
        self.queue.settle(spans);
    }
}

/// A batch as the collector is sent it.
fn message(queue: &Queue, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let attributes = queue.target.resource.iter().map(|(key, value)| KeyValue::text(key, value));
    let scope = InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: attributes.collect() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
        }],
    }
}
