//! Variables in `proxy_pass`, names looked up at run time, and groups that follow them.

use std::sync::Arc;

use crate::support::{Balancer, Dns, Gate, Origin, Says, eventually, free_port, text};

/// A server whose location passes requests to `url`.
fn passing(before: &str, url: &str) -> Balancer {
    Balancer::start(&format!(
        "{before} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass {url}; }} }}"
    ))
}

#[test]
fn a_variable_names_a_group_first() {
    let origin = Origin::named("group");
    let group = format!("upstream Store {{ server {}; }}", origin.name());
    let balancer = passing(&group, "http://$arg_to$uri");
    let mut client = balancer.client();
    assert_eq!(client.get("/a%20b?to=store").text(), "group");
    // The variable's text is sent as it is, and no query is added.
    assert!(origin.seen()[0].head.starts_with("GET /a b HTTP/1.1\r\n"));
    assert!(origin.seen()[0].head.contains("\r\nHost: store\r\n"));
    // What would end the line does not become one of ours.
    assert_eq!(client.get("/a%0d%0aX:%20y?to=store").status, 500);
    let bare = passing(&group, "http://$arg_to");
    assert_eq!(bare.client().get("/a%20b?to=store").text(), "group");
    assert_eq!(origin.seen()[1].path(), "/a%20b?to=store");
}

#[test]
fn a_variable_may_hold_an_address_or_a_whole_url() {
    let origin = Origin::named("address");
    let balancer = passing("", "$arg_url");
    let path = format!("/x?url=http://{}", origin.name());
    assert_eq!(balancer.client().get(&path).text(), "address");
    assert!(origin.seen()[0].head.contains(&format!("\r\nHost: {}\r\n", origin.name())));
    assert_eq!(balancer.client().get("/x?url=ftp://a").status, 500);
    eventually("it is told", || balancer.said().contains("invalid URL prefix in \"ftp://a\""));
}

#[test]
fn without_a_resolver_a_name_is_a_bad_gateway() {
    let balancer = passing("", "http://$arg_to");
    assert_eq!(balancer.client().get("/?to=some.name").status, 502);
    let text = "no resolver defined to resolve some.name";
    eventually("it is told", || balancer.said().contains(text));
}

#[test]
fn a_name_is_looked_up_and_its_answer_kept() {
    let (dns, origin) = (Dns::start(), Origin::named("named"));
    let addresses = ["127.0.0.1".parse().unwrap()].into();
    dns.says("shop.test", Says { addresses, ttl: 60, ..Says::default() });
    let resolver = format!("resolver 127.0.0.1:{} ipv6=off;", dns.port);
    let url = format!("http://$arg_to:{}", origin.port);
    let balancer = passing(&resolver, &url);
    for _ in 0..3 {
        assert_eq!(balancer.client().get("/?to=Shop.Test").text(), "named");
    }
    assert_eq!(dns.asked("shop.test", 1), 1);
    assert_eq!(dns.asked("shop.test", 28), 0);
    assert_eq!(balancer.client().get("/?to=none.test").status, 502);
    let text = "none.test could not be resolved (3: Host not found)";
    eventually("it is told", || balancer.said().contains(text));
}

#[test]
fn an_alias_is_followed_and_a_long_answer_fetched_over_tcp() {
    let (dns, origin) = (Dns::start(), Origin::named("named"));
    dns.says("a.test", Says { alias: Some("b.test".into()), ttl: 60, ..Says::default() });
    let addresses = ["127.0.0.1".parse().unwrap()].into();
    dns.says("b.test", Says { addresses, ttl: 60, is_long: true, ..Says::default() });
    let resolver = format!("resolver 127.0.0.1:{} ipv6=off;", dns.port);
    let balancer = passing(&resolver, &format!("http://$arg_to:{}", origin.port));
    assert_eq!(balancer.client().get("/?to=a.test").text(), "named");
    assert_eq!(dns.asked("b.test", 1), 2);
}

#[test]
fn an_alias_holds_for_its_own_time() {
    let (dns, origin) = (Dns::start(), Origin::named("named"));
    dns.says("a.test", Says { alias: Some("b.test".into()), ttl: 1, ..Says::default() });
    let addresses = ["127.0.0.1".parse().unwrap()].into();
    dns.says("b.test", Says { addresses, ttl: 60, ..Says::default() });
    let resolver = format!("resolver 127.0.0.1:{} ipv6=off;", dns.port);
    let balancer = passing(&resolver, &format!("http://$arg_to:{}", origin.port));
    eventually("it is asked for anew", || {
        assert_eq!(balancer.client().get("/?to=a.test").text(), "named");
        1 < dns.asked("a.test", 1)
    });
}

