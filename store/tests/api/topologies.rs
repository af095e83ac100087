//! Is every form of Redis spoken to, and is its failover nobody's failure?

use std::time::Duration;

use lab::data_services::{RedisCluster, Sentinels};
use lab::process::eventually_within;
use store::cache::rows;
use store::domain::id::{OrderId, ProductId};

use crate::harness::{Data, Store};

const SPENDERS: &str = "/orders/reports/highest-spenders";

/// Long enough for the servers to agree on another master on a busy machine.
const AGREED: Duration = Duration::from_mins(1);

#[test]
fn a_sentinel_group_changes_its_master_without_a_failed_request() {
    let mut group = Sentinels::start().unwrap();
    let store = Store::start(&Data::with_redis(group.url()), &[]);
    assert!(eventually_within(AGREED, || store.shown("/ready").contains("\"redis\":\"ok\"")));
    // Two sentinels are a majority, and the store must not depend on the first of the list.
    group.kill_sentinel();
    let before = store.order(1, &[(1, 1)]);
    let former = group.kill_master().unwrap();
    survives(&store, before, || group.master().is_ok_and(|it| it != former));
}

#[test]
fn a_cluster_takes_every_key_and_loses_a_master_without_a_failed_request() {
    let mut cluster = RedisCluster::start().unwrap();
    let store = Store::start(&Data::with_redis(cluster.url()), &[]);
    assert!(eventually_within(AGREED, || store.shown("/ready").contains("\"redis\":\"ok\"")));
    // 3 users, 4 products, 4 stocks, 2 reports and the marker, wherever their slots are.
    assert!(eventually_within(AGREED, || cluster.keys().unwrap() == 14));
    let id = store.order(1, &[(1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(store.delete(&format!("/orders/{id}")).status, 200);
    assert_eq!(store.stock(1), 1000);
    let before = store.order(1, &[(1, 1)]);
    cluster.kill_master();
    survives(&store, before, || cluster.has_failed_over());
}

/// Orders, reads and reports after a failure until another master serves; none may fail, and Redis
/// must learn all of it, the order from before included.
#[track_caller]
fn survives(store: &Store, before: i64, failed_over: impl Fn() -> bool) {
    let mut placed = vec![before];
    let back = || {
        placed.push(store.order(1, &[(1, 1), (2, 1)]));
        assert!(store.shown(&format!("/orders/{}", placed[placed.len() - 2])).contains("items"));
        assert!(store.shown(SPENDERS).starts_with('['));
        failed_over() && store.shown("/ready").contains("\"redis\":\"ok\"")
    };
    assert!(eventually_within(AGREED, back), "{}", store.shown("/ready"));

    let level = store.stock(1);
    assert_eq!(level, 1000 - i64::try_from(placed.len()).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let redis = store.app.cache.redis.as_ref().unwrap();
    let ids: Vec<_> = placed.into_iter().map(OrderId::new).collect();
    let learned = || {
        let orders = runtime.block_on(rows::fetch_orders(redis, &ids));
        let stock = runtime.block_on(rows::fetch_stock(redis, ProductId::new(1)));
        orders.is_ok_and(|it| it.iter().all(Option::is_some))
            && stock.is_ok_and(|it| it.is_some_and(|(_, quantity)| quantity == level))
    };
    assert!(eventually_within(AGREED, learned), "Redis does not learn what it missed");
}
