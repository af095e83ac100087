//! Does a group keep serving when its servers or its clients do not behave, as its directives ask?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Balancer, Client, Gate, Next, Origin, eventually, free_port, text};

/// A group of these `server` lines with these directives; `lines` stand in the location.
fn group(servers: &[&str], directives: &str, lines: &str) -> Balancer {
    let servers: String = servers.iter().map(|it| format!("server {it}; ")).collect();
    Balancer::start(&format!(
        "upstream u {{ {directives} {servers} }} server {{ listen 127.0.0.1:PORT; \
         location / {{ proxy_pass http://u; {lines} }} }}"
    ))
}

fn busy(stream: &mut TcpStream) -> Next {
    let head = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";
    if stream.write_all(head.as_bytes()).is_ok() { Next::Keep } else { Next::Close }
}

/// Reads until the balancer ends the connection, and says nothing.
fn silent() -> Origin {
    Origin::raw(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

fn count(balancer: &Balancer, name: &str, label: &str) -> u64 {
    balancer.metric(name, &[label]).unwrap()
}

#[test]
fn of_a_server_that_answers_503_only_at_most_ten_answers_are_passed_on() {
    let (bad, good) = (Origin::start(|_, stream| busy(stream)), Origin::named("good"));
    let balancer = group(&[&bad.name(), &good.name()], "outlier_ejection;", "");
    // A connection ends after a thousand requests.
    let mut clients = [balancer.client(), balancer.client()];
    let bad_answers = (0..1034).filter(|it| clients[it % 2].get("/").status == 503).count();
    assert!((1..=10).contains(&bad_answers), "{bad_answers}");
    assert_eq!(count(&balancer, "balancer_ejections_total", "reason=\"5xx\""), 1);
    let labels = ["state=\"ejected\"", &format!("server=\"{}\"", bad.name())];
    assert_eq!(balancer.metric("balancer_upstream_server_state", &labels), Some(1));
    assert!(balancer.said().contains("is ejected for 30s"), "{}", balancer.said());
    // A reload does not bring it back, but one that takes the directive away does.
    let text = |directives: &str| {
        format!(
            "upstream u {{ {directives} server {}; server {}; }} server {{ listen 127.0.0.1:PORT; \
             location / {{ proxy_pass http://u; }} }}",
            bad.name(),
            good.name()
        )
    };
    balancer.reload(&text("outlier_ejection;"));
    assert!((0..20).all(|_| balancer.client().get("/").status == 200));
    balancer.reload(&text(""));
    eventually("it is asked again", || balancer.client().get("/").status == 503);
}

#[test]
fn no_more_servers_sit_out_than_the_percentage_allows() {
    let bad = [(); 3].map(|()| Origin::start(|_, stream| busy(stream)));
    let names = bad.each_ref().map(Origin::name);
    let names = names.each_ref().map(String::as_str);
    let directives = "outlier_ejection consecutive_5xx=2 max_percent=67;";
    let balancer = group(&names, directives, "");
    let mut client = balancer.client();
    assert!((0..30).all(|_| client.get("/").text() == "busy"));
    let out = balancer.metric("balancer_upstream_server_state", &["state=\"ejected\""]);
    assert_eq!(out, Some(2));
}

#[test]
fn a_server_that_hangs_is_left_after_three_requests_and_no_get_is_lost() {
    let (bad, good) = (silent(), Origin::named("good"));
    let servers = [format!("{} fail_timeout=1h", bad.name()), good.name()];
    let servers = servers.each_ref().map(String::as_str);
    let balancer = group(&servers, "", "proxy_read_timeout 200ms;");
    let mut client = balancer.client();
    assert!((0..40).all(|_| client.get("/").text() == "good"));
    assert!(bad.opened() <= 3, "{}", bad.opened());
}

#[test]
fn where_all_look_failed_a_threshold_has_the_next_request_tried() {
    let port = free_port();
    let servers = [port, free_port()].map(|it| format!("127.0.0.1:{it} fail_timeout=1h"));
    let servers = servers.each_ref().map(String::as_str);
    let balancer = group(&servers, "panic_threshold 50%;", "");
    let mut client = balancer.client();
    assert!((0..3).all(|_| client.get("/").status == 502));
    let back = Origin::at(port, |_, stream| text(stream, "back"));
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "back");
    }
    assert_eq!(back.seen().len(), 10);
    assert!(!balancer.said().contains("no live upstreams"), "{}", balancer.said());
    assert!(balancer.said().contains("0 of 2 servers of upstream \"u\" are usable"));
}

