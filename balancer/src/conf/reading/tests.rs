use super::*;
use crate::conf::error::sort;
use crate::conf::row::{Group, MANY, Table};
use crate::conf::testing::syntax;
use crate::conf::value;

/// A small world: a main block that opens `http`, which opens `server`.
#[derive(Debug, Default)]
struct Main {
    daemon: Option<bool>,
    user: Option<String>,
    http: Http,
}

#[derive(Debug, Default)]
struct Http {
    settings: Settings,
    servers: Vec<Server>,
}

#[derive(Debug, Default)]
struct Server {
    names: Vec<String>,
    settings: Settings,
}

/// What `http` and `server` have in common.
#[derive(Debug, Default)]
struct Settings {
    gzip: Gzip,
}

#[derive(Debug, Default)]
struct Gzip {
    on: Option<bool>,
    types: Vec<String>,
}

const MAIN: &[&dyn Rows<Main>] =
    &[&Table::new(&MAIN_ROWS, |it| it), &Table::new(&HTTP_BLOCK, |it: &mut Main| &mut it.http)];

const MAIN_ROWS: [Row<Main>; 5] = [
    Row {
        name: "user",
        within: &[Block::Main],
        arguments: 1..=1,
        effect: Effect::Set(|main, it| {
            main.user = Some(it.text().to_string());
            Err(it.name().refuse("the \"user\" directive makes no sense here").warning())
        }),
    },
    Row {
        name: "gzip_hash",
        within: &[Block::Main],
        arguments: 1..=1,
        effect: Effect::Refused("only in http"),
    },
    Row {
        name: "daemon",
        within: &[Block::Main],
        arguments: 1..=1,
        effect: Effect::Set(|main, it| {
            main.daemon = Some(it.flag()?);
            Ok(())
        }),
    },
    Row {
        name: "use",
        within: &[Block::Main],
        arguments: 1..=1,
        effect: Effect::Checked(
            |it| {
                value::choice(it.text(), &[("epoll", ())]).ok_or_else(|| it.text().invalid_value())
            },
            "the runtime chooses",
        ),
    },
    Row {
        name: "perl_modules",
        within: &[Block::Main],
        arguments: 1..=1,
        effect: Effect::Refused("do without"),
    },
];

const HTTP_BLOCK: [Row<Http>; 1] = [Row {
    name: "http",
    within: &[Block::Main],
    arguments: 0..=0,
    effect: Effect::Open(|http, it, reading| {
        reading.apply(Block::Http, it.children(), HTTP, http);
        if http.servers.is_empty() {
            return Err(ConfError::new("no server", it.close.clone()));
        }
        Ok(())
    }),
}];

const HTTP: &[&dyn Rows<Http>] =
    &[&Group::new(SETTINGS, |it: &mut Http| &mut it.settings), &Table::new(&SERVER_BLOCK, |it| it)];

const SERVER_BLOCK: [Row<Http>; 1] = [Row {
    name: "server",
    within: &[Block::Http],
    arguments: 0..=0,
    effect: Effect::Open(|http, it, reading| {
        let mut server = Server::default();
        reading.apply(Block::Server, it.children(), SERVER, &mut server);
        http.servers.push(server);
        Ok(())
    }),
}];

const SERVER: &[&dyn Rows<Server>] = &[
    &Table::new(&SERVER_ROWS, |it| it),
    &Group::new(SETTINGS, |it: &mut Server| &mut it.settings),
];

const SERVER_ROWS: [Row<Server>; 1] = [Row {
    name: "server_name",
    within: &[Block::Server],
    arguments: 1..=MANY,
    effect: Effect::Add(|server, it| {
        server.names.extend(it.arguments().iter().map(ToString::to_string));
        Ok(())
    }),
}];

const SETTINGS: &[&dyn Rows<Settings>] = &[
    &Table::new(&GZIP_ROWS, |it: &mut Settings| &mut it.gzip),
    &Table::extension(&OUR_ROWS, |it: &mut Settings| &mut it.gzip),
];

const GZIP_ROWS: [Row<Gzip>; 3] = [
    Row {
        name: "gzip",
        within: &[Block::Http, Block::Server],
        arguments: 1..=1,
        effect: Effect::Set(|gzip, it| {
            gzip.on = Some(it.flag()?);
            Ok(())
        }),
    },
    Row {
        name: "gzip_types",
        within: &[Block::Http, Block::Server],
        arguments: 1..=MANY,
        effect: Effect::Read(|gzip, it, reading| {
            for word in it.arguments() {
                if gzip.types.contains(&word.to_string()) {
                    reading.tell(word.refuse(format!("duplicate \"{word}\"")).warning());
                } else {
                    gzip.types.push(word.to_string());
                }
            }
            Ok(())
        }),
    },
    Row {
        name: "gzip_hash",
        within: &[Block::Http],
        arguments: 1..=1,
        effect: Effect::Nothing("nothing to size"),
    },
];

