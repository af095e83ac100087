//! Do the dashboard and the alerts that are shipped ask for what there is?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::prometheus::Prometheus;
use crate::support::{Balancer, Origin, eventually, free_port, text};

fn config(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs").join(name);
    fs::read_to_string(path).unwrap()
}

/// The expressions of the dashboard, with what Grafana puts in.
fn expressions(dashboard: &Value) -> Vec<String> {
    let targets = |it: &Value| it["targets"].as_array().unwrap().clone();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels
        .flat_map(targets)
        .chain(dashboard["annotations"]["list"].as_array().unwrap().clone());
    let fill = |it: &str| it.replace("$__rate_interval", "1m").replace("$upstream", ".*");
    targets.map(|it| fill(it["expr"].as_str().unwrap())).collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_there_is() {
    let origin = Origin::start(|_, out| text(out, "abc"));
    let balancer = Balancer::start(&format!(
        "upstream shop {{ server 127.0.0.1:{}; server 127.0.0.1:{} fail_timeout=1h; }} \
         server {{ listen PORT; location / {{ proxy_pass http://shop; }} }}",
        origin.port,
        free_port()
    ));
    let admin = balancer.admin_url("").replace("http://", "");
    let Some(prometheus) = Prometheus::start(&admin) else { return };
    let mut client = balancer.client();
    eventually("the metrics know of requests", || {
        client.get("/");
        prometheus
            .query("sum(increase(balancer_requests_total[1m])) > 0")
            .is_ok_and(|it| !it.is_empty())
    });

    let dashboard: Value = serde_json::from_str(&config("grafana/balancer.json")).unwrap();
    let asked = expressions(&dashboard);
    assert!(asked.len() > 10, "{asked:?}");
    for expression in &asked {
        // A reload is told where there was one.
        let may_be_empty = expression.contains("changes(");
        eventually(expression, || {
            let found = prometheus.query(expression).unwrap();
            may_be_empty || !found.is_empty()
        });
    }
    let state = "balancer_upstream_server_state == 1";
    let states = prometheus.query(state).unwrap();
    assert_eq!(states.len(), 2, "{states:?}");

    eventually("somebody is told of the server that is out", || {
        let alerts = prometheus.alerts();
        alerts.iter().any(|it| it.0 == "BalancerServerOut" && it.1 == "pending")
    });
    let quiet = ["BalancerGone", "BalancerUpstreamEmpty", "BalancerReloadRefused"];
    let alerts = prometheus.alerts();
    assert!(alerts.iter().all(|it| !quiet.contains(&it.0.as_str())), "{alerts:?}");
}
