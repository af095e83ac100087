//! Does the page show what happens, to everybody, as a browser shows it?

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::{Balancer, Client, Origin, TOKEN, eventually, free_port, text};

/// Two groups: one with a server that answers, one that is full and one that is down.
fn shop(origin: u16) -> Balancer {
    let closed = free_port();
    Balancer::start(&format!(
        "upstream shop {{ least_conn; server 127.0.0.1:{origin} max_conns=8 weight=3; \
         server 127.0.0.1:{closed} fail_timeout=1h; server 127.0.0.3:{origin} down; server 127.0.0.2:{origin} backup; }} \
         upstream reports {{ server 127.0.0.1:{origin}; }} \
         server {{ listen PORT; location / {{ proxy_pass http://shop; }} \
         location /reports {{ proxy_pass http://reports; }} }}"
    ))
}

/// An origin that answers `/held` when it is told to, and everything else at once.
fn origin() -> (Origin, Sender<()>) {
    let (release, held) = channel();
    let held = Arc::new(Mutex::new(held));
    let origin = Origin::start(move |seen, out| {
        if seen.path() == "/held" {
            let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(20));
        }
        text(out, "abc")
    });
    (origin, release)
}

/// What the page says of requests in flight on `shop`.
const IN_FLIGHT: &str = "[...document.querySelectorAll('section')]\
    .find(it => it.querySelector('h2').textContent === 'shop')\
    ?.querySelector('p').textContent.match(/(\\d+) in flight/)[1]";

#[test]
fn the_page_follows_within_a_second() {
    let Some(mut browser) = Browser::start() else { return };
    let (origin, release) = origin();
    let balancer = shop(origin.port);
    browser.open(&balancer.admin_url("/"));
    assert_eq!(browser.run(IN_FLIGHT), "0");
    let mut waits = Vec::new();
    for _ in 0..3 {
        let mut client = balancer.client();
        client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("the request is in flight", || balancer.active() == 1);
        for (shown, end) in [("1", false), ("0", true)] {
            if end {
                release.send(()).unwrap();
                client.answer();
            }
            let since = Instant::now();
            eventually("the page shows it", || browser.run(IN_FLIGHT) == shown);
            waits.push(since.elapsed());
        }
    }
    // A busy machine may be late once, or twice.
    waits.sort_unstable();
    assert!(waits[2] < Duration::from_secs(1), "{waits:?}");
    assert_eq!(browser.run("document.getElementById('link').hidden"), true);
    drop(balancer);
    let lost = "document.getElementById('link').hidden";
    eventually("the page says that it is old", || browser.run(lost) == false);
}

#[test]
fn without_scripts_the_page_is_a_table_that_refreshes() {
    let Some(mut browser) = Browser::start() else { return };
    let (origin, _release) = origin();
    let balancer = shop(origin.port);
    browser.call("Emulation.setScriptExecutionDisabled", &json!({"value": true}));
    browser.open(&balancer.admin_url("/"));
    assert_eq!(browser.run("document.querySelectorAll('table').length"), 2);
    assert_eq!(browser.run("document.querySelectorAll('tbody tr').length"), 5);
    let first = "document.querySelector('tbody td[data-name=Requests]').textContent.trim()";
    assert_eq!(browser.run(first), "0");
    balancer.client().get("/reports");
    eventually("the page has loaded itself anew", || browser.run(first) == "1");
}

