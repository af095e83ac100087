//! What went wrong in the course lab and in its class versions, each as a test that would see it
//! again. A test's comment begins with its number in the list of lessons; a number without a test
//! is a failure of its own.

mod data;
mod memory;
mod orders;
mod process;
mod reports;

use std::path::Path;

use serde_json::Value;

use crate::harness::{Data, Store};

/// How many lessons there are.
const LESSONS: usize = 35;

#[test]
fn every_lesson_has_a_test() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut texts = String::new();
    let mut folders = vec![
        workspace.join("store/tests"),
        workspace.join("store/src"),
        workspace.join("lab/tests"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                texts += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let missing: Vec<_> =
        (1..=LESSONS).filter(|it| !texts.contains(&format!("/// Lesson {it}: "))).collect();
    assert!(missing.is_empty(), "lessons without a test: {missing:?}");
}

/// A connection of the test's own to the Redis of `data`.
fn redis(data: &Data) -> redis::Connection {
    let (_, url) = data.settings().into_iter().find(|(name, _)| *name == "REDIS_URL").unwrap();
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

/// What Redis has for a stock level, `None` when there is no such key.
fn remembered(data: &Data, product: i64) -> Option<i64> {
    redis::cmd("HGET")
        .arg(format!("stock:{product}"))
        .arg("quantity")
        .query(&mut redis(data))
        .unwrap()
}

/// Asks in GraphQL; errors must be null.
#[track_caller]
fn ask(store: &Store, query: &str) -> Value {
    let body = serde_json::json!({ "query": query }).to_string();
    let answer: Value =
        serde_json::from_slice(&store.post("/stocks/graphql-query", &body).body).unwrap();
    assert_eq!(answer["errors"], Value::Null, "{answer}");
    answer["data"].clone()
}

/// The number in the answer to a request that makes something.
#[track_caller]
fn made(store: &Store, path: &str, body: &str) -> i64 {
    let answer = store.post(path, body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made: Value = serde_json::from_slice(&answer.body).unwrap();
    made.as_object().unwrap().values().next().unwrap().as_i64().unwrap()
}
