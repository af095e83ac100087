//! `rewrite`, `if`, `set`, `return`, `error_page`, captures and named locations, from outside.

use crate::support::{Balancer, Origin};

/// A server with these lines, and what it answers to each path.
#[track_caller]
fn check(lines: &str, answers: &[(&str, u16, &str)]) {
    let balancer = Balancer::start(&format!("server {{ listen 127.0.0.1:PORT; {lines} }}"));
    for (path, status, expected) in answers {
        let answer = balancer.client().get(path);
        let text = match answer.field("location") {
            Some(target) => target.to_owned(),
            None => answer.text().to_owned(),
        };
        assert_eq!(answer.status, *status, "{path}");
        assert!(text.contains(expected), "{path}: {text}");
    }
}

#[test]
fn lines_run_in_the_order_of_the_file() {
    check(
        "location / { set $a 1; if ($arg_x = y) { set $a 2; } set $b \"${a}0\"; return 200 $b; set $b 9; }",
        &[("/", 200, "10"), ("/?x=y", 200, "20")],
    );
}

#[test]
fn the_last_if_that_holds_gives_its_settings() {
    check(
        "location / { add_header X-A outer; if ($arg_a) { add_header X-A first; } if ($arg_b) { return 200 b; } return 200 \"$uri\"; }",
        &[("/x", 200, "/x"), ("/x?b=1", 200, "b"), ("/x?b=0", 200, "/x")],
    );
}

#[test]
fn a_rewrite_leads_on_stays_or_redirects() {
    check(
        "rewrite ^/first/(.*)$ /second/$1; rewrite ^/second/stop$ /third last; rewrite ^/third$ /never; \
         location / { return 200 \"$uri?$args\"; } \
         location /again { rewrite ^/again/(.*)$ /x/$1?c=d last; } \
         location /drop { rewrite ^ /x? last; } \
         location /out { rewrite ^ http://a/b?c=d; } \
         location /perm { rewrite ^/perm(.*) /to$1 permanent; } \
         location /loop { rewrite ^ /loop; }",
        &[
            ("/first/x?a=b", 200, "/second/x?a=b"),
            ("/first/stop", 200, "/third?"),
            ("/again/y?e=f", 200, "/x/y?c=d&e=f"),
            ("/drop?e=f", 200, "/x?"),
            ("/out?e=f", 302, "http://a/b?c=d&e=f"),
            ("/perm/%25", 301, "/to/%25"),
            ("/loop", 500, "500 Internal Server Error"),
        ],
    );
}

#[test]
fn groups_of_the_last_match_are_variables() {
    check(
        "location ~ ^/u/(?<name>[a-z]+)/(.*)$ { return 200 \"$name-$2\"; } \
         location / { if ($uri ~* ^/A(.)) { return 200 \"$1\"; } return 200 \"none$1\"; }",
        &[("/u/joe/x%20y", 200, "joe-x y"), ("/ab", 200, "b"), ("/x", 200, "none")],
    );
}

#[test]
fn an_error_leads_to_a_path_a_named_location_or_elsewhere() {
    check(
        "error_page 404 /missing; \
         location / { return 404; } \
         location = /missing { internal; return 200 \"m $uri $request_method\"; } \
         location /named { error_page 403 =200 @n; return 403; } \
         location @n { return 200 \"named $uri\"; } \
         location /asis { error_page 403 = /missing; return 403; } \
         location /away { error_page 403 http://a/; return 403; } \
         location /nowhere { error_page 403 @none; return 403; }",
        &[
            ("/x", 404, "m /missing GET"),
            ("/missing", 404, "m /missing GET"),
            ("/named/x", 200, "named /named/x"),
            ("/asis", 200, "m /missing GET"),
            ("/away", 302, "http://a/"),
            ("/nowhere", 500, "500 Internal Server Error"),
        ],
    );
}

#[test]
fn a_failed_upstream_leads_to_its_page() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("a bound socket has an address")
    };
    check(
        &format!(
            "location / {{ error_page 502 =200 @sorry; proxy_pass http://{closed}; }} \
             location @sorry {{ return 200 sorry; }}"
        ),
        &[("/x", 200, "sorry")],
    );
}

#[test]
fn a_rewritten_path_is_what_the_upstream_gets() {
    let origin = Origin::named("o");
    let name = origin.name();
    check(
        &format!(
            "location /a/ {{ rewrite ^/a/(.*)$ /b/$1 break; proxy_pass http://{name}/c/; }} \
             location /d/ {{ proxy_pass http://{name}/c/; }} \
             location /e/ {{ if ($arg_x) {{ set $y 1; }} proxy_pass http://{name}; }} \
             location /f {{ limit_except GET {{ return 403; }} proxy_pass http://{name}; }}"
        )
        .replace("{ return 403; }", "{ }"),
        &[("/a/1%202?q=3", 200, "o"), ("/d/1", 200, "o"), ("/e/1?x=1", 200, "o"), ("/f", 200, "o")],
    );
    let paths: Vec<_> = origin.seen().iter().map(|it| it.path().to_owned()).collect();
    assert_eq!(paths, ["/b/1%202?q=3", "/c/1", "/e/1?x=1", "/f"]);
}

