use super::*;

fn parse(text: &str) -> Result<Request, u16> {
    let mut request = Request::default();
    match request.parse(text.as_bytes(), &Limits::default()) {
        Ok(Progress::Complete) => Ok(request),
        Ok(Progress::Partial) => Err(0),
        Err(refusal) => Err(refusal.status),
    }
}

#[track_caller]
fn check(text: &str, expected: u16) {
    let found = parse(text).map_or_else(|status| status, |_| 200);
    assert_eq!(found, expected, "{text:?}");
    // However the bytes arrive, the verdict is the same.
    let mut request = Request::default();
    let mut verdict = 0;
    for end in 1..=text.len() {
        match request.parse(&text.as_bytes()[..end], &Limits::default()) {
            Ok(Progress::Partial) => continue,
            Ok(Progress::Complete) => verdict = 200,
            Err(refusal) => verdict = refusal.status,
        }
        break;
    }
    assert_eq!(verdict, expected, "{text:?} byte by byte");
}

#[test]
fn a_plain_request_is_taken_apart() {
    let text = "GET /a/b?c=d HTTP/1.1\r\nHost: shop\r\nX-One: 1\r\n\r\n";
    let request = parse(text).unwrap();
    let bytes = text.as_bytes();
    assert_eq!(request.method.of(bytes), b"GET");
    assert_eq!(request.path_and_query.of(bytes), b"/a/b?c=d");
    assert_eq!(request.line.of(bytes), b"GET /a/b?c=d HTTP/1.1");
    assert_eq!(request.fields.len(), 2);
    assert!(request.keep_alive);
    assert_eq!(request.end, text.len());
}

#[test]
fn the_authority_of_an_absolute_target_is_kept_apart() {
    let text = "GET http://shop:81/a?b HTTP/1.1\r\nHost: other\r\n\r\n";
    let request = parse(text).unwrap();
    assert_eq!(request.authority.unwrap().of(text.as_bytes()), b"shop:81");
    assert_eq!(request.path_and_query.of(text.as_bytes()), b"/a?b");
    let text = "GET http://shop HTTP/1.1\r\nHost: shop\r\n\r\n";
    assert!(parse(text).unwrap().path_and_query.is_empty());
}

#[test]
fn bare_line_feeds_and_leading_empty_lines_are_tolerated_in_the_head() {
    check("\r\n\nGET / HTTP/1.1\nHost: a\n\n", 200);
}

#[test]
fn versions_are_served_or_refused_as_nginx_does() {
    check("GET /\r\n", 200);
    check("POST /\r\n", 400);
    check("GET / HTTP/1.0\r\n\r\n", 200);
    check("GET / HTTP/1.7\r\nHost: a\r\n\r\n", 200);
    check("GET / HTTP/2.0\r\n", 505);
    check("GET / HTTP/1\r\n", 400);
    check("GET / HTTP/0.9\r\n", 400);
    check("GET / http/1.1\r\n", 400);
    check("GET / HTTP/1.1  \r\nHost: a\r\n\r\n", 200);
}

#[test]
fn request_lines_that_are_none_are_refused() {
    check("get / HTTP/1.1\r\n", 400);
    check("GET\r\n", 400);
    check("GET  \r\n", 400);
    check("GET a HTTP/1.1\r\n", 400);
    check("GET * HTTP/1.1\r\n", 400);
    check("GET /a b HTTP/1.1\r\n", 400);
    check("GET /a\tb HTTP/1.1\r\n", 400);
    check("GET 1tp://a/ HTTP/1.1\r\n", 400);
    check("GET f_p://a/ HTTP/1.1\r\n", 400);
    check("GET http://user@a/ HTTP/1.1\r\n", 400);
    check("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405);
    check("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405);
}

#[test]
fn a_host_is_needed_once_and_valid() {
    check("GET / HTTP/1.1\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400);
    check("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400);
    check("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400);
}

#[test]
fn lengths_that_could_be_read_in_two_ways_are_refused() {
    for value in ["+1", "-1", "1,1", "1, 2", "0x1", "1 1", "", "99999999999999999999", "1.0"] {
        check(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {value}\r\n\r\n"), 400);
    }
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400);
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    );
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\n\r\n", 200);
}

#[test]
fn only_the_chunked_coding_is_known_and_only_in_http_1_1() {
    let coding = |version: &str, value: &str| {
        format!("POST / HTTP/{version}\r\nHost: a\r\nTransfer-Encoding: {value}\r\n\r\n")
    };
    check(&coding("1.1", "chunked"), 200);
    check(&coding("1.1", "Chunked"), 200);
    check(&coding("1.0", "chunked"), 400);
    for value in
        ["gzip", "gzip, chunked", "chunked, chunked", "chunked,", "identity", "xchunked", ""]
    {
        check(&coding("1.1", value), 501);
    }
    check(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    );
}

#[test]
fn a_head_beyond_its_limits_is_refused_before_it_ends() {
    let long = "a".repeat(9000);
    check(&format!("GET /{long} HTTP/1.1\r\n"), 414);
    check(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 494);
    let many = "X: y\r\n".repeat(1001);
    check(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 494);
}

#[test]
fn names_with_underscores_are_dropped_unless_allowed() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\n\r\n";
    assert_eq!(parse(text).unwrap().fields.len(), 1);
    let mut request = Request::default();
    let limits = Limits { underscores: true, ..Limits::default() };
    assert_eq!(request.parse(text.as_bytes(), &limits), Ok(Progress::Complete));
    assert_eq!(request.fields.len(), 2);
}

#[test]
fn the_connection_stays_open_as_the_version_and_the_sender_say() {
    let keeps = |version: &str, value: &str| {
        parse(&format!("GET / HTTP/{version}\r\nHost: a\r\n{value}\r\n")).unwrap().keep_alive
    };
    assert!(keeps("1.1", ""));
    assert!(!keeps("1.1", "Connection: close\r\n"));
    assert!(!keeps("1.1", "Connection: Keep-Alive, Close\r\n"));
    assert!(!keeps("1.0", ""));
    assert!(keeps("1.0", "Connection: keep-alive\r\n"));
}

#[test]
fn a_tls_hello_is_refused_at_once() {
    let mut request = Request::default();
    assert!(request.parse(b"\x16\x03\x01", &Limits::default()).is_err());
}
