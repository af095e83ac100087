//! What stands in a file comes back from it.

use std::num::NonZeroU32;

use super::*;
use crate::conf::testing::directive;

fn block(text: &str) -> Settings {
    let block = directive(&format!("upstream u {{ {text} }}"));
    let mut settings = Settings::new(block.words[1].clone(), block.close.clone());
    let catalog = Catalog::default();
    let mut reading = Reading::new(&catalog, Dialect::Extended);
    reading.apply(
        Block::Upstream,
        block.children(),
        &[&Table::new(rows::ROWS, |it| it)],
        &mut settings,
    );
    assert!(reading.problems.is_empty(), "{:?}", reading.problems);
    settings
}

fn parsed(state: &str, text: &str) -> Result<Vec<Line>, Vec<String>> {
    let lines = lines(&block(state), false, Path::new("/f"), text.as_bytes());
    lines.map_err(|problems| problems.iter().map(ConfError::to_string).collect())
}

#[track_caller]
fn refused(state: &str, text: &str, expected: &str) {
    let problems = parsed(state, text).unwrap_err();
    assert!(problems[0].contains(expected), "{text}: {problems:?}");
}

#[test]
fn a_line_that_is_written_is_read_as_what_it_was() {
    let default = Terms::default();
    let all = Terms {
        weight: NonZeroU32::new(3).unwrap(),
        max_conns: NonZeroU32::new(4),
        max_fails: None,
        fail_timeout: Duration::from_mins(1),
        slow_start: Some(Duration::from_secs(30)),
        backup: true,
        down: true,
        ..default
    };
    let bound = Binding { route: Some("a \"b\\;".into()), drain: true };
    for (place, terms, binding) in [
        ("10.0.0.1:80", default, Binding::default()),
        ("[::1]:8080", all, bound),
        ("unix:/run/a b.sock", default, Binding::default()),
    ] {
        let text = line(place, &terms, &binding);
        let lines = parsed("state f;", &text).unwrap();
        assert_eq!((&*lines[0].word, lines[0].terms), (place, terms), "{text}");
        assert_eq!(lines[0].binding, binding, "{text}");
    }
    assert_eq!(line("a:1", &default, &Binding::default()), "server a:1;\n");
}

#[test]
fn a_file_holds_servers_and_nothing_else() {
    assert_eq!(parsed("state f;", "").unwrap().len(), 0);
    assert_eq!(parsed("state f;", "# a\nserver a; server b down;\n").unwrap().len(), 2);
    refused("state f;", "server a; least_conn;", "\"least_conn\"");
    refused("state f;", "server;", "invalid number of arguments");
    refused("state f;", "server a weight=0;", "invalid parameter \"weight=0\" in /f:1");
    refused("state f;", "include other;", "other");
    refused("state f;", "server a", "unexpected end of file");
    assert!(parsed("state f;", "server a resolve;").is_ok());
    refused("state f watch=1s;", "server a resolve;", "not followed");
}
