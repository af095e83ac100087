//! Runs the lines of a block.

use super::{
    Action, End, Exchange, Level, Location, Op, Return, Rewrite, Server, Subject as _, Template,
    escape, logs, unescape_redirect,
};

/// What follows the lines of a block.
#[derive(Debug)]
pub enum Flow<'a> {
    /// The rest of the request.
    On,
    /// The rest of the request; lines that follow are not run.
    Stop,
    /// This answer.
    Answer(Action<'a>),
}

/// Runs lines. `location` becomes that of the last `if` whose condition held.
///
/// Source: nginx `ngx_http_rewrite_module.c`, `ngx_http_rewrite_handler`, and `ngx_http_script.c`.
pub fn run<'a>(
    ops: &'a [Op],
    exchange: &mut Exchange,
    server: &'a Server,
    location: &mut &'a Location,
) -> Flow<'a> {
    for op in ops {
        match op {
            Op::Set(slot, value) => {
                let value = grouped(value, exchange);
                exchange.scratch().set(*slot, &value);
            }
            Op::Change(change, value) => {
                let value = grouped(value, exchange);
                change(exchange, &value);
            }
            Op::If(test, ops, settings) => {
                if !test.holds(exchange) {
                    continue;
                }
                if let Some(settings) = settings {
                    *location = &server.locations[*settings];
                    exchange.location = Some(*settings);
                }
                match run(ops, exchange, server, location) {
                    Flow::On => {}
                    end => return end,
                }
            }
            Op::Rewrite(rewrite) => match rewrite.run(exchange, location) {
                Flow::On => {}
                end => return end,
            },
            Op::Return(answer) => return Flow::Answer(answer.action()),
            Op::Break => {
                if std::mem::take(&mut exchange.is_rewritten) {
                    exchange.is_settled = true;
                }
                return Flow::Stop;
            }
        }
    }
    Flow::On
}

/// A value whose groups are escaped again where the request itself had escapes.
pub(super) fn grouped(value: &Template, exchange: &Exchange) -> Vec<u8> {
    let mut out = Vec::new();
    value.write_groups(exchange, exchange.has_escapes().then_some(escape::args as _), &mut out);
    out
}

impl Return {
    /// Source: nginx `ngx_http_script.c`, `ngx_http_script_return_code`.
    fn action(&self) -> Action<'_> {
        match self {
            Self { status: 444, text: None } => Action::Close,
            Self { status: status @ 400.., text: None } => Action::Status(*status),
            _ => Action::Return(self),
        }
    }
}

impl Rewrite {
    /// Source: nginx `ngx_http_script.c`, `ngx_http_script_regex_start_code` and
    /// `ngx_http_script_regex_end_code`.
    fn run<'a>(&self, exchange: &mut Exchange, location: &Location) -> Flow<'a> {
        let is_match = self.matcher.exec(exchange.scratch(), &exchange.path);
        if location.logs_rewrites {
            let path = String::from_utf8_lossy(&exchange.path);
            let expression = self.matcher.regex().as_str();
            let text = if is_match {
                format!("\"{expression}\" matches \"{path}\"")
            } else {
                format!("\"{expression}\" does not match \"{path}\"")
            };
            logs::note(Level::Notice, exchange, &text, "");
        }
        if !is_match {
            return Flow::On;
        }
        // Groups are escaped again where the request itself had escapes.
        let escape_args = exchange.has_escapes().then_some(escape::args as _);
        if let End::Redirect(status) = self.end {
            let mut target = Vec::new();
            self.path.write_groups(exchange, escape_args, &mut target);
            unescape_redirect(&mut target);
            if self.keeps_args && !exchange.args.is_empty() {
                target.push(if self.has_args { b'&' } else { b'?' });
                target.extend_from_slice(&exchange.args);
            }
            if location.logs_rewrites {
                let text = format!("rewritten redirect: \"{}\"", String::from_utf8_lossy(&target));
                logs::note(Level::Notice, exchange, &text, "");
            }
            exchange.redirect = Some(target);
            return Flow::Answer(Action::Redirect(status));
        }
        let mut path = Vec::new();
        self.path.write_groups(exchange, None, &mut path);
        if let Some(args) = &self.args {
            let mut new = Vec::new();
            args.write_groups(exchange, escape_args, &mut new);
            if self.keeps_args && !exchange.args.is_empty() {
                new.push(b'&');
                new.extend_from_slice(&exchange.args);
            }
            exchange.args = new;
        } else if !self.keeps_args {
            exchange.args.clear();
        }
        exchange.is_internal = true;
        exchange.has_own_target = true;
        exchange.is_rewritten = self.end != End::Break;
        exchange.is_settled |= self.end == End::Break;
        exchange.path = path;
        if location.logs_rewrites {
            let [path, args] =
                [&exchange.path, &exchange.args].map(|it| String::from_utf8_lossy(it));
            let text = format!("rewritten data: \"{path}\", args: \"{args}\"");
            logs::note(Level::Notice, exchange, &text, "");
        }
        if exchange.path.is_empty() {
            logs::note(Level::Error, exchange, "the rewritten URI has a zero length", "");
            return Flow::Answer(Action::Status(500));
        }
        if self.end == End::Next { Flow::On } else { Flow::Stop }
    }
}