const OUR_ROWS: [Row<Gzip>; 1] = [Row {
    name: "gzip_well",
    within: &[Block::Server],
    arguments: 0..=0,
    effect: Effect::Set(|_, _| Ok(())),
}];

fn catalog() -> Catalog {
    Catalog::default().with(MAIN).with(HTTP).with(SERVER)
}

fn apply(text: &str, dialect: Dialect) -> (Main, Vec<ConfError>, Vec<Judgement>) {
    let mut syntax = syntax(text);
    let catalog = catalog();
    let mut reading = Reading::new(&catalog, dialect);
    reading.problems.append(&mut syntax.problems);
    let mut main = Main::default();
    reading.apply(Block::Main, &syntax.directives, MAIN, &mut main);
    sort(&mut reading.problems);
    (main, reading.problems, reading.judgements)
}

/// Each problem as nginx's line without its head, and the help.
#[track_caller]
fn check(text: &str, expected: &[(&str, &str)]) {
    let (_, problems, _) = apply(text, Dialect::Extended);
    let actual: Vec<_> =
        problems.iter().map(|it| (it.to_string(), it.help.clone().unwrap_or_default())).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(line, help)| (line.replace('@', " in nginx.conf:"), (*help).to_owned()))
        .collect();
    assert_eq!(actual, expected, "{text}");
}

#[test]
fn settings_reach_their_modules() {
    let text = "daemon off; http { gzip on; server { server_name a b; server_name c;\
                gzip_types x y; } server { gzip off; } }";
    let (main, problems, _) = apply(text, Dialect::Extended);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(main.daemon, Some(false));
    assert_eq!(main.http.settings.gzip.on, Some(true));
    let [first, second] = main.http.servers.as_slice() else { panic!("{main:?}") };
    assert_eq!(first.names, ["a", "b", "c"]);
    assert_eq!(first.settings.gzip.types, ["x", "y"]);
    assert_eq!((first.settings.gzip.on, second.settings.gzip.on), (None, Some(false)));
}

#[test]
fn checks_come_in_the_order_of_nginx() {
    check("nope 1 2 { }", &[("unknown directive \"nope\"@1", "")]);
    check(
        "gzip 1 2 { }",
        &[("\"gzip\" directive is not allowed here@1", "`gzip` belongs in `http` or `server`")],
    );
    check("daemon 1 2 { }", &[("directive \"daemon\" is not terminated by \";\"@1", "")]);
    check("http 1;", &[("directive \"http\" has no opening \"{\"@1", "")]);
    check("daemon 1 2;", &[("invalid number of arguments in \"daemon\" directive@1", "")]);
    check("daemon on; daemon 1;", &[("\"daemon\" directive is duplicate@1", "")]);
    let text = "invalid value \"1\" in \"daemon\" directive, it must be \"on\" or \"off\"@1";
    check("daemon 1;", &[(text, "")]);
    check("use kqueue;", &[("invalid value \"kqueue\"@1", "")]);
}

#[test]
fn a_lost_semicolon_is_guessed() {
    let counted = "invalid number of arguments in \"daemon\" directive@2";
    check("daemon on\nuse epoll;", &[(counted, "is a `;` missing before `use`?")]);
    let opened = "directive \"daemon\" is not terminated by \";\"@2";
    check("daemon on\nhttp { server { } }", &[(opened, "is a `;` missing before `http`?")]);
}

#[test]
fn an_unknown_name_is_told_the_nearest_one_of_its_block() {
    check("deamon on;", &[("unknown directive \"deamon\"@1", "did you mean `daemon`?")]);
    check(
        "http { server { gzip_type a; } }",
        &[("unknown directive \"gzip_type\"@1", "did you mean `gzip_types`?")],
    );
    check(
        "http { servername a; server { } }",
        &[(
            "unknown directive \"servername\"@1",
            "did you mean `server_name`? `server_name` belongs in `server`",
        )],
    );
}

#[test]
fn a_name_of_a_missing_module_is_told_the_module() {
    let help = "module brotli is not part of balancer; compress with `gzip`";
    check("http { brotli on; server { } }", &[("unknown directive \"brotli\"@1", help)]);
}

#[test]
fn a_refused_name_is_unknown_wherever_it_stands() {
    let text = "unknown directive \"perl_modules\"@1";
    check("perl_modules a b;", &[(text, "do without")]);
    check("http { perl_modules a; server { } }", &[(text, "do without")]);
}

#[test]
fn a_name_refused_in_one_block_may_be_known_in_another() {
    check("gzip_hash 1;", &[("unknown directive \"gzip_hash\"@1", "only in http")]);
    check(
        "http { server { gzip_hash 1; } }",
        &[("\"gzip_hash\" directive is not allowed here@1", "`gzip_hash` belongs in `http`")],
    );
}

