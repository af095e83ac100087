use super::*;
use crate::conf::read;
use crate::conf::testing::{Texts, syntax};

/// A directive as one line, its block in braces.
fn shown(directives: &[Directive]) -> String {
    let one = |it: &Directive| {
        let words: Vec<&str> = it.words.iter().map(Word::as_str).collect();
        match &it.block {
            None => words.join(" ") + ";",
            Some(block) => format!("{} {{{}}}", words.join(" "), shown(block)),
        }
    };
    directives.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn messages(syntax: &Syntax) -> Vec<String> {
    syntax.problems.iter().map(ConfError::line).collect()
}

#[track_caller]
fn check(text: &str, directives: &str, problems: &[&str]) {
    let syntax = syntax(text);
    assert_eq!(shown(&syntax.directives), directives, "{text}");
    let expected: Vec<_> = problems.iter().map(|it| format!("nginx: [emerg] {it}")).collect();
    assert_eq!(messages(&syntax), expected, "{text}");
}

#[test]
fn blocks_hold_directives() {
    check("a; b { c d; e { } } f;", "a; b {c d; e {}} f;", &[]);
    check("", "", &[]);
}

#[test]
fn braces_must_balance() {
    check("a {\n b {\n", "a {b {}}", &["unexpected end of file, expecting \"}\" in nginx.conf:3"]);
    check("a;\n}\nb;", "a; b;", &["unexpected \"}\" in nginx.conf:2"]);
}

#[test]
fn the_block_that_is_not_closed_is_named() {
    let problem = syntax("http {\n server {\n }\n").problems.remove(0);
    assert_eq!(problem.help.unwrap(), "the block `http` of line 1 is not closed");
}

#[test]
fn every_mistake_is_found() {
    check(
        "a \"b\"c;\nd {\n e f }\n;\ng;\n",
        "d {} g;",
        &[
            "unexpected \"c\" in nginx.conf:1",
            "unexpected \"}\" in nginx.conf:3",
            "unexpected \";\" in nginx.conf:4",
        ],
    );
}

#[test]
fn an_open_quote_is_one_mistake_however_many_blocks_it_leaves_open() {
    let problem = "unexpected end of file, expecting \";\" or \"}\" in nginx.conf:4";
    check("a {\n b {\n c \"d; }\n}", "a {b {}}", &[problem]);
}

#[test]
fn blocks_do_not_nest_without_end() {
    let text = "a {".repeat(DEEPEST + 5) + "b;" + &"}".repeat(DEEPEST + 5);
    let text_problem = "nginx: [emerg] too many nested blocks in nginx.conf:1";
    assert_eq!(messages(&syntax(text)), [text_problem]);
    let unclosed = "nginx: [emerg] unexpected end of file, expecting \"}\" in nginx.conf:1";
    assert_eq!(messages(&syntax("a {".repeat(1_000_000))), [text_problem, unclosed]);
}

/// Reads `nginx.conf` of a set of texts below `/etc/nginx`.
fn read_set(texts: &[(&str, &str)]) -> Syntax {
    let place = |name: &str| format!("/etc/nginx/{name}");
    let all = texts.iter().fold(Texts::default(), |all, (name, text)| all.with(&place(name), text));
    read(Path::new("/etc/nginx/nginx.conf"), "", &all)
}

#[track_caller]
fn check_set(texts: &[(&str, &str)], directives: &str, problems: &[&str]) {
    let syntax = read_set(texts);
    assert_eq!(shown(&syntax.directives), directives);
    let expected: Vec<_> = problems.iter().map(|it| format!("nginx: [emerg] {it}")).collect();
    assert_eq!(messages(&syntax), expected);
}

#[test]
fn an_included_file_stands_where_it_is_named() {
    check_set(
        &[("nginx.conf", "a; b { include x.conf; c; } d;"), ("x.conf", "x { y; }")],
        "a; b {x {y;} c;} d;",
        &[],
    );
}

#[test]
fn names_of_included_files_begin_at_the_main_file() {
    check_set(
        &[
            ("nginx.conf", "include sub/x.conf; include /etc/nginx/sub/y.conf;"),
            ("sub/x.conf", "include sub/y.conf;"),
            ("sub/y.conf", "y;"),
        ],
        "y; y;",
        &[],
    );
}

#[test]
fn a_pattern_includes_its_matches_in_order_and_may_have_none() {
    check_set(
        &[
            ("nginx.conf", "include conf.d/*.conf; include none/*; z;"),
            ("conf.d/b.conf", "b;"),
            ("conf.d/a.conf", "a;"),
            ("conf.d/c.txt", "c;"),
        ],
        "a; b; z;",
        &[],
    );
}

#[test]
fn a_missing_file_is_told_where_it_is_named() {
    let text = "open() \"/etc/nginx/x.conf\" failed (2: No such file or directory)";
    check_set(
        &[("nginx.conf", "a;\ninclude\n x.conf\n;\nb;")],
        "a; b;",
        &[&format!("{text} in /etc/nginx/nginx.conf:4")],
    );
    let absent = read(Path::new("/nowhere/nginx.conf"), "", &Texts::default());
    let text =
        "nginx: [emerg] open() \"/nowhere/nginx.conf\" failed (2: No such file or directory)";
    assert_eq!(messages(&absent), [text]);
}

#[test]
fn mistakes_of_an_included_file_name_that_file() {
    check_set(
        &[("nginx.conf", "a {\ninclude x.conf;\n}\nb;"), ("x.conf", "x;\n}\ny {\n")],
        "a {x; y {}} b;",
        &[
            "unexpected \"}\" in /etc/nginx/x.conf:2",
            "unexpected end of file, expecting \"}\" in /etc/nginx/x.conf:4",
        ],
    );
}

#[test]
fn a_file_that_includes_itself_is_refused() {
    check_set(
        &[("nginx.conf", "include x.conf;"), ("x.conf", "x;\ninclude nginx.conf;")],
        "x;",
        &[
            "open() \"/etc/nginx/nginx.conf\" failed (24: Too many open files) in /etc/nginx/x.conf:2",
        ],
    );
}

#[test]
fn an_include_with_other_than_one_name_is_left_to_the_rows() {
    check("include a b; include { } include;", "include a b; include {} include;", &[]);
}

#[test]
fn the_dump_holds_each_file_once_in_order_of_opening() {
    let syntax = read_set(&[
        ("nginx.conf", "include b.conf; include a.conf;\nb { include b.conf; }"),
        ("a.conf", "a;"),
        ("b.conf", "b;\n"),
    ]);
    let expected = "\
# configuration file /etc/nginx/nginx.conf:
include b.conf; include a.conf;
b { include b.conf; }
# configuration file /etc/nginx/b.conf:
b;

# configuration file /etc/nginx/a.conf:
a;
";
    assert_eq!(String::from_utf8(syntax.sources.dump()).unwrap(), expected);
    assert_eq!(syntax.includes.len(), 3);
}

#[test]
fn what_g_gives_comes_first_and_holds_no_blocks() {
    let texts = Texts::default().with("nginx.conf", "b;").with("x.conf", "x;");
    let read = |parameter| read(Path::new("nginx.conf"), parameter, &texts);
    assert_eq!(shown(&read("a; include x.conf;").directives), "a; x; b;");
    let syntax = read("http { a; } c; }");
    assert_eq!(shown(&syntax.directives), "c; b;");
    let expected = [
        "nginx: [emerg] block directives are not supported in -g option in command line",
        "nginx: [emerg] unexpected \"}\" in command line",
    ];
    assert_eq!(messages(&syntax), expected);
}

#[test]
fn a_byte_order_mark_is_taken_off_with_a_warning() {
    let syntax = syntax("\u{feff}a;");
    assert_eq!(shown(&syntax.directives), "a;");
    let text = "the byte order mark at the start of the file is ignored in nginx.conf:1";
    assert_eq!(messages(&syntax), [format!("nginx: [warn] {text}")]);
}

#[test]
fn a_block_knows_where_it_is_closed() {
    let directive = syntax("a b\nc {\n d;\n}\n").directives.remove(0);
    assert_eq!((directive.span.line, directive.mark.line, directive.close.line), (2, 2, 4));
    assert_eq!(directive.span.range(), 0..5);
}
