//! One product and its stock, asked for in GraphQL.

use crate::harness::{Data, Store, on_both};

const PATH: &str = "/stocks/graphql-query";

#[test]
fn a_product_is_shown_with_its_level() {
    on_both(|data| {
        let store = Store::start(data, &[]);
        let answer = store.post(PATH, r#"{"query":"query P($id: String!) { product(id: $id) { id name sku price quantity } }","variables":{"id":"2"}}"#);
        assert_eq!(
            (answer.status, answer.text()),
            (200, "{\"data\":{\"product\":{\"id\":2,\"name\":\"Keyboard DEF\",\"price\":59.5,\"quantity\":500,\"sku\":\"KB67890\"}},\"errors\":null}\n".to_owned())
        );
        store.order(1, &[(2, 3)]);
        let answer = store.post(PATH, r#"{"query":"{ stockLevel(productId: \"2\") none: stockLevel(productId: \"x\") product(id: \"99\") { id } }","variables":""}"#);
        assert_eq!(
            answer.text(),
            "{\"data\":{\"none\":0,\"product\":null,\"stockLevel\":497},\"errors\":null}\n"
        );
    });
}

#[test]
fn a_bad_query_is_answered_and_a_missing_one_is_refused() {
    let store = Store::start(&Data::embedded(), &[("STORE_GRAPHQL_COMPLEXITY", "3")]);
    let answer = store.post(PATH, r#"{"query":"{ nothing }"}"#);
    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with("{\"data\":null,\"errors\":[\""), "{}", answer.text());
    let answer = store.post(PATH, "{}");
    assert_eq!(
        (answer.status, answer.text()),
        (400, "{\"error\":\"The body has no 'query'.\"}\n".to_owned())
    );
    assert_eq!(store.post(PATH, "[{}]").status, 400);
    let answer = store.post(PATH, r#"{"query":"{ product(id: \"1\") { id name sku price } }"}"#);
    assert_eq!(
        answer.text(),
        "{\"data\":null,\"errors\":[\"The query has more than 3 fields (STORE_GRAPHQL_COMPLEXITY).\"]}\n"
    );
}

#[test]
fn the_products_of_one_query_are_read_at_once() {
    let store = Store::start(&Data::embedded(), &[]);
    let asked = || store.counted("store_db_queries_total{op=\"graphql\"}");
    let before = asked();
    let answer = store.post(PATH, r#"{"query":"{ a: product(id: \"1\") { name } b: product(id: \"2\") { name quantity } c: stockLevel(productId: \"3\") d: stockLevel(productId: \"99\") e: stockLevel(productId: \"1\") }"}"#);
    assert_eq!(
        answer.text(),
        "{\"data\":{\"a\":{\"name\":\"Laptop ABC\"},\"b\":{\"name\":\"Keyboard DEF\",\"quantity\":500},\"c\":2,\"d\":0,\"e\":1000},\"errors\":null}\n"
    );
    assert!((asked() - before - 1.0).abs() < 0.5, "{} statements", asked() - before);
}

#[test]
fn introspection_passes_and_what_is_too_large_is_refused_by_name() {
    let store = Store::start(&Data::embedded(), &[]);
    let ask = |query: &str| {
        let body = serde_json::json!({ "query": query }).to_string();
        let answer = store.post(PATH, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()
    };
    let answer = ask(INTROSPECTION);
    assert_eq!(answer["errors"], serde_json::Value::Null);
    assert_eq!(answer["data"]["__schema"]["queryType"]["name"], "Query");
    let refusal = |query: &str| ask(query)["errors"][0].as_str().unwrap().to_owned();
    assert_eq!(refusal(&"x".repeat(70_000)), "The query is limited to 65536 bytes.");
    let deep = "The query is nested deeper than 16 (STORE_GRAPHQL_DEPTH).";
    let types = format!(
        "{{ __schema {{ types {{ {} name {} }} }} }}",
        "ofType {".repeat(20),
        "}".repeat(20)
    );
    assert_eq!(refusal(&types), deep);
    assert_eq!(refusal(&"{a".repeat(30_000)), deep);
}

/// What tools send first.
const INTROSPECTION: &str = "query IntrospectionQuery { __schema { queryType { name } mutationType { name } subscriptionType { name } types { ...FullType } directives { name description locations args { ...InputValue } } } }
fragment FullType on __Type { kind name description fields(includeDeprecated: true) { name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason } inputFields { ...InputValue } interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } possibleTypes { ...TypeRef } }
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } }";
