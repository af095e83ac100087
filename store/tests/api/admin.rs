//! The switches, turned while the shop is open, and what an answer tells about its cost.

use std::net::SocketAddr;

use lab::ports::free_port;
use lab::process::Process;
use tempfile::TempDir;

use crate::harness::{Data, Store, order};

/// A store with an admin listener, as its own process.
struct Switched {
    public: SocketAddr,
    admin: SocketAddr,
    _process: Process,
    _folder: TempDir,
    _data: Data,
}

impl Switched {
    fn start(data: &Data, settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let [public, admin] =
            [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port().unwrap())));
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_store"));
        command.current_dir(folder.path()).env_clear();
        command.envs(data.settings()).envs(settings.iter().copied());
        command.env("STORE_SEED", "small").env("STORE_DRAIN_DELAY", "0s");
        command.env("STORE_LISTEN", public.to_string());
        command.env("STORE_ADMIN_LISTEN", admin.to_string());
        let mut process = Process::spawn("store", &mut command).unwrap();
        let ready = || Ok(lab::http::get(public, "/ready").is_ok_and(|it| it.status == 200));
        process.wait_until_ready(std::time::Duration::from_secs(30), ready).unwrap();
        Self { public, admin, _process: process, _folder: folder, _data: data.clone() }
    }

    fn admin(&self, method: &str, headers: &str, body: &str) -> lab::http::Answer {
        crate::harness::raw(
            self.admin,
            &format!(
                "{method} /admin/stage HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
    }

    fn counted(&self, start: &str) -> f64 {
        crate::harness::counted(self.public, start)
    }
}

#[test]
fn a_stage_is_turned_while_the_shop_is_open() {
    let store = Switched::start(&Data::servers(), &[]);
    let fixed = "{\"connections\":\"pool\",\"lookup\":\"in_list\",\"reports\":\"redis_cache\",\"stage\":\"fixed\",\"stock_sync\":\"targeted\"}\n";
    assert_eq!(store.admin("GET", "", "").text(), fixed);
    let ordered = || {
        let answer = lab::http::post(store.public, "/orders", &order(1, &[(1, 1), (2, 1), (3, 1)]));
        assert_eq!(answer.unwrap().status, 201);
    };
    ordered();
    let (lookups, opened) = (
        store.counted("store_db_queries_total{op=\"lookup\"}"),
        store.counted("store_db_connections_opened_total"),
    );
    assert!(store.counted("store_redis_commands_total{command=\"scan\"") < 0.5);

    let answer = store.admin("PUT", "", r#"{"stage":"1"}"#);
    let first = "{\"connections\":\"per_call\",\"lookup\":\"n_plus_one\",\"reports\":\"mysql\",\"stage\":\"1\",\"stock_sync\":\"scan\"}\n";
    assert_eq!((answer.status, answer.text()), (200, first.to_owned()));
    ordered();
    assert!(store.counted("store_db_queries_total{op=\"lookup\"}") - lookups > 2.5, "one per line");
    assert!(store.counted("store_redis_commands_total{command=\"scan\"") > 0.5);
    assert!(store.counted("store_db_connections_opened_total") - opened > 1.5, "two per order");
    let report = lab::http::get(store.public, "/orders/reports/best-sellers").unwrap();
    assert_eq!(report.header("X-Store-Cache"), Some("off"));
    assert!(
        (store.counted("store_stage_info{stage=\"1\",lookup=\"n_plus_one\"") - 1.0).abs() < 0.1
    );
    assert!(store.counted("store_stage_info{stage=\"fixed\"") < 0.5);

    let answer = store.admin("PUT", "", r#"{"lookup":"in_list"}"#);
    assert!(answer.text().contains(r#""stage":"2""#), "{}", answer.text());
    let answer = store.admin("PUT", "", r#"{"connections":"pool"}"#);
    assert!(answer.text().contains(r#""stage":"custom""#), "{}", answer.text());
    let answer = store.admin("PUT", "", r#"{"stage":"fixed"}"#);
    assert_eq!(answer.text(), fixed);
}

#[test]
fn keys_of_a_cluster_are_not_walked() {
    let nobody = format!("redis-cluster://127.0.0.1:{}", free_port().unwrap());
    let store = Switched::start(&Data::with_redis(nobody), &[]);
    let answer = store.admin("PUT", "", r#"{"stage":"1"}"#);
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("not a cluster"), "{}", answer.text());
    assert!(store.admin("GET", "", "").text().contains(r#""stage":"fixed""#));
}

#[test]
fn a_switch_that_cannot_be_turned_is_named_and_nothing_changes() {
    let store = Switched::start(&Data::embedded(), &[("STORE_ADMIN_TOKEN", "open sesame")]);
    let bearer = "Authorization: Bearer open sesame\r\n";
    let answer = store.admin("PUT", "", r#"{"stage":"1"}"#);
    assert_eq!((answer.status, answer.header("WWW-Authenticate")), (401, Some("Bearer")));
    assert_eq!(store.admin("GET", "Authorization: Bearer open\r\n", "").status, 401);
    for (body, sentence) in [
        (r#"{"lookup":"n+1"}"#, r#"lookup="n+1": not one of in_list, n_plus_one."#),
        (
            r#"{"lookup":"in_list","stock":"enforce"}"#,
            "stock: not one of stage, lookup, reports, stock_sync, connections.",
        ),
        (r#"{"connections":true}"#, "connections must be a word."),
    ] {
        let answer = store.admin("PUT", bearer, body);
        let error: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, error["error"].as_str()), (400, Some(sentence)), "{body}");
    }
    assert!(store.admin("GET", bearer, "").text().contains(r#""stage":"fixed""#));
    let answer = store.admin("POST", bearer, "{}");
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD, PUT, OPTIONS")));
    let elsewhere = lab::http::get(store.public, "/admin/stage").unwrap();
    assert_eq!(elsewhere.status, 404, "the public listener has no switches");
}

#[test]
fn an_answer_tells_where_its_time_went_when_it_is_asked_to() {
    let store = Store::start(&Data::servers(), &[("STORE_SERVER_TIMING", "on")]);
    let answer = store.post("/orders", &order(1, &[(1, 1)]));
    let timing = answer.header("Server-Timing").unwrap();
    let names: Vec<_> = timing.split(", ").map(|it| it.split(';').next().unwrap()).collect();
    assert_eq!(names, ["acquire", "lookup", "insert", "stock", "commit", "redis", "total"]);
    let times: Vec<f64> = timing
        .split("dur=")
        .skip(1)
        .map(|it| it.split(',').next().unwrap().parse().unwrap())
        .collect();
    assert!(times[..6].iter().sum::<f64>() <= times[6] + 0.01, "{timing}");
    assert!(store.get("/users/1").header("Server-Timing").unwrap().starts_with("total;dur="));
    let silent = Store::start(&Data::embedded(), &[]);
    assert_eq!(silent.get("/users/1").header("Server-Timing"), None);
}
