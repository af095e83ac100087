//! Log formats by name, and the access logs that use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::conf::{ConfError, Word};
use crate::http::variable::{Template, Unknown};
use crate::logs::AccessLog;
use crate::logs::rows::{AccessLine, Format};

/// Formats by name.
pub(super) type Formats = BTreeMap<String, Arc<Template>>;

/// nginx's own.
const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status \
                        $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// Looks the variables of all formats up.
pub(super) fn formats(lines: &[Format], problems: &mut Vec<ConfError>) -> Formats {
    let combined = Template::compile(COMBINED).expect("nginx's format has nginx's variables");
    let mut formats = Formats::from([("combined".to_owned(), Arc::new(combined))]);
    for line in lines {
        let text: String = line.parts.iter().map(Word::as_str).collect();
        match Template::compile(&text) {
            Ok(format) => {
                formats.insert(line.name.to_string(), Arc::new(format));
            }
            Err(Unknown(name)) => {
                problems.push(ConfError::unplaced(format!("unknown \"{name}\" variable")));
            }
        }
    }
    formats
}

/// The access logs of a location.
pub(super) fn access_logs(
    lines: Option<&[AccessLine]>,
    formats: &Formats,
) -> Result<Vec<AccessLog>, ConfError> {
    let log = |line: &AccessLine| {
        let name = line.format.as_ref();
        let format = formats.get(name.map_or("combined", Word::as_str)).ok_or_else(|| {
            let word = name.unwrap_or(&line.path);
            word.refuse(format!("unknown log format \"{word}\""))
        })?;
        Ok(AccessLog { format: Arc::clone(format) })
    };
    lines.unwrap_or_default().iter().map(log).collect()
}
