//! Does any request at all get an answer that the document does not promise?
//!
//! Requests are drawn from the document itself: each body from its schema, then bent. The start of
//! the draw is fixed, so a failure repeats itself; its request is in the message.

use serde_json::{Map, Value, json};

use crate::harness::{Data, Store, raw};

/// Requests per line of the API.
const ROUNDS: usize = 60;

/// `SplitMix64`, as the seed of the shop uses it.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A value that no schema asks for.
    fn odd(&mut self) -> Value {
        let odd = [
            json!(null),
            json!(true),
            json!(0),
            json!(-1),
            json!(1.5),
            json!(2.0),
            json!(1e300),
            json!(i64::MIN),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(2_147_483_648_u64),
            json!(""),
            json!("1"),
            json!("é😀\u{0}\u{7f}\u{2028}"),
            json!("' OR 1=1 -- "),
            json!("x".repeat(151)),
            json!("{\"a\":"),
            json!([]),
            json!([[]]),
            json!([null]),
            json!({}),
            json!({"": {"a": []}}),
            json!("%00"),
            json!("null"),
        ];
        self.one(&odd).clone()
    }

    /// A value of a schema, sometimes an odd one in its place.
    fn value(&mut self, document: &Value, schema: &Value) -> Value {
        if self.below(8) == 0 {
            return self.odd();
        }
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap();
            return self.value(document, &document["components"]["schemas"][name]);
        }
        if let Some(choices) = schema["anyOf"].as_array() {
            let choice = self.one(choices).clone();
            return self.value(document, &choice);
        }
        match schema["type"].as_str() {
            Some("object") => {
                let mut object = Map::new();
                for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                    if self.below(10) != 0 {
                        object.insert(name.clone(), self.value(document, inner));
                    }
                }
                if self.below(6) == 0 {
                    object.insert("more".to_owned(), self.odd());
                }
                Value::Object(object)
            }
            Some("array") => {
                let count = self.below(4);
                (0..count).map(|_| self.value(document, &schema["items"])).collect()
            }
            Some("integer") => json!(*self.one(&[1, 2, 3, 4, 5, 99, 2_147_483_647])),
            Some("number") => json!(*self.one(&[0.01, 5.55, 1.005, 99_999_999.99, 0.0049])),
            Some("string") => json!(*self.one(&[
                "a",
                "Jane",
                "{ stockLevel(productId: \"1\") }",
                "{ __typename }",
                "é"
            ])),
            _ => self.odd(),
        }
    }

    fn body(&mut self, document: &Value, operation: &Value) -> String {
        let content = &operation["requestBody"]["content"]["application/json"];
        let text = match self.below(10) {
            0 => content["example"].to_string(),
            1 => self.odd().to_string(),
            _ => self.value(document, &content["schema"]).to_string(),
        };
        match self.below(12) {
            0 => text[..text.floor_char_boundary(text.len() / 2)].to_owned(),
            1 => format!("{text}{text}"),
            2 => format!("{}{text}", "[".repeat(500)),
            3 => String::new(),
            _ => text,
        }
    }
}

fn check(settings: &[(&str, &str)]) {
    let store = Store::start(&Data::embedded(), settings);
    let document: Value = serde_json::from_str(&store.shown("/openapi.json")).unwrap();
    let mut draw = Draw(430);
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for _ in 0..ROUNDS {
                let ids = [
                    "1",
                    "2",
                    "4",
                    "0",
                    "99",
                    "2147483648",
                    "99999999999999999999",
                    "-1",
                    "x",
                    "1.5",
                    "%31",
                    "1%2F2",
                    "é",
                ];
                let id: &&str = draw.one(&ids);
                let path = template.replace("{id}", id);
                let mut head = format!(
                    "{} {path} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n",
                    method.to_uppercase()
                );
                let body = if operation["requestBody"].is_object() {
                    let kinds = [
                        "application/json",
                        "application/json",
                        "application/json",
                        "application/json; charset=utf-8",
                        "text/plain",
                        "",
                    ];
                    let kind: &&str = draw.one(&kinds);
                    head.extend(["Content-Type: ", kind, "\r\n"]);
                    draw.body(&document, operation)
                } else {
                    String::new()
                };
                if operation["parameters"].to_string().contains("Idempotency-Key") {
                    let keys = [
                        "",
                        "Idempotency-Key: a\r\n",
                        "Idempotency-Key: two words\r\n",
                        "Idempotency-Key: \r\n",
                    ];
                    let key: &&str = draw.one(&keys);
                    head += key;
                }
                let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
                let answer = raw(store.address, &request);
                let promised = &operation["responses"][answer.status.to_string()];
                // A path that hyper cannot read is its own to refuse, before any line is chosen.
                let unread = answer.status == 400 && answer.body.is_empty();
                assert!(
                    promised.is_object() || unread,
                    "{} was not promised for {request}",
                    answer.status
                );
                assert!(
                    answer.status < 500 || !settings.is_empty(),
                    "{} {} for {request}",
                    answer.status,
                    answer.text()
                );
                if 400 <= answer.status && !unread && operation["operationId"] != "ready" {
                    let error: Value = serde_json::from_slice(&answer.body).unwrap();
                    assert!(
                        error["error"].is_string() || error["deleted"] == false,
                        "{error} for {request}"
                    );
                }
            }
        }
    }
    assert_eq!(store.get("/ready").status, 200);
    assert!(store.counted("store_panics_total") < 0.5);
}

#[test]
fn every_answer_is_one_that_the_document_promises() {
    check(&[]);
}

#[test]
fn every_answer_is_promised_where_a_lab_is_imitated() {
    check(&[("STORE_COMPAT", "a25")]);
}
