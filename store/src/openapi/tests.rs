use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::route;

fn shown(settings: &[(&str, &str)]) -> Value {
    let lookup = |name: &str| {
        settings.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
    };
    let (config, _) = Config::read(&lookup, "test").unwrap();
    serde_json::to_value(document(&config)).unwrap()
}

#[test]
fn every_line_of_the_table_is_described_and_nothing_else() {
    let document = shown(&[]);
    let described: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |it| format!("{} {path}", it.to_uppercase()))
        })
        .collect();
    let served: BTreeSet<_> =
        route::lines().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(described, served);
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn every_schema_that_is_named_exists() {
    let document = shown(&[]);
    let text = document.to_string();
    let known = document["components"]["schemas"].as_object().unwrap();
    let mut count = 0;
    for rest in text.split("#/components/schemas/").skip(1) {
        let name = rest.split('"').next().unwrap();
        assert!(known.contains_key(name), "{name}");
        count += 1;
    }
    assert!(20 < count);
}

#[test]
fn statuses_follow_the_mode() {
    let statuses = |settings: &[(&str, &str)], path: &str, method: &str| {
        let document = shown(settings);
        let answers = document["paths"][path][method]["responses"].as_object().unwrap().clone();
        answers.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(statuses(&[], "/orders/{id}", "get"), "200 404 503");
    assert_eq!(statuses(&[("STORE_COMPAT", "a25")], "/orders/{id}", "get"), "201 404 503");
    assert_eq!(statuses(&[], "/orders", "post"), "201 400 408 409 413 415 422 503");
    assert_eq!(
        statuses(&[("STORE_COMPAT", "w26")], "/orders", "post"),
        "201 400 408 409 413 415 422 500 503"
    );
}
