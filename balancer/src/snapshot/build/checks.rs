//! Health checks: each belongs to the group that its location passes requests on to.

use std::collections::HashMap;
use std::sync::Arc;

use crate::conf::ConfError;
use crate::http::location::Content;
use crate::http::proxy_pass::Goal;
use crate::http::server::Server;
use crate::upstream::check::{Check, rows::Line, test::Test};

/// The check that a location asks for.
pub(super) fn check(
    server: &Arc<Server>,
    location: usize,
    line: &Line,
    tests: &HashMap<String, Arc<Test>>,
) -> Result<Arc<Check>, ConfError> {
    let Content::Proxy(proxy) = &server.locations[location].content else {
        return Err(line.word.refuse("\"health_check\" requires \"proxy_pass\" to an upstream"));
    };
    let Goal::Fixed(upstream, _) = &proxy.goal else {
        let text = "\"health_check\" does not support variables in \"proxy_pass\"";
        return Err(line.word.refuse(text));
    };
    let test = match &line.test {
        Some(name) => {
            let test = tests.get(name.as_str());
            Some(test.ok_or_else(|| name.refuse(format!("match \"{name}\" not found")))?)
        }
        None => None,
    };
    let place = (Arc::clone(server), location);
    Ok(Arc::new(Check::of_location(Arc::clone(upstream), line, place, test.cloned())))
}