/// The least contrast between a text and what is behind it.
const CONTRAST: &str = "(() => {
    const light = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((it) => {
            const part = it / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (it) => {
        for (; it; it = it.parentElement) {
            const color = getComputedStyle(it).backgroundColor;
            if (color !== 'rgba(0, 0, 0, 0)') return color;
        }
        return 'rgb(255, 255, 255)';
    };
    const has_text = (it) => [...it.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    const ratios = [...document.body.querySelectorAll('*')].filter(has_text).map((it) => {
        const [a, b] = [light(getComputedStyle(it).color), light(ground(it))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    });
    return Math.min(...ratios);
})()";

#[test]
fn the_page_can_be_read_in_both_themes_and_on_a_phone() {
    let Some(mut browser) = Browser::start() else { return };
    let (origin, release) = origin();
    let balancer = shop(origin.port);
    let port = balancer.port;
    // Some load, so that there is something to see.
    let load = thread::spawn(move || {
        for number in 0..400 {
            let path = if number % 3 == 0 { "/reports" } else { "/" };
            Client::to(port).get(path);
            thread::sleep(Duration::from_millis(5));
        }
    });
    let held: Vec<_> = (0..3)
        .map(|_| {
            let mut client = balancer.client();
            client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    browser.open(&balancer.admin_url("/"));
    load.join().unwrap();
    let shown = "document.querySelectorAll('.state.unavail').length > 0 && \
                 document.querySelectorAll('.events li').length > 0";
    eventually("the page shows the failures", || browser.run(shown) == true);
    let mut grounds = Vec::new();
    for (scheme, width, name) in [
        ("light", 1280, "dashboard-light.png"),
        ("dark", 1280, "dashboard-dark.png"),
        ("dark", 390, ""),
        ("light", 390, ""),
    ] {
        browser.prefer(scheme);
        browser.resize(width, 700);
        let ground = browser.run("getComputedStyle(document.body).backgroundColor");
        grounds.push(ground.as_str().unwrap().to_owned());
        let least = browser.run(CONTRAST).as_f64().unwrap();
        assert!(least >= 4.5, "{scheme}, {width}: contrast {least}");
        let scrolls = "document.documentElement.scrollWidth - innerWidth";
        assert!(browser.run(scrolls).as_i64().unwrap() <= 0, "{scheme}, {width} is too wide");
        let picture = browser.photograph();
        assert!(picture.starts_with(b"\x89PNG") && picture.len() > 5000, "{}", picture.len());
        if let Ok(folder) = std::env::var("BALANCER_PICTURES")
            && !name.is_empty()
        {
            std::fs::write(Path::new(&folder).join(name), picture).unwrap();
        }
    }
    assert!(grounds[0] == grounds[3] && grounds[1] == grounds[2] && grounds[0] != grounds[1]);
    assert_eq!(browser.run("document.querySelectorAll('img,iframe,link[href*=\"//\"]').length"), 0);
    let loaded = browser.run("performance.getEntriesByType('resource').map(it => it.name).join()");
    let own = balancer.admin_url("/");
    for url in loaded.as_str().unwrap().split(',') {
        assert!(url.starts_with(&own), "{url}");
    }
    let headings = "[...document.querySelectorAll('table')].every(it => \
                    it.querySelectorAll('[role=columnheader][scope=col]').length === \
                    it.querySelector('tbody tr').children.length)";
    assert_eq!(browser.run(headings), true);
    release.send(()).unwrap();
    drop(held);
}

#[test]
fn whoever_knows_the_token_drains_a_server_on_the_page() {
    let Some(mut browser) = Browser::start() else { return };
    let (origin, _release) = origin();
    let balancer = Balancer::start_changeable(&format!(
        "upstream shop {{ server 127.0.0.1:{0}; server 127.0.0.2:{0}; }} \
         server {{ listen PORT; location / {{ proxy_pass http://shop; }} }}",
        origin.port
    ));
    browser.open(&balancer.admin_url("/"));
    let state = "document.querySelector('tbody td[data-name=State]').textContent.trim()";
    let click = |browser: &mut Browser, what: &str| {
        browser.run(&format!("document.querySelector('{what}').click()"));
    };
    let answer = |browser: &mut Browser, text: &str| {
        eventually("there is a question", || browser.run("ask.open") == true);
        browser.run(&format!("answer.value = '{text}'"));
        click(browser, "#ask button[value=go]");
    };
    click(&mut browser, "button[data-field=drain]");
    answer(&mut browser, "a-token-that-is-not-it");
    let refused = "!refusal.hidden && refusal.textContent === 'the token is not the right one'";
    eventually("the wrong token is refused", || browser.run(refused) == true);
    answer(&mut browser, TOKEN);
    eventually("the server drains", || {
        browser.run(state).as_str().is_some_and(|it| it.contains("draining"))
    });
    click(&mut browser, "button[data-field=policy]");
    answer(&mut browser, "least_conn");
    let policy = "document.querySelector('section p').textContent.includes('nginx-least-conn')";
    eventually("the policy is another one", || browser.run(policy) == true);
    click(&mut browser, "button[data-field=drain]");
    eventually("the server is back", || {
        browser.run(state).as_str().is_some_and(|it| it.contains("up"))
    });
    let least = browser.run(CONTRAST).as_f64().unwrap();
    assert!(least >= 4.5, "contrast {least}");
}

#[test]
fn a_terminal_shows_the_same() {
    let (origin, release) = origin();
    let balancer = shop(origin.port);
    let mut client = balancer.client();
    client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request is in flight", || balancer.active() == 1);
    // The server that is closed has least to do, and fails.
    assert_eq!(balancer.client().get("/").status, 200);
    let address = balancer.admin_url("").replace("http://", "");
    let top = |address: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_balancer"));
        command.args(["top", "--once", address]).output().unwrap()
    };
    let shown = top(&address);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    assert!(text.starts_with("balancer ") && text.contains("● serving"), "{text}");
    let line = |name: &str| text.lines().find(|it| it.starts_with(name)).unwrap_or_default();
    let first = line(&format!("127.0.0.1:{}  ", origin.port));
    assert!(line("shop  nginx-least-conn").contains("1 in flight"), "{text}");
    assert!(!text.contains('\x1b') && first.contains("● up"), "{text}");
    assert!(line("127.0.0.3").contains("■ down"), "{text}");
    // Nothing is cut where there is no terminal to be too narrow.
    let mut servers = text.lines().filter(|it| it.starts_with("127."));
    assert!(servers.any(|it| it.contains("  1 failure, tried again in ")), "{text}");
    release.send(()).unwrap();
    client.answer();
    drop(balancer);
    let shown = top(&address);
    let text = String::from_utf8(shown.stderr).unwrap();
    assert!(!shown.status.success() && text.contains(&address), "{text}");
}
