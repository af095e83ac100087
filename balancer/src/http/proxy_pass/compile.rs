//! What is written of `proxy_*`, merged → what a request needs.

use std::time::Duration;

use policy::Retry;

use super::rows::{PAGE, Settings, Target};
use super::{Goal, Proxy, SetHeader, redirect};
use crate::conf::{ConfError, Word};
use crate::engine::exchange::Exchange;
use crate::http::variable::{Template, compile};
use crate::variable::Names;

impl Settings {
    /// What a request needs, with nginx's defaults.
    ///
    /// `location` is the number of the location, `prefix` the length of the path it is written
    /// with.
    pub fn compile(
        &self,
        target: &Target,
        goal: Goal,
        location: u32,
        prefix: usize,
        names: &Names<Exchange>,
    ) -> Result<Proxy, ConfError> {
        let (hosts, others): (Vec<_>, Vec<_>) =
            self.set_headers.iter().partition(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host_header = match hosts.first() {
            Some((_, value)) => compile(value, names)?,
            None if names.slot("proxy_host").is_some() => {
                let name = Template::compile("$proxy_host", names);
                name.expect("it is one of nginx's variables")
            }
            // What variables name is written when there is nothing else.
            None => Template::text(target.authority.as_bytes()),
        };
        let set = |(name, value): &(Word, Word)| -> Result<_, ConfError> {
            Ok(SetHeader::new(name.as_bytes(), compile(value, names)?))
        };
        let minute = Duration::from_mins(1);
        let default = Retry::default();
        let (on, non_idempotent) =
            self.next_upstream.unwrap_or((default.on, default.non_idempotent));
        let tries = self.next_upstream_tries.filter(|it| *it > 0);
        let uri = &target.address.uri;
        Ok(Proxy {
            goal,
            location,
            host: target.authority.as_bytes().to_vec(),
            uri: (!uri.is_empty()).then(|| (uri.as_bytes().to_vec(), prefix)),
            host_header,
            set_headers: others.into_iter().map(set).collect::<Result<_, _>>()?,
            http_1_0: self.http_1_0.unwrap_or_default(),
            sockets: self.sockets.compile(names)?,
            connect_timeout: self.connect_timeout.unwrap_or(minute),
            send_timeout: self.send_timeout.unwrap_or(minute),
            read_timeout: self.read_timeout.unwrap_or(minute),
            retry: Retry {
                on,
                non_idempotent,
                tries: tries.map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
                timeout: self.next_upstream_timeout.filter(|it| !it.is_zero()),
            },
            request_buffering: self.request_buffering.unwrap_or(true),
            buffering: self.buffering.unwrap_or(true),
            ahead: self.ahead.bounds(self.buffers.unwrap_or((8, PAGE))),
            limit_rate: self.ahead.rate.as_ref().map(|it| compile(it, names)).transpose()?,
            early_hints: self.hints.compile(names)?,
            buffer_size: usize::try_from(self.buffer_size.unwrap_or(PAGE)).unwrap_or(usize::MAX),
            ignore_client_abort: self.ignore_client_abort.unwrap_or_default(),
            hide_headers: self.hide_headers.clone(),
            pass_headers: self.pass_headers.clone(),
            redirects: redirect::rules(
                &self.redirects,
                &target.word,
                !uri.is_empty(),
                &self.place,
                names,
            )?,
            cookies: self.cookies.compile(names)?,
            ignores: self.ignore_headers.unwrap_or_default(),
            intercept_errors: self.intercept_errors.unwrap_or_default(),
            method: self.method.as_ref().map(|it| compile(it, names)).transpose()?,
            set_body: self.set_body.as_ref().map(|it| compile(it, names)).transpose()?,
            force_ranges: self.force_ranges.unwrap_or_default(),
            pass_trailers: self.pass_trailers.unwrap_or_default(),
            pass_request_headers: self.pass_request_headers.unwrap_or(true),
            pass_request_body: self.pass_request_body.unwrap_or(true),
        })
    }
}
