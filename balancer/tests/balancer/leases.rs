//! A request counts from the pick to its end, whatever ends it.

use std::io::{Read, Write};

use crate::support::{Balancer, Origin, eventually};

/// Reads until the balancer ends the connection, and says nothing.
fn silent() -> Origin {
    Origin::raw(|mut stream| {
        // A reset ends it too.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

fn before(origin: &Origin) -> Balancer {
    Balancer::start(&format!(
        "upstream u {{ server {}; }} server {{ listen 127.0.0.1:PORT; server_name s; location / {{ proxy_pass http://u; }} }}",
        origin.name()
    ))
}

#[test]
fn a_client_that_leaves_frees_the_server_and_is_counted_as_4xx() {
    for resets in [true, false] {
        let origin = silent();
        let balancer = before(&origin);
        let mut client = balancer.client();
        client.send("GET / HTTP/1.1\r\nHost: s\r\n\r\n");
        eventually("the request counts", || balancer.active() == 1);
        if resets {
            client.abort();
        } else {
            client.half_close();
            assert!(client.is_ended());
        }
        eventually("the request counts no more", || balancer.active() == 0);
        eventually("the server's connection is closed", || origin.ended() == 1);
        eventually("it is counted", || {
            balancer.metric("balancer_requests_total", &["code=\"4xx\""]) == Some(1)
        });
    }
}

#[test]
fn nothing_stays_counted_after_three_hundred_aborts() {
    // Half of the answer, then silence: clients leave before, during and after its head.
    let origin = Origin::raw(|mut stream| {
        let mut buffer = [0; 1024];
        while let Ok(1..) = stream.read(&mut buffer) {
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").is_err() {
                break;
            }
        }
    });
    let balancer = before(&origin);
    for number in 0_usize..300 {
        let mut client = balancer.client();
        let request = b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 8\r\n\r\nabcdefgh";
        // A different point of the request and of the answer each time.
        let sent = 1 + (number * 7) % request.len();
        client.send(&request[..sent]);
        if sent == request.len() || number % 3 == 0 {
            client.send(&request[sent..]);
            client.bytes(1 + number % 40);
        }
        if number % 2 == 0 { client.abort() } else { drop(client) }
    }
    eventually("no request counts", || balancer.active() == 0);
    eventually("no connection is open", || {
        balancer.metric("nginx_connections_active", &[]) == Some(0)
    });
    eventually("every connection to the server is closed", || origin.ended() == origin.opened());
    assert!(origin.opened() > 50);
}