#[test]
fn retries_end_where_the_budget_does() {
    let reset = || Origin::start(|_, _| Next::Reset);
    let good = Origin::named("good");
    let servers = |bad: &Origin| {
        [format!("{} max_fails=0", bad.name()), format!("{} max_fails=0", good.name())]
    };
    let bad = reset();
    let lines = servers(&bad);
    let lines = lines.each_ref().map(String::as_str);
    let balancer = group(&lines, "retry_budget percent=0 min=1;", "");
    let mut client = balancer.client();
    assert!((0..6).all(|_| client.get("/").text() == "good"));
    let balancer = group(&lines, "retry_budget percent=0 min=0;", "");
    let mut client = balancer.client();
    let lost = (0..6).filter(|_| client.get("/").status == 502).count();
    assert_eq!(lost, 3);
    assert_eq!(balancer.metric("balancer_retry_budget_exhausted_total", &[]), Some(3));
    assert_eq!(balancer.metric("balancer_retries_total", &[]), Some(0));
    // An answer that may not be asked for again is passed on as it is.
    let bad = Origin::start(|_, stream| busy(stream));
    let lines = servers(&bad);
    let lines = lines.each_ref().map(String::as_str);
    let directives = "retry_budget percent=0 min=0 window=10s;";
    let balancer = group(&lines, directives, "proxy_next_upstream http_503;");
    let mut client = balancer.client();
    assert_eq!((0..6).filter(|_| client.get("/").text() == "busy").count(), 3);
}

#[test]
fn no_attempt_starts_when_the_time_of_all_is_over() {
    let bad = [silent(), silent(), silent()];
    let names = bad.each_ref().map(Origin::name);
    let names = names.each_ref().map(String::as_str);
    let lines = "proxy_read_timeout 300ms; proxy_next_upstream_timeout 400ms;";
    let balancer = group(&names, "", lines);
    assert_eq!(balancer.client().get("/").status, 504);
    assert_eq!(bad.iter().map(Origin::opened).sum::<usize>(), 2);
    eventually("no request counts", || balancer.active() == 0);
}

/// A server that answers one request after the other, each when its gate is opened.
fn gated(gates: &[Arc<Gate>]) -> (Origin, Arc<AtomicUsize>) {
    let (gates, most) = (gates.to_vec(), Arc::new(AtomicUsize::new(0)));
    let (now, kept) = (AtomicUsize::new(0), Arc::clone(&most));
    let origin = Origin::start(move |seen, stream| {
        kept.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        if let Some(gate) = seen.path()[1..].parse::<usize>().ok().and_then(|it| gates.get(it)) {
            gate.wait();
        }
        now.fetch_sub(1, Ordering::SeqCst);
        text(stream, seen.path())
    });
    (origin, most)
}

fn asks(balancer: &Balancer, number: usize) -> Client {
    let mut client = balancer.client();
    client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client
}

#[test]
fn requests_wait_in_order_for_a_server_that_is_full() {
    let gates: Vec<_> = (0..2).map(|_| Arc::<Gate>::default()).collect();
    let (origin, most) = gated(&gates);
    let name = format!("{} max_conns=1", origin.name());
    let balancer = group(&[&name], "queue 3 timeout=1h;", "");
    let waiting = || balancer.metric("balancer_upstream_queue_requests", &[]).unwrap();
    let mut clients = vec![asks(&balancer, 0)];
    eventually("the server is busy", || balancer.active() == 1);
    for number in 1..4 {
        clients.push(asks(&balancer, number));
        eventually("it waits", || waiting() == number as u64);
    }
    assert_eq!(balancer.client().get("/9").status, 502);
    assert_eq!(balancer.metric("balancer_upstream_queue_overflows_total", &[]), Some(1));
    // Who leaves leaves the queue.
    clients.remove(2).abort();
    eventually("it has left", || waiting() == 2);
    gates.iter().for_each(|it| it.open());
    for (client, path) in clients.iter_mut().zip(["/0", "/1", "/3"]) {
        assert_eq!(client.answer().text(), path);
    }
    let order: Vec<_> = origin.seen().iter().map(|it| it.path().to_owned()).collect();
    assert_eq!(
        (order.as_slice(), most.load(Ordering::SeqCst)),
        (&["/0", "/1", "/3"].map(String::from)[..], 1)
    );
    let waited = balancer.metric("balancer_upstream_queue_seconds_count", &[]);
    assert_eq!(waited, Some(2));
    eventually("no request counts", || balancer.active() == 0 && waiting() == 0);
}

