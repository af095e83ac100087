use super::*;

#[expect(clippy::unnecessary_wraps, reason = "compared with what a parse returns")]
fn complete(length: usize, header: Option<Header>) -> Result<Progress, Broken> {
    Ok(Progress::Complete { length, header })
}

/// `SOURCE DESTINATION PORT PORT`.
#[expect(clippy::unnecessary_wraps, reason = "a header may also be absent")]
fn header(text: &str) -> Option<Header> {
    let words: Vec<&str> = text.split(' ').collect();
    Some(Header {
        source: words[0].to_owned(),
        destination: words[1].to_owned(),
        source_port: words[2].parse().unwrap(),
        destination_port: words[3].parse().unwrap(),
        tlvs: Vec::new(),
    })
}

/// Reads a line, `>` standing for its end, with bytes of the connection behind it.
#[track_caller]
fn check(line: &str, expected: Result<Option<&str>, &str>) {
    let line = line.replace('>', "\r\n");
    let bytes = [line.as_bytes(), b"GET /\n"].concat();
    let expected = match expected {
        Ok(says) => complete(line.len(), says.and_then(header)),
        Err(shown) => Err(Broken(format!("broken header: \"{shown}\""))),
    };
    assert_eq!(parse(&bytes), expected, "{line:?}");
}

#[test]
fn a_line_names_the_client() {
    let four = "192.0.2.1 192.0.2.2 1234 5678";
    check("PROXY TCP4 192.0.2.1 192.0.2.2 1234 5678>", Ok(Some(four)));
    check("PROXY TCP6 2001:db8::1 ::2 0 65535>", Ok(Some("2001:db8::1 ::2 0 65535")));
    check("PROXY UNKNOWN>", Ok(None));
    check("PROXY UNKNOWN 1 2 3 4 5 6>", Ok(None));
}

#[test]
fn a_line_that_is_broken_is_shown_to_its_end() {
    for line in [
        "GET / HTTP/1.1>",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2>",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536>",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 >",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1>",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3>",
        "PROXY TCP4 192.0.2.g 192.0.2.2 1 2>",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2>",
    ] {
        check(line, Err(line.trim_end_matches('>')));
    }
    assert!(parse(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n").is_err());
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat();
    assert!(matches!(parse(&long[..106]), Ok(Progress::Partial)));
    assert!(parse(&long[..107]).is_err());
}

#[test]
fn every_beginning_of_a_header_waits_for_more() {
    let (client, local) = ("192.0.2.1:1", "192.0.2.2:2");
    let (client, local) = (client.parse().ok(), local.parse().ok());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    write_v1(client, local, &mut first);
    write_v2(client, local, &mut second);
    for whole in [first, second] {
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Ok(Progress::Partial), "{:?}", &whole[..end]);
        }
        assert_eq!(parse(&whole), complete(whole.len(), header("192.0.2.1 192.0.2.2 1 2")));
    }
}

/// A header of version 2 with this command, family and body.
fn second(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family][..], &length, body].concat()
}

#[test]
fn what_says_nothing_of_a_client_is_passed_over() {
    let four = [192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2];
    for (command, family) in [(0x20, 0x11), (0x21, 0x12), (0x21, 0x31), (0x21, 0x01)] {
        let bytes = second(command, family, &four);
        assert_eq!(parse(&bytes), complete(28, None), "{command:x} {family:x}");
    }
}

#[test]
fn a_broken_binary_header_is_refused() {
    let reason = |bytes: &[u8]| parse(bytes).unwrap_err().0;
    assert_eq!(reason(&second(0x31, 0x11, &[])), "unknown PROXY protocol version: 3");
    assert_eq!(reason(&second(0x21, 0x11, &[0; 11])), "broken header: addresses are missing");
    assert_eq!(reason(&second(0x21, 0x21, &[0; 35])), "broken header: addresses are missing");
    let head = second(0x21, 0x11, &[0; LONGEST - 15]);
    assert_eq!(reason(&head[..16]), "header is too large");
}

#[test]
fn values_are_found_by_name_and_by_number() {
    let ssl = [&[0x20, 0, 11, 7, 0, 0, 0, 9][..], &[0x22, 0, 3], b"foo"].concat();
    let tlvs = [&[0x01, 0, 2][..], b"h2", &[0xEE, 0, 0], &ssl, &[0x02, 0, 9, b'x']].concat();
    let header = Header { tlvs, ..Header::default() };
    let value = |name: &str| {
        let mut out = Vec::new();
        let tlv = Tlv::named(name)?;
        tlv.write(&header, &mut out).then(|| String::from_utf8(out).unwrap())
    };
    for (name, expected) in [
        ("alpn", Some("h2")),
        ("0x01", Some("h2")),
        ("0xee", Some("")),
        ("ssl_cn", Some("foo")),
        ("ssl_0x22", Some("foo")),
        ("ssl_verify", Some("9")),
        ("ssl_cipher", None),
        // Its length goes beyond the list.
        ("authority", None),
        ("netns", None),
        ("nope", None),
        ("0x100", None),
    ] {
        assert_eq!(value(name).as_deref(), expected, "{name}");
    }
}

#[test]
fn families_that_differ_are_unknown_in_a_line_and_mapped_in_bytes() {
    let address = |text: &str| text.parse::<SocketAddr>().ok();
    let mut line = Vec::new();
    write_v1(address("[2001:db8::1]:1234"), address("127.0.0.1:80"), &mut line);
    write_v1(None, None, &mut line);
    write_v1(address("[::1]:1"), address("[::2]:2"), &mut line);
    assert_eq!(line, b"PROXY UNKNOWN\r\nPROXY UNKNOWN\r\nPROXY TCP6 ::1 ::2 1 2\r\n");
    let read = |client, local| {
        let mut bytes = Vec::new();
        write_v2(client, local, &mut bytes);
        parse(&bytes)
    };
    let mixed = read(address("[2001:db8::1]:1234"), address("127.0.0.1:80"));
    assert_eq!(mixed, complete(52, header("2001:db8::1 ::ffff:127.0.0.1 1234 80")));
    let demoted = read(address("[::ffff:1.2.3.4]:1"), address("[::ffff:127.0.0.1]:80"));
    assert_eq!(demoted, complete(28, header("1.2.3.4 127.0.0.1 1 80")));
    assert_eq!(read(None, None), complete(16, None));
}
