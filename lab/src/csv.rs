//! How are tables kept as text?
//!
//! Comma-separated values as in RFC 4180: what has a comma, a quote or a line break is quoted.

use std::fmt::Write;

/// One line, ended.
pub fn line<T: AsRef<str>>(fields: &[T]) -> String {
    let mut text = String::new();
    for (i, field) in fields.iter().map(AsRef::as_ref).enumerate() {
        let comma = if i == 0 { "" } else { "," };
        // Writing to a string does not fail.
        _ = if field.contains([',', '"', '\n', '\r']) {
            write!(text, "{comma}\"{}\"", field.replace('"', "\"\""))
        } else {
            write!(text, "{comma}{field}")
        };
    }
    text + "\n"
}

/// The records of a text; empty lines are none.
pub fn records(text: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let (mut record, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(it) = rest.next() {
        match it {
            '"' if quoted && rest.peek() == Some(&'"') => field.extend(rest.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(std::mem::take(&mut field)),
            '\r' if !quoted => (),
            '\n' if !quoted => {
                record.push(std::mem::take(&mut field));
                all.push(std::mem::take(&mut record));
            }
            it => field.push(it),
        }
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        all.push(record);
    }
    all.retain(|it| it.iter().any(|it| !it.is_empty()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let fields = ["a", "", "b,c", "say \"no\"", "two\nlines"];
        let text = line(&fields) + &line(&["x"]);
        assert_eq!(records(&text), [fields.map(str::to_owned).to_vec(), vec!["x".to_owned()]]);
        assert_eq!(
            records("a,b\r\n\r\n1,2"),
            [["a", "b"], ["1", "2"]].map(|it| it.map(str::to_owned).to_vec())
        );
    }
}