#[test]
fn a_server_is_named_by_an_expression() {
    let balancer = Balancer::start(
        "server { listen 127.0.0.1:PORT; return 200 other; } \
         server { listen 127.0.0.1:PORT; server_name ~^(?<who>.+)\\.example$; return 200 \"$who\"; }",
    );
    let mut client = balancer.client();
    for (host, expected) in [("joe.example", "joe"), ("joe", "other")] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.answer().text(), expected, "{host}");
    }
}

/// What a server with these lines answers, and `http` around it.
#[track_caller]
fn check_http(http: &str, text: &str, answers: &[(&str, &str)]) {
    let balancer = Balancer::start(&format!(
        "{http} server {{ listen 127.0.0.1:PORT; location / {{ return 200 \"{text}\"; }} }}"
    ));
    let mut client = balancer.client();
    for (path, expected) in answers {
        assert_eq!(client.get(path).text(), *expected, "{path}");
    }
}

#[test]
fn a_map_is_looked_into_in_nginx_s_order() {
    check_http(
        "map $arg_a $m { hostnames; default d; A.b exact; *.b leading; w.* trailing; \
           ~^x(?<rest>.*)$ \"re-$rest\"; ~*^Y caseless; \\default literal; } \
         map \"$m/$arg_c\" $twice { default $m; exact/1 both; } \
         map $arg_c $none { 2 two; }",
        "$m $twice $none.",
        &[
            ("/?a=a.B&c=1", "exact both ."),
            ("/?a=z.b", "leading leading ."),
            ("/?a=w.z", "trailing trailing ."),
            ("/?a=xyz&c=2", "re-yz re-yz two."),
            ("/?a=y", "caseless caseless ."),
            ("/?a=default", "literal literal ."),
            ("/?a=q", "d d ."),
        ],
    );
}

#[test]
fn a_geo_takes_the_longest_network() {
    check_http(
        "geo $arg_ip $g { default d; 10.0.0.0/8 ten; 10.1.0.0/16 one; 2001:db8::/32 six; } \
         geo $arg_ip $r { ranges; default d; 10.0.0.1-10.0.0.9 low; 10.0.0.3-10.0.0.4 hole; } \
         geo $own { 127.0.0.0/8 here; }",
        "$g $r $own",
        &[
            ("/?ip=10.1.2.3", "one d here"),
            ("/?ip=10.0.0.3", "ten hole here"),
            ("/?ip=10.0.0.9", "ten low here"),
            ("/?ip=2001:db8::1", "six d here"),
            ("/?ip=nonsense", "d d here"),
        ],
    );
}

#[test]
fn clients_are_split_as_nginx_splits_them() {
    // Counted with nginx 1.22 over /?k=0 … /?k=9.
    check_http("split_clients $arg_k $s { 50% a; 30% b; * c; }", "$s", &SPLIT);
}

/// What nginx 1.22 answers.
const SPLIT: [(&str, &str); 10] = [
    ("/?k=0", "a"),
    ("/?k=1", "a"),
    ("/?k=2", "a"),
    ("/?k=3", "b"),
    ("/?k=4", "a"),
    ("/?k=5", "a"),
    ("/?k=6", "a"),
    ("/?k=7", "c"),
    ("/?k=8", "a"),
    ("/?k=9", "b"),
];

#[test]
fn variables_tell_of_the_request_and_of_its_upstream() {
    let origin = Origin::named("o");
    let name = origin.name();
    let balancer = Balancer::start(&format!(
        "upstream shop {{ server {name}; }} server {{ listen 127.0.0.1:PORT; \
         location / {{ proxy_pass http://shop; }} \
         location /p {{ proxy_set_header X-P \"$proxy_host|$proxy_port|$ssl_protocol\"; proxy_pass http://{name}; }} \
         location /id {{ return 200 \"$request_id $request_id\"; }} }}"
    ));
    let mut client = balancer.client();
    client.get("/p");
    let port = name.rsplit(':').next().unwrap().to_owned();
    let seen = origin.seen();
    assert!(seen[0].head.contains(&format!("X-P: {name}|{port}|\r\n")), "{}", seen[0].head);
    let [one, two] = [(); 2].map(|()| client.get("/id").text().to_owned());
    let (first, again) = one.split_once(' ').unwrap();
    assert_eq!((first.len(), first), (32, again));
    assert_ne!(one, two);
}