#[test]
fn whoever_waits_too_long_is_told_so_and_a_log_has_how_long() {
    let gate = Arc::<Gate>::default();
    let (origin, _) = gated(&[Arc::clone(&gate)]);
    let balancer = Balancer::start(&format!(
        "log_format q \"$uri $status $upstream_queue_time\"; upstream u {{ queue 9 timeout=100ms; \
         server {} max_conns=1; }} server {{ listen 127.0.0.1:PORT; access_log q.log q; \
         location / {{ proxy_pass http://u; }} }}",
        origin.name()
    ));
    let mut first = asks(&balancer, 0);
    eventually("the server is busy", || balancer.active() == 1);
    assert_eq!(balancer.client().get("/1").status, 502);
    gate.open();
    assert_eq!(first.answer().status, 200);
    eventually("it is logged", || balancer.file("q.log").lines().count() == 2);
    let log = balancer.file("q.log");
    assert!(log.contains("/1 502 0.") && log.contains("/0 200 -"), "{log}");
    assert!(balancer.said().contains("upstream queue timed out while connecting to upstream"));
}

#[test]
fn many_workers_share_one_queue_and_no_limit_is_overshot() {
    let (origin, most) = gated(&[]);
    let name = format!("{} max_conns=2", origin.name());
    let balancer = Balancer::start_with(
        3,
        &format!(
            "upstream u {{ queue 100; server {name}; }} server {{ listen 127.0.0.1:PORT; \
             location / {{ proxy_pass http://u; }} }}"
        ),
    );
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = balancer.client();
                assert!((0..20).all(|_| client.get("/x").status == 200));
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 2);
    eventually("no request counts", || balancer.active() == 0);
}

#[test]
fn ten_times_more_than_a_server_can_is_refused_at_once_and_the_rest_is_served_in_time() {
    const PLACES: usize = 4;
    const SERVICE: Duration = Duration::from_millis(40);
    // Four requests at a time; whoever comes later waits in the server.
    let free = Arc::new((std::sync::Mutex::new(PLACES), std::sync::Condvar::new()));
    let origin = Origin::start(move |_, stream| {
        let (places, freed) = &*free;
        let mut left = freed.wait_while(places.lock().unwrap(), |it| *it == 0).unwrap();
        *left -= 1;
        drop(left);
        thread::sleep(SERVICE);
        *places.lock().unwrap() += 1;
        freed.notify_one();
        text(stream, "done")
    });
    let balancer = group(&[&origin.name()], "concurrency_limit gradient samples=10;", "");
    let (is_over, done, shed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let until = Instant::now() + Duration::from_secs(4);
    thread::scope(|scope| {
        for _ in 0..10 * PLACES {
            scope.spawn(|| {
                let mut client = balancer.client();
                while !is_over.load(Ordering::Relaxed) {
                    let answer = client.get("/");
                    if answer.status == 200 {
                        done.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
                    shed.fetch_add(1, Ordering::Relaxed);
                    // Keeps the load ten times too high without taking the machine.
                    thread::sleep(SERVICE);
                }
            });
        }
        thread::sleep(until.saturating_duration_since(Instant::now()));
        is_over.store(true, Ordering::Relaxed);
    });
    let (done, shed) = (done.load(Ordering::Relaxed), shed.load(Ordering::Relaxed));
    // In four seconds, forty milliseconds each.
    let most = 100 * PLACES;
    println!("{done} of {most} answered, {shed} refused");
    // How near to the most it comes and how long it takes is for a machine that is not loaded.
    assert!(most / 4 < done && 0 < shed, "{done} of {most}, {shed} refused");
    assert_eq!(count(&balancer, "balancer_shed_total", "reason=\"concurrency\""), shed as u64);
    let limit = balancer.metric("balancer_upstream_concurrency_limit", &[]).unwrap();
    assert!(3 <= limit, "{limit}");
    eventually("no request counts", || balancer.active() == 0);
}
