//! Reports, fresh and remembered.

use std::time::Duration;

use lab::process::eventually_within;

use crate::harness::{Store, at_once, on_both};

const SPENDERS: &str = "/orders/reports/highest-spenders";
const SELLERS: &str = "/orders/reports/best-sellers";

/// Long enough for a refresh on a busy machine.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_shop_without_orders_has_empty_reports() {
    on_both(|data| {
        let store = Store::start(data, &[]);
        assert_eq!(
            (store.shown(SPENDERS), store.shown(SELLERS)),
            ("[]\n".to_owned(), "[]\n".to_owned())
        );
    });
}

#[test]
fn field_names_follow_the_setting() {
    on_both(|data| {
        let mysql = Store::start(data, &[("STORE_REPORTS", "mysql")]);
        mysql.order(1, &[(2, 3), (3, 3)]);
        mysql.order(2, &[(2, 1)]);
        assert_eq!(
            mysql.shown(SPENDERS),
            "[{\"total_expense\":195.75,\"user_id\":1},{\"total_expense\":59.5,\"user_id\":2}]\n"
        );
        assert_eq!(
            mysql.shown(SELLERS),
            "[{\"product_id\":2,\"quantity\":\"4.00\"},{\"product_id\":3,\"quantity\":\"3.00\"}]\n"
        );
        assert_eq!(mysql.get(SELLERS).header("X-Store-Cache"), Some("off"));
        let cached = Store::start(data, &[("STORE_COMPAT", "a25")]);
        assert_eq!(
            cached.shown(SELLERS),
            "[{\"product_id\":2,\"quantity_sold\":4},{\"product_id\":3,\"quantity_sold\":3}]\n"
        );
        assert_eq!(cached.get(SPENDERS).text(), mysql.shown(SPENDERS));
        assert_eq!(cached.get(SELLERS).header("X-Store-Cache"), Some("hit"));
    });
}

#[test]
fn a_crowd_on_a_cold_cache_causes_one_build() {
    on_both(|data| {
        let store =
            Store::start(data, &[("STORE_REPORT_TTL", "1ms"), ("STORE_REPORT_STALE", "1ms")]);
        let before = store.counted("store_report_build_seconds_count{report=\"best_sellers\"");
        assert!(before >= 1.0, "warm before ready");
        drop(store);
        let store = Store::start(data, &[("STORE_REPORT_TTL", "600s")]);
        let built = store.counted("store_report_build_seconds_count{report=\"best_sellers\"");
        let answers = at_once(100, |_| store.get(SELLERS));
        assert!(answers.iter().all(|it| it.status == 200 && it.body.starts_with(b"[")));
        assert!(
            store.counted("store_report_build_seconds_count{report=\"best_sellers\"") - built < 0.5
        );
        assert!(built <= 1.0, "{built}");
    });
}

#[test]
fn an_old_report_is_served_while_the_next_is_built() {
    on_both(|data| {
        let store = Store::start(data, &[("STORE_REPORT_TTL", "50ms")]);
        store.order(1, &[(2, 1)]);
        let fresh = || store.shown(SPENDERS).contains("59.5");
        assert!(eventually_within(SOON, fresh));
        assert!(eventually_within(SOON, || store.get(SPENDERS).header("X-Store-Cache")
            == Some("stale")));
    });
}

#[test]
fn a_deleted_top_spender_leaves_the_reports_of_every_replica() {
    on_both(|data| {
        let store = Store::start(data, &[]);
        store.order(1, &[(1, 1)]);
        store.order(2, &[(3, 1)]);
        drop(store);
        if let Some(redis) = Store::start(data, &[]).app.cache.redis.as_ref() {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let outdated = store::cache::shared::outdate(
                redis,
                store::config::Compat::Off,
                Duration::from_mins(10),
            );
            runtime.block_on(outdated).unwrap();
        }
        let store = Store::start(data, &[]);
        assert!(eventually_within(SOON, || store.shown(SPENDERS).contains("\"user_id\":1")));
        assert_eq!(store.delete("/users/1").status, 200);
        assert!(eventually_within(SOON, || {
            let shown = store.shown(SPENDERS);
            !shown.contains("\"user_id\":1}") && shown.contains("\"user_id\":2}")
        }));
    });
}

#[test]
fn the_overview_lists_every_product_in_order_of_id() {
    on_both(|data| {
        let store = Store::start(data, &[]);
        let shown = store.shown("/stocks/reports/overview-stocks");
        let start = r#"[{"Article":"Laptop ABC","Num\u00e9ro SKU":"LP12567","Prix unitaire":1999.99,"Unit\u00e9s en stock":1000},{"#;
        assert!(shown.starts_with(start), "{shown}");
        assert_eq!(shown.matches("Article").count(), 4);
        assert!(shown.ends_with("}]\n"));
    });
}
