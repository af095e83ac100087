use super::*;
use crate::conf::testing::directive;
use crate::conf::{Catalog, Dialect};

#[track_caller]
fn check(text: &str, expected: Result<(u16, Option<&str>), &str>) {
    let mut settings = Settings::default();
    let result = settings.answer(&directive(text));
    let actual = result.map_err(|it| it.reason).map(|()| match &settings.lines[0] {
        Line::Return(status, text) => (*status, text.as_deref()),
        other => panic!("{other:?}"),
    });
    assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
}

#[test]
fn a_code_a_text_or_both_are_returned() {
    check("return 204;", Ok((204, None)));
    check("return 200 ok;", Ok((200, Some("ok"))));
    check("return 301 /new;", Ok((301, Some("/new"))));
    check("return https://a/;", Ok((302, Some("https://a/"))));
    check("return $scheme://a/;", Ok((302, Some("$scheme://a/"))));
}

#[test]
fn other_codes_are_refused() {
    check("return 1000;", Err("invalid return code \"1000\""));
    check("return nope;", Err("invalid return code \"nope\""));
    check("return /new;", Err("invalid return code \"/new\""));
    check("return http://a/ b;", Err("invalid return code \"http://a/\""));
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let catalog = Catalog::default();
    let mut reading = Reading::new(&catalog, Dialect::Extended);
    let mut settings = Settings::default();
    let directive = directive(text);
    let result = match directive.name().as_str() {
        "set" => settings.set(&directive, &mut reading),
        "rewrite" => settings.rewrite(&directive, &mut reading),
        _ => condition(&directive, &mut reading).map(drop),
    };
    assert_eq!(result.unwrap_err().reason, expected, "{text}");
}

#[test]
fn broken_lines_are_told_as_nginx_tells_them() {
    refused("set a b;", "invalid variable name \"a\"");
    refused("set $host b;", "the duplicate \"host\" variable");
    refused("rewrite ^ '';", "empty replacement");
    refused("rewrite ^ /x never;", "invalid parameter \"never\"");
    let open = "pcre2_compile() failed: missing closing parenthesis in \"(\"";
    refused("rewrite ( /x;", open);
    refused("if $a { }", "invalid condition \"$a\"");
    refused("if ($a { }", "invalid condition \"$a\"");
    refused("if ($a b c d) { }", "invalid condition \"$a\"");
    refused("if ($a == b) { }", "unexpected \"==\" in condition");
    refused("if (-z b) { }", "invalid condition \"-z\"");
    refused("if (a) { }", "invalid condition \"a\"");
    refused("if ($a ~ () { }", open);
}