#[test]
fn a_silent_name_server_costs_no_more_than_the_timeout() {
    let dns = Dns::start();
    dns.says("a.test", Says { is_silent: true, ..Says::default() });
    let resolver = format!("resolver 127.0.0.1:{}; resolver_timeout 300ms;", dns.port);
    let balancer = passing(&resolver, "http://$arg_to");
    assert_eq!(balancer.client().get("/?to=a.test").status, 502);
    let text = "a.test could not be resolved (110: Operation timed out)";
    eventually("it is told", || balancer.said().contains(text));
}

#[test]
fn addresses_of_a_name_are_tried_one_after_another() {
    let (dns, origin) = (Dns::start(), Origin::named("second"));
    dns.knows("a.test", &["127.0.0.2", "127.0.0.1"]);
    let resolver = format!("resolver 127.0.0.1:{} ipv6=off;", dns.port);
    let balancer = passing(&resolver, &format!("http://$arg_to:{}", origin.port));
    assert_eq!(balancer.client().get("/?to=a.test").text(), "second");
}

fn following(dns: &Dns, line: &str) -> Balancer {
    Balancer::start(&followed(dns, line))
}

fn followed(dns: &Dns, line: &str) -> String {
    format!(
        "resolver 127.0.0.1:{} valid=1s; upstream u {{ zone u 64k; {line} }} server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://u; }} }}",
        dns.port
    )
}

#[test]
fn a_group_follows_its_names_and_keeps_who_stays() {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let origin = Origin::start(move |seen, stream| {
        if seen.path() == "/slow" {
            held.wait();
        }
        text(stream, "here")
    });
    let (dns, port) = (Dns::start(), origin.port);
    let balancer = following(&dns, &format!("server app.test:{port} resolve;"));
    // It serves although nobody knows the name yet.
    assert_eq!(balancer.client().get("/").status, 502);
    dns.knows("app.test", &["127.0.0.1"]);
    eventually("the name is known", || balancer.client().get("/").status == 200);
    let mut slow = balancer.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is placed", || balancer.active() == 1);
    dns.knows("app.test", &["127.0.0.1", "127.0.0.3"]);
    let known = || balancer.said().matches("has 2 servers now").count();
    eventually("the other is there", || known() == 1);
    assert_eq!(balancer.active(), 1);
    gate.open();
    assert_eq!(slow.answer().text(), "here");
    eventually("no request counts", || balancer.active() == 0);
}

#[test]
fn a_service_names_ports_and_its_first_ones_serve() {
    let (first, second) = (Origin::named("first"), Origin::named("second"));
    let dns = Dns::start();
    dns.knows("one.test", &["127.0.0.1"]);
    let service = |priority, port| (priority, 1, port, "one.test".to_owned());
    let services = vec![service(2, second.port), service(1, first.port)];
    dns.says("_http._tcp.app.test", Says { services, ttl: 1, ..Says::default() });
    let balancer = following(&dns, "server app.test service=http resolve;");
    eventually("the service is known", || balancer.client().get("/").status == 200);
    for _ in 0..4 {
        assert_eq!(balancer.client().get("/").text(), "first");
    }
    let services = vec![service(1, free_port()), service(2, second.port)];
    dns.says("_http._tcp.app.test", Says { services, ttl: 1, ..Says::default() });
    eventually("the second serves", || balancer.client().get("/").text() == "second");
}

#[test]
fn a_service_whose_servers_cannot_be_looked_up_stays_as_it_is() {
    let (first, dns) = (Origin::named("first"), Dns::start());
    dns.knows("one.test", &["127.0.0.1"]);
    let services = vec![(1, 1, first.port, "one.test".to_owned())];
    dns.says("_http._tcp.app.test", Says { services, ttl: 1, ..Says::default() });
    let balancer = following(&dns, "server app.test service=http resolve;");
    eventually("the service is known", || balancer.client().get("/").status == 200);
    dns.says("one.test", Says { fails: true, ..Says::default() });
    let asked = dns.asked("one.test", 1);
    eventually("it is asked for twice more", || asked + 2 <= dns.asked("one.test", 1));
    assert_eq!(balancer.client().get("/").text(), "first");
}

#[test]
fn addresses_of_a_name_are_kept_when_its_line_gets_another_port() {
    let (first, second) = (Origin::named("first"), Origin::named("second"));
    let dns = Dns::start();
    dns.knows("app.test", &["127.0.0.1"]);
    let balancer = following(&dns, &format!("server app.test:{} resolve;", first.port));
    eventually("the name is known", || balancer.client().get("/").status == 200);
    dns.says("app.test", Says { fails: true, ..Says::default() });
    let line = format!("server app.test:{} resolve;", second.port);
    balancer.reload(&followed(&dns, &line));
    eventually("the other port serves", || balancer.client().get("/").text() == "second");
}

#[test]
fn what_is_followed_needs_a_zone_and_a_resolver_where_nginx_needs_them() {
    let origin = Origin::named("local");
    let line = format!("upstream u {{ server localhost:{} resolve; }}", origin.port);
    let balancer = passing(&line, "http://u");
    eventually("the system knows it", || balancer.client().get("/").text() == "local");
}
