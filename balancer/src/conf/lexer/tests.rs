use super::*;

/// The first statement: its words in brackets and its end, or the message with its line.
#[track_caller]
fn check(text: impl AsRef<[u8]>, expected: &str) {
    let text = text.as_ref();
    let actual = match lexer(text).statement(1) {
        Ok(it) => shown(&it),
        Err(it) => format!("{} at {}", it.error.reason, it.error.span.unwrap().line),
    };
    assert_eq!(actual, expected, "{}", String::from_utf8_lossy(text));
}

fn lexer(text: &[u8]) -> Lexer {
    let name = Some("nginx.conf".to_owned());
    Lexer::new(Arc::new(Source { name, bytes: text.to_vec() }))
}

fn shown(statement: &Statement) -> String {
    let words: Vec<_> = statement.words.iter().map(|it| format!("[{it}]")).collect();
    let end = match statement.end {
        End::Semicolon => ";",
        End::Open => "{",
        End::Close => "}",
        End::Text => "$",
    };
    words.concat() + end
}

#[test]
fn white_space_separates_words() {
    check("a b\tc\r\nd\n;", "[a][b][c][d];");
    check("  a{", "[a]{");
    check("\r\n}", "}");
    check(" \n", "$");
    check("", "$");
}

#[test]
fn a_comment_begins_only_where_a_word_may() {
    check("# a;\nb;", "[b];");
    check("a#b c # d;\n;", "[a#b][c];");
    check("a \"#b\" ;", "[a][#b];");
    check("a # b", "unexpected end of file, expecting \";\" or \"}\" at 1");
    check("# only", "$");
}

#[test]
fn quotes_hold_a_word_together() {
    check("a \"b c;\n{}\" 'd \"e';", "[a][b c;\n{}][d \"e];");
    check("a \"\";", "[a][];");
    check("a b\"c d\";", "[a][b\"c][d\"];");
    check("if ($a = \"b\") {", "[if][($a][=][b][)]{");
    check("if ($a = 'b'){", "[if][($a][=][b][)]{");
}

#[test]
fn after_a_quote_the_word_must_end() {
    check("a \"b\"c;", "unexpected \"c\" at 1");
    check("a\n'b'\"c\";", "unexpected \"\"\" at 2");
    check("a \"b\"};", "unexpected \"}\" at 1");
    check("a \"b\"ä;", "unexpected \"ä\" at 1");
    check("a \"b\"{", "[a][b]{");
}

#[test]
fn a_backslash_hides_the_next_byte_and_often_stays() {
    check("a b\\ c;", "[a][b\\ c];");
    check("a b\\;c;", "[a][b\\;c];");
    check("a \\\"b\\\" \\'c\\' d\\\\e;", "[a][\"b\"]['c'][d\\e];");
    check("a \"\\t\\r\\n\\d\\$\";", "[a][\t\r\n\\d\\$];");
    check("a ^/x\\.(png|gif)$;", "[a][^/x\\.(png|gif)$];");
    check("a \\{;", "[a][\\{];");
    check("a \\#b;", "[a][\\#b];");
}

#[test]
fn a_brace_behind_a_dollar_belongs_to_the_word() {
    check("a ${b}c;", "[a][${b}c];");
    check("a x${b};", "[a][x${b}];");
    check("a ${{b;", "[a][${{b];");
    check("a /b{", "[a][/b]{");
    check("a $\\x{", "[a][$\\x]{");
    check("a b$ {", "[a][b$]{");
}

#[test]
fn a_closing_brace_counts_only_where_a_word_may_begin() {
    check("a b};", "[a][b}];");
    check("a b }", "unexpected \"}\" at 1");
    check("a}", "unexpected end of file, expecting \";\" or \"}\" at 1");
}

#[test]
fn an_end_without_a_word_is_unexpected() {
    check("\n;", "unexpected \";\" at 2");
    check("{", "unexpected \"{\" at 1");
}

