//! Orders, stock and their accounts.

use lab::process::eventually_within;

use crate::harness::{Data, Store, at_once, on_both, order, private_servers, soon};

#[test]
fn the_flow_of_the_lab_passes_twice_in_a_row() {
    on_both(|data| {
        let store = Store::start(data, &[]);
        for round in 1..=2 {
            let number = |text: String| {
                text.trim_end().trim_end_matches('}').rsplit(':').next().unwrap().to_owned()
            };
            let product = number(
                store
                    .post("/products", r#"{"name":"Some item","sku":"ABCDEF1236","price":49.99}"#)
                    .text(),
            );
            let level = format!(r#"{{"product_id":{product},"quantity":5}}"#);
            let answer = store.post("/stocks", &level);
            assert_eq!(
                (answer.status, answer.text()),
                (201, format!("{{\"result\":\"rows added, product {product}\"}}\n"))
            );
            assert_eq!(
                store.shown(&format!("/stocks/{product}")),
                format!("{{\"product_id\":{product},\"quantity\":5}}\n")
            );
            let user = number(
                store
                    .post(
                        "/users",
                        &format!(r#"{{"name":"Jane Doe","email":"jd{round}@example.ca"}}"#),
                    )
                    .text(),
            );
            let id = store.order(user.parse().unwrap(), &[(product.parse().unwrap(), 2)]);
            assert_eq!(store.stock(product.parse().unwrap()), 3);
            assert_eq!(
                store.shown(&format!("/orders/{id}")),
                format!(
                    "{{\"items\":\"[{{\\\"product_id\\\":{product},\\\"quantity\\\":2,\\\"unit_price\\\":49.99}}]\",\"total_amount\":\"99.98\",\"user_id\":\"{user}\"}}\n"
                )
            );
        }
    });
}

/// Lesson 1: every line had the price of the first product.
#[test]
fn each_line_has_its_own_price_with_either_lookup() {
    on_both(|data| {
        for lookup in ["in_list", "n_plus_one"] {
            let store = Store::start(data, &[("STORE_LOOKUP", lookup)]);
            let id = store.order(1, &[(2, 2), (1, 1), (2, 2)]);
            let shown = store.shown(&format!("/orders/{id}"));
            assert!(shown.contains(r#""total_amount":"2237.99""#), "{shown}");
            assert!(
                shown.contains(r#"\"unit_price\":59.5"#)
                    && shown.contains(r#"\"unit_price\":1999.99"#),
                "{shown}"
            );
            assert_eq!(shown.matches("product_id").count(), 3, "{shown}");
        }
    });
}

#[test]
fn a_client_fault_has_its_status_and_its_sentence_and_changes_nothing() {
    on_both(|data| {
        let store = Store::start(data, &[]);
        let check = |path: &str, body: &str, status: u16, sentence: &str| {
            let answer = store.post(path, body);
            assert_eq!(
                (answer.status, answer.text()),
                (status, format!("{{\"error\":\"{sentence}\"}}\n")),
                "{path} {body}"
            );
        };
        check("/orders", "{}", 400, "Cannot create order. An order must have 1 or more items.");
        check("/orders", "[]", 400, "Cannot create order. An order must have 1 or more items.");
        check("/orders", "[1]", 400, "The body must be a JSON object.");
        check("/orders", "{", 400, "The body is not valid JSON.");
        check("/orders", &order(1, &[(99, 1)]), 422, "Product ID 99 not found in database.");
        check("/orders", &order(99, &[(99, 1)]), 422, "Product ID 99 not found in database.");
        check("/orders", &order(99, &[(1, 1)]), 422, "User ID 99 not found in database.");
        check(
            "/orders",
            &order(9_999_999_999, &[(1, 1)]),
            422,
            "User ID 9999999999 not found in database.",
        );
        check(
            "/orders",
            &order(1, &[(9_999_999_999, 1)]),
            422,
            "Product ID 9999999999 not found in database.",
        );
        check(
            "/products",
            r#"{"name":"x","sku":"y","price":0}"#,
            400,
            "Cannot create product. A product must have a name, SKU and price.",
        );
        check(
            "/users",
            r#"{"name":"x"}"#,
            400,
            "Cannot create user. A user must have name and email.",
        );
        check(
            "/users",
            r#"{"name":"x","email":"ALOVELACE@example.com"}"#,
            409,
            "Email already in use.",
        );
        check(
            "/stocks",
            r#"{"product_id":1,"quantity":1.5}"#,
            400,
            "product_id and quantity must be whole numbers.",
        );
        check(
            "/stocks",
            r#"{"product_id":77,"quantity":1}"#,
            422,
            "Product ID 77 not found in database.",
        );
        let answer = store.delete("/products/1");
        let words = "{\"error\":\"Product ID 1 cannot be deleted: it has stock or order rows.\"}\n";
        assert_eq!((answer.status, answer.text()), (409, words.to_owned()));
        assert_eq!(store.stock(1), 1000);
        assert_eq!(store.get("/orders/1").status, 404);
    });
}

#[test]
fn compatible_modes_answer_with_the_statuses_of_their_edition() {
    let data = Data::embedded();
    let w26 = Store::start(&data, &[("STORE_COMPAT", "w26")]);
    let a25 = Store::start(&data, &[("STORE_COMPAT", "2025")]);
    for (store, found, words) in [
        (&w26, 200, "Product ID 99 not found in database."),
        (&a25, 201, "list index out of range"),
    ] {
        assert_eq!(store.get("/users/1").status, found);
        let absent = store.get("/orders/7");
        assert_eq!((absent.status, absent.text()), (found, "{}\n".to_owned()));
        let answer = store.post("/orders", &order(1, &[(99, 1)]));
        assert_eq!((answer.status, answer.text()), (500, format!("{{\"error\":\"{words}\"}}\n")));
        assert_eq!(store.delete("/orders/7").status, 404);
    }
}

/// Lesson 33: stock was sold that was not there.
#[test]
fn enforced_stock_is_never_oversold() {
    on_both(|data| {
        let store = Store::start(data, &[("STORE_STOCK", "enforce")]);
        store.post("/stocks", r#"{"product_id":3,"quantity":10}"#);
        let statuses = at_once(50, |_| store.post("/orders", &order(1, &[(3, 1)])).status);
        let count = |status| statuses.iter().filter(|it| **it == status).count();
        assert_eq!((count(201), count(409)), (10, 40), "{statuses:?}");
        assert_eq!(store.stock(3), 0);
        let answer = store.post("/orders", &order(1, &[(1, 1), (3, 5)]));
        assert_eq!(
            answer.text(),
            "{\"error\":\"Insufficient stock for product 3: 0 left, 5 requested.\"}\n"
        );
        assert_eq!(store.stock(1), 1000);
    });
}

/// Lesson 14: orders that took their stock in opposite order ended in deadlocks.
#[test]
fn replicas_and_opposite_orders_lose_no_update() {
    on_both(|data| {
        let replicas: Vec<_> = (0..3).map(|_| Store::start(data, &[])).collect();
        at_once(12, |thread| {
            let store = &replicas[thread % 3];
            for round in 0..10 {
                let id = if thread % 2 == 0 {
                    store.order(1, &[(1, 1), (2, 2)])
                } else {
                    store.order(2, &[(2, 2), (1, 1)])
                };
                if round % 5 == 4 {
                    assert_eq!(store.delete(&format!("/orders/{id}")).status, 200);
                }
            }
        });
        let kept = 12 * 8;
        for store in &replicas {
            assert_eq!((store.stock(1), store.stock(2)), (1000 - kept, 500 - 2 * kept));
        }
        if let Some(redis) = &replicas[0].app.cache.redis {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let level = runtime.block_on(store::cache::rows::fetch_stock(
                redis,
                store::domain::id::ProductId::new(1),
            ));
            assert_eq!(level.unwrap().unwrap().1, 1000 - kept);
        }
    });
}

/// Lesson 17: two deletes at once restored the stock twice.
#[test]
fn of_two_racing_deletes_one_wins_and_stock_returns_once() {
    on_both(|data| {
        let store = Store::start(data, &[]);
        for _ in 0..5 {
            let id = store.order(1, &[(4, 3)]);
            let mut statuses = at_once(2, |_| store.delete(&format!("/orders/{id}")).status);
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 404]);
            assert_eq!(store.stock(4), 90);
            let gone = || store.get(&format!("/orders/{id}")).status == 404;
            assert!(eventually_within(soon(), gone), "Redis learns of it");
        }
    });
}

#[test]
fn a_deleted_user_takes_the_orders_along() {
    on_both(|data| {
        let store = Store::start(data, &[]);
        let id = store.order(3, &[(1, 1)]);
        assert_eq!(store.get(&format!("/orders/{id}")).status, 200);
        let answer = store.delete("/users/3");
        assert_eq!((answer.status, answer.text()), (200, "{\"deleted\":true}\n".to_owned()));
        assert_eq!(store.get(&format!("/orders/{id}")).status, 404);
        assert_eq!(store.delete("/users/3").status, 404);
        assert_eq!(store.stock(1), 999);
    });
}

/// Lesson 10: a request that was sent again made a second order.
#[test]
fn the_same_key_makes_one_order_however_often_and_wherever_it_is_sent() {
    on_both(|data| {
        let replicas = [Store::start(data, &[]), Store::start(data, &[])];
        let send = |store: &Store, path: &str, key: &str, body: &str| {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Type: application/json\r\nIdempotency-Key: {key}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            store.raw(&format!("{head}{body}"))
        };
        let body = order(1, &[(1, 1), (2, 1)]);
        let answers = at_once(16, |thread| send(&replicas[thread % 2], "/orders", "k-1", &body));
        let made: Vec<_> = answers.iter().filter(|it| it.status == 201).collect();
        assert!(answers.iter().all(|it| it.status == 201 || it.status == 409), "{answers:?}");
        assert!(made.iter().all(|it| it.body == made[0].body), "{answers:?}");
        assert_eq!(made.iter().filter(|it| it.header("Idempotent-Replayed").is_none()).count(), 1);
        assert_eq!(replicas[0].stock(1), 999);
        let again = send(&replicas[1], "/orders", "k-1", &body);
        assert_eq!((again.status, again.header("Idempotent-Replayed")), (201, Some("true")));
        assert_eq!(send(&replicas[0], "/orders", "k-1", &order(2, &[(1, 1)])).status, 422);
        assert_eq!(send(&replicas[0], "/orders", "two words", &body).status, 400);
        let user = r#"{"name":"n","email":"n@example.com"}"#;
        let first = send(&replicas[0], "/users", "k-1", user);
        assert_eq!(first.status, 201, "a key belongs to its route: {}", first.text());
        assert_eq!(send(&replicas[1], "/users", "k-1", user).body, first.body);
        let fault = send(&replicas[0], "/orders", "k-2", &order(1, &[(99, 1)]));
        assert_eq!(fault.status, 422, "a refusal keeps no key");
        assert_eq!(send(&replicas[0], "/orders", "k-2", &body).status, 201);
        assert_eq!(replicas[0].stock(1), 998);
    });
}

/// A statement that is closed behind its use has the next one wait for 40 ms.
#[test]
fn a_long_order_takes_no_statement_that_is_closed_again() {
    let (database, redis) = private_servers();
    let data = Data::Servers(database.url("store").unwrap(), redis.url());
    let store = Store::start(&data, &[]);
    let created = |number: i64| {
        let text = format!(r#"{{"name":"Some item","sku":"LONGSKU{number:03}","price":1.5}}"#);
        let answer = store.post("/products", &text);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let level = format!(r#"{{"product_id":{number},"quantity":100}}"#);
        assert_eq!(store.post("/stocks", &level).status, 201);
    };
    (5..=54).for_each(created);
    let closed = || database.run("SHOW GLOBAL STATUS LIKE 'Com_stmt_close'").unwrap();
    let before = closed();
    for lines in [16, 17, 20, 33, 50] {
        let lines: Vec<_> = (5..5 + lines).map(|product| (product, 2)).collect();
        let id = store.order(1, &lines);
        let shown = store.shown(&format!("/orders/{id}"));
        let total = format!("\"total_amount\":\"{}.0\"", 3 * lines.len());
        assert!(shown.contains(&total), "{shown}");
    }
    assert_eq!([5, 20, 21, 24, 37, 54].map(|it| store.stock(it)), [90, 90, 92, 94, 96, 98]);
    assert_eq!(closed(), before);
}