#[test]
fn a_wrong_include_is_refused_in_any_block() {
    check("include a b;", &[("invalid number of arguments in \"include\" directive@1", "")]);
    check("include a { }", &[("directive \"include\" is not terminated by \";\"@1", "")]);
}

#[test]
fn every_problem_is_told_in_the_order_in_which_nginx_reads() {
    check(
        "http {\n gzip maybe;\n serve { gzip on; }\n \"a\"b;\n gzip_hash;\n}\ndaemon no;\n",
        &[
            ("invalid value \"maybe\" in \"gzip\" directive, it must be \"on\" or \"off\"@2", ""),
            ("unknown directive \"serve\"@3", "did you mean `server`?"),
            ("unexpected \"b\"@4", ""),
            ("invalid number of arguments in \"gzip_hash\" directive@5", ""),
            ("no server@6", ""),
            ("invalid value \"no\" in \"daemon\" directive, it must be \"on\" or \"off\"@7", ""),
        ],
    );
}

#[test]
fn values_may_repeat_in_another_block() {
    check("http { gzip on; server { gzip on; } server { gzip on; } }", &[]);
    check(
        "http { gzip_hash 1; gzip_hash 1; server { } }",
        &[("\"gzip_hash\" directive is duplicate@1", "")],
    );
}

#[test]
fn a_warning_leaves_the_directive_in_force() {
    let (main, problems, judgements) =
        apply("http { server { gzip_types a a b; } }", Dialect::Extended);
    assert_eq!(main.http.servers[0].settings.gzip.types, ["a", "b"]);
    assert_eq!(problems[0].line(), "nginx: [warn] duplicate \"a\" in nginx.conf:1");
    assert!(judgements.iter().all(|it| it.verdict == Verdict::Honoured), "{judgements:?}");
}

#[test]
fn a_setter_may_end_with_a_warning() {
    let (main, problems, judgements) = apply("user nobody;", Dialect::Extended);
    assert_eq!(main.user.as_deref(), Some("nobody"));
    assert_eq!(problems.len(), 1);
    assert_eq!(judgements[0].verdict, Verdict::Honoured);
}

/// Each directive and parameter with its verdict.
#[track_caller]
fn check_verdicts(text: &str, dialect: Dialect, expected: &[(&str, Verdict)]) {
    let (_, _, judgements) = apply(text, dialect);
    let mut actual: Vec<_> =
        judgements.iter().map(|it| (it.span.start, it.subject.as_str(), &it.verdict)).collect();
    actual.sort_by_key(|(start, ..)| *start);
    let actual: Vec<_> =
        actual.into_iter().map(|(_, subject, verdict)| (subject, verdict.clone())).collect();
    assert_eq!(actual, expected);
}

#[test]
fn every_directive_has_one_verdict() {
    let refused = |it: &str, help: Option<&str>| Verdict::Refused {
        reason: format!("unknown directive \"{it}\""),
        help: help.map(str::to_owned),
    };
    check_verdicts(
        "use epoll; http { gzip_hash 1; nope; server { gzip_well; } } perl_modules a;",
        Dialect::Extended,
        &[
            ("use", Verdict::WithoutEffect("the runtime chooses")),
            ("http", Verdict::Honoured),
            ("gzip_hash", Verdict::WithoutEffect("nothing to size")),
            ("nope", refused("nope", None)),
            ("server", Verdict::Honoured),
            ("gzip_well", Verdict::Extension),
            ("perl_modules", refused("perl_modules", Some("do without"))),
        ],
    );
}

#[test]
fn a_refusal_that_points_at_an_argument_is_the_verdict_of_that_argument() {
    let (_, _, judgements) = apply("use kqueue;", Dialect::Extended);
    assert_eq!(judgements[0].subject, "use kqueue");
    assert_eq!(judgements[0].span.text(), "kqueue");
}

#[test]
fn words_of_our_own_are_unknown_where_only_nginx_counts() {
    let text = "http { server { gzip_well; } }";
    let (_, problems, _) = apply(text, Dialect::Strict);
    assert_eq!(problems[0].reason, "unknown directive \"gzip_well\"");
    let (_, problems, _) = apply("gzip_well;", Dialect::Strict);
    assert_eq!(problems[0].reason, "unknown directive \"gzip_well\"");
}

#[test]
fn a_list_block_opens_no_blocks() {
    let directive = syntax("types {\n a b;\n c { d; }\n}").directives.remove(0);
    let entries: Vec<_> =
        directive.entries().map(|it| it.map(|it| it.name().to_string())).collect();
    assert_eq!(entries[0].as_deref().unwrap(), "a");
    let error = entries[1].as_ref().unwrap_err();
    assert_eq!(error.to_string(), "unexpected \"{\" in nginx.conf:3");
}
