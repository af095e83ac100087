//! A collector of traces that is not ours: gRPC's own server, OpenTelemetry's own messages.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::eventually;

/// One that tells what it is sent, until dropped.
#[derive(Debug)]
pub(crate) struct Collector {
    child: Child,
    /// Where it listens.
    pub(crate) port: u16,
    batches: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    /// Starts it with these words of its command line, and waits until it listens.
    #[track_caller]
    pub(crate) fn start(words: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = folder.join("../.venv/bin/python");
        assert!(python.exists(), "run script/bootstrap");
        let mut command = Command::new(python);
        command.arg(folder.join("tests/collector.py")).args(words);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().expect("run script/bootstrap").unwrap().parse().unwrap();
        let batches = Arc::<Mutex<Vec<_>>>::default();
        let kept = Arc::clone(&batches);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, port, batches }
    }

    /// The batches so far.
    pub(crate) fn batches(&self) -> Vec<Value> {
        self.batches.lock().unwrap().clone()
    }

    /// The spans so far.
    pub(crate) fn spans(&self) -> Vec<Value> {
        let spans = |it: &Value| it["spans"].as_array().unwrap().clone();
        self.batches().iter().flat_map(spans).collect()
    }

    /// The next spans once there are that many, and none any more.
    #[track_caller]
    pub(crate) fn take(&self, count: usize) -> Vec<Value> {
        eventually("the spans arrive", || count <= self.spans().len());
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:?}");
        self.batches.lock().unwrap().clear();
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of an attribute, `Null` where there is none.
pub(crate) fn attribute(span: &Value, name: &str) -> Value {
    let pairs = span["attributes"].as_array().unwrap();
    let found = pairs.iter().find(|it| it[0] == name);
    found.map_or(Value::Null, |it| it[1].clone())
}
