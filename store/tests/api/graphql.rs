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