#[test]
fn the_end_of_the_text_inside_a_directive_is_unexpected() {
    let text = "unexpected end of file, expecting \";\" or \"}\"";
    check("a", &format!("{text} at 1"));
    check("a b\n\n", &format!("{text} at 3"));
    check("a \"b;\n}\n", &format!("{text} at 3"));
    check("a \"b\"", &format!("{text} at 1"));
    check("a \\", &format!("{text} at 1"));
}

#[test]
fn what_g_gives_ends_with_its_own_message() {
    let mut lexer = Lexer::new(Arc::new(Source { name: None, bytes: b"daemon off".to_vec() }));
    let error = lexer.statement(1).unwrap_err().error;
    let expected = "unexpected end of parameter, expecting \";\" in command line";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_word() {
    check("\u{feff}a;", "[a];");
    check("a \u{feff}b;", "[a][\u{feff}b];");
}

#[test]
fn bytes_that_are_not_utf8_are_kept() {
    let word = lexer(b"a \xff\xe9;").statement(1).unwrap().words.remove(1);
    assert_eq!(word.as_bytes(), b"\xff\xe9");
    assert_eq!(word.as_str(), "\u{fffd}\u{fffd}");
}

/// The lengths were measured on nginx 1.22.
#[test]
fn a_word_may_fill_all_but_one_byte_of_the_buffer() {
    let x = |count| "x".repeat(count);
    let quote = "too long parameter, probably missing terminating \"\"\" character at 1";
    let word = "too long parameter \"xxxxxxxxxx...\" started at 1";
    check(format!("a {};", x(4095)), &format!("[a][{}];", x(4095)));
    check(format!("a {};", x(4096)), word);
    check(format!("a {} ;", x(4094)), &format!("[a][{}];", x(4094)));
    check(format!("a {} ;", x(4095)), word);
    check(format!("a \"{}\";", x(4094)), &format!("[a][{}];", x(4094)));
    check(format!("a \"{}\";", x(4095)), word);
    check(format!("a \"{}\" ;", x(4094)), word);
    check(format!("a \"{}\";", x(4096)), quote);
    check(format!("a '{};", "x\n".repeat(4096)), &quote.replace("\"\"\"", "\"'\""));
    check(format!("#{}\na;", x(4096)), "too long parameter \"#xxxxxxxxx...\" started at 1");
}

#[test]
fn words_are_told_at_the_line_on_which_the_directive_ends() {
    let statement = lexer(b"\nlisten\n  \"80\"\n;").statement(1).unwrap();
    let places: Vec<_> =
        statement.words.iter().map(|it| (it.span.line, it.span.position())).collect();
    assert_eq!(places, [(4, (2, 1)), (4, (3, 3))]);
    assert_eq!(statement.mark.position(), (4, 1));
}

/// Reads on after the first mistake, and shows the next statement.
#[track_caller]
fn check_next(text: &str, expected: &str) {
    let mut lexer = lexer(text.as_bytes());
    let broken = lexer.statement(1).unwrap_err();
    lexer.skip(broken.rest);
    assert_eq!(shown(&lexer.statement(2).unwrap()), expected, "{text}");
}

#[test]
fn reading_goes_on_behind_the_broken_directive() {
    check_next("a \"b\"c d; e;", "[e];");
    check_next("a \"b\"c d { f; g { h; } } e;", "[e];");
    check_next("a \"b\"c \"d\"e f; g;", "[g];");
    check_next("; e;", "[e];");
    check_next("{ a; { b; } } e;", "[e];");
    check_next("a \"b\"c }", "}");
    check_next("a b } c;", "}");
    check_next("a \"b\"c; }", "}");
}

#[test]
fn behind_an_open_quote_nothing_is_trusted() {
    check_next("a \"b; c; }", "$");
    check_next(&format!("a \"{}; c;", "x".repeat(5000)), "$");
}
