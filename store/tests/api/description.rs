//! Does the API do what its descriptions say?

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use store::api_error::ApiError;
use store::cache::walk::WalkFailure;
use store::db::DbError;

use crate::harness::{Data, Store};

const COLLECTION: &str = include_str!("../../../configs/store_manager.postman_collection.json");

#[test]
fn the_document_is_openapi_3_1_and_the_page_needs_nothing_else() {
    let store = Store::start(&Data::embedded(), &[("STORE_MAX_ITEMS", "7")]);
    let document: Value = serde_json::from_str(&store.shown("/openapi.json")).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let order = &document["components"]["schemas"]["NewOrder"];
    assert_eq!(order["properties"]["items"]["maxItems"], 7, "a limit of this instance: {order}");
    let page = store.get("/docs");
    assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    let text = page.text();
    for (path, _) in document["paths"].as_object().unwrap() {
        assert!(text.contains(&format!("<code>{path}</code>")), "{path}");
    }
    for foreign in ["<script", "https://", "src=", "@import", "url("] {
        assert!(!text.contains(foreign), "{foreign}");
    }
}

#[test]
fn the_collection_asks_for_every_line_and_gets_what_the_document_promises() {
    let store = Store::start(&Data::embedded(), &[]);
    let document: Value = serde_json::from_str(&store.shown("/openapi.json")).unwrap();
    let collection: Value = serde_json::from_str(COLLECTION).unwrap();
    let mut variables = HashMap::from([("$guid".to_owned(), "0b5c".to_owned())]);
    for variable in collection["variable"].as_array().unwrap() {
        let text = |name: &str| variable[name].as_str().unwrap().to_owned();
        variables.insert(text("key"), text("value"));
    }
    variables.insert("baseURL".to_owned(), String::new());
    let filled = |text: &str, variables: &HashMap<String, String>| {
        variables.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        })
    };
    let mut asked = BTreeSet::new();
    for item in collection["item"].as_array().unwrap() {
        let (name, request) = (item["name"].as_str().unwrap(), &item["request"]);
        let method = request["method"].as_str().unwrap();
        let path = filled(request["url"].as_str().unwrap(), &variables);
        let body = request["body"]["raw"].as_str().unwrap_or_default();
        let headers = request["header"].as_array().unwrap().iter().map(|it| {
            let value = filled(it["value"].as_str().unwrap(), &variables);
            format!("{}: {value}\r\n", it["key"].as_str().unwrap())
        });
        let answer = store.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{body}",
            headers.collect::<String>(),
            body.len()
        ));
        assert!(answer.status < 300, "{name}: {} {}", answer.status, answer.text());
        let template: String = path
            .split('/')
            .map(|it| if it.parse::<i64>().is_ok() { "{id}" } else { it })
            .collect::<Vec<_>>()
            .join("/");
        let operation = &document["paths"][&template][method.to_lowercase()];
        let promised = &operation["responses"][answer.status.to_string()];
        assert!(promised.is_object(), "{name}: {method} {template} {}", answer.status);
        asked.insert(format!("{method} {template}"));
        for line in item["event"][0]["script"]["exec"].as_array().into_iter().flatten() {
            let words: Vec<_> = line.as_str().unwrap().split(['"', '.', ')']).collect();
            let made: Value = serde_json::from_slice(&answer.body).unwrap();
            let field = words.iter().find(|it| it.ends_with("_id")).unwrap();
            variables.insert(words[3].to_owned(), made[*field].to_string());
        }
    }
    let ours = ["GET /docs", "GET /livez", "GET /openapi.json", "GET /readyz"].map(str::to_owned);
    let served: BTreeSet<_> =
        store::route::lines().map(|(it, path)| format!("{it} {path}")).collect();
    assert_eq!(&asked | &BTreeSet::from(ours), served);
}

/// The outcomes file of the load scripts tells which part refused: by the store's own sentences.
#[test]
fn the_load_scripts_know_every_sentence_of_a_refusal() {
    let (max, waited) = (16, std::time::Duration::from_secs(5));
    let lost = || sqlx::Error::PoolClosed;
    let refusals = [
        (ApiError::from(DbError::PoolExhausted { max, waited }).message, "503_pool"),
        (ApiError::from(DbError::TooManyConnections(lost())).message, "503_database"),
        (ApiError::from(DbError::Unavailable(None)).message, "503_database"),
        (
            ApiError::from(DbError::Busy { reason: "deadlock", source: lost() }).message,
            "503_database",
        ),
        (ApiError::from(DbError::CommitUnknown(lost())).message, "503_database"),
        (WalkFailure::Limit(100).to_string(), "503_redis"),
        ("Too many requests at once: the limit is 1 (STORE_MAX_IN_FLIGHT).".to_owned(), "other"),
    ];
    let program = "import json, sys, types, outcomes\n\
        for text in json.load(sys.stdin):\n    \
        print(outcomes.class_of(types.SimpleNamespace(status_code=503, text=text, error=None), None))";
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut python = Command::new(workspace.join(".venv/bin/python"))
        .args(["-c", program])
        .current_dir(workspace.join("locust"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run script/bootstrap");
    let texts: Vec<_> = refusals.iter().map(|(text, _)| text.as_str()).collect();
    serde_json::to_writer(python.stdin.take().unwrap(), &texts).unwrap();
    let output = python.wait_with_output().unwrap();
    let classes: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    let expected: Vec<_> = refusals.iter().map(|(_, class)| *class).collect();
    assert_eq!(classes, expected, "{texts:#?}");
}
