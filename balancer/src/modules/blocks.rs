//! The blocks that stand in a location, or are one.

use crate::conf::{Block, ConfError, Directive, Reading};
use crate::http::location::{self, Kind};
use crate::http::rewrite;
use crate::modules::{LOCATION, LocationBlock, Own, Scope, once};

pub(super) fn location(
    directive: &Directive,
    outer: Option<&location::Pattern>,
    reading: &mut Reading<'_>,
) -> Result<LocationBlock, ConfError> {
    let pattern = location::Pattern::read(directive)?;
    if let Some(outer) = outer {
        pattern.check_inside(outer)?;
    }
    if let Some(regex) = &pattern.regex {
        regex.names().for_each(|(_, it)| reading.define(it));
    }
    Ok(block_within(directive, pattern, Block::Location, reading))
}

/// Reads what stands between the braces of a location, an `if` or a `limit_except`.
fn block_within(
    directive: &Directive,
    pattern: location::Pattern,
    kind: Block,
    reading: &mut Reading<'_>,
) -> LocationBlock {
    let mut location = LocationBlock {
        pattern,
        scope: Scope::default(),
        own: Own::default(),
        locations: Vec::new(),
        limit_except: None,
        close: directive.close.clone(),
    };
    reading.apply(kind, directive.children(), LOCATION, &mut location);
    if let Err(problem) = location.scope.root.place(&location.pattern) {
        reading.tell(problem);
    }
    if let Some(target) = &location.scope.proxy.target
        && !matches!(location.pattern.kind, Kind::Exact | Kind::Prefix | Kind::Shield)
        && !target.address.uri.is_empty()
    {
        reading.tell(target.word.refuse(
            "\"proxy_pass\" cannot have URI part in location given by regular expression, or \
             inside named location, or inside \"if\" statement, or inside \"limit_except\" block",
        ));
    }
    location
}

/// Methods that `limit_except` knows.
const METHODS: [&str; 14] = [
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "MKCOL",
    "COPY",
    "MOVE",
    "OPTIONS",
    "PROPFIND",
    "PROPPATCH",
    "LOCK",
    "UNLOCK",
    "PATCH",
];

/// Source: nginx `ngx_http_core_module.c`, `ngx_http_core_limit_except`.
pub(super) fn limit_except(
    outer: &mut LocationBlock,
    directive: &Directive,
    reading: &mut Reading<'_>,
) -> Result<(), ConfError> {
    once(outer.limit_except.is_some(), directive)?;
    let mut methods = Vec::new();
    for word in directive.arguments() {
        let known = METHODS.iter().find(|it| it.eq_ignore_ascii_case(word));
        let Some(method) = known else {
            return Err(word.refuse(format!("invalid method \"{word}\"")));
        };
        methods.push(method.as_bytes().to_vec());
        if *method == "GET" {
            methods.push(b"HEAD".to_vec());
        }
    }
    let pattern = location::Pattern::within(directive);
    let block = block_within(directive, pattern, Block::LimitExcept, reading);
    outer.limit_except = Some(Box::new((methods, block)));
    Ok(())
}

/// Source: nginx `ngx_http_rewrite_module.c`, `ngx_http_rewrite_if`.
pub(super) fn condition(
    own: &mut Own,
    directive: &Directive,
    reading: &mut Reading<'_>,
) -> Result<(), ConfError> {
    let condition = rewrite::condition(directive, reading)?;
    let kind = match reading.block() {
        Block::Server => Block::IfInServer,
        _ => Block::IfInLocation,
    };
    let pattern = location::Pattern::within(directive);
    let block = block_within(directive, pattern, kind, reading);
    own.rewrite.add_if(condition, block);
    Ok(())
}
