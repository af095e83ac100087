//! `sticky`: which server has this client been bound to, and how is that told?
//!
//! Source: nginx `ngx_http_upstream_sticky_module.c`.

use std::sync::Arc;
use std::time::Duration;

use md5::{Digest, Md5};
use policy::Time;

use crate::engine::clock;
use crate::engine::exchange::Exchange;
use crate::http::variable::Template;

pub use sessions::Sessions;

pub mod rows;
mod sessions;

/// How clients are bound to servers.
#[derive(Debug)]
pub struct Sticky {
    /// Where a request says whom it is bound to; the first that is not empty counts.
    pub lookup: Vec<Template>,
    /// What is done beside.
    pub how: How,
}

/// What is done beside looking.
#[derive(Debug)]
pub enum How {
    /// Nothing: the application says it.
    Route,
    /// Every answer says it in a cookie.
    Cookie(Box<Cookie>),
    /// What answers say is remembered.
    Learn(Learn),
}

/// The cookie.
#[derive(Debug)]
pub struct Cookie {
    /// Its name.
    pub name: Vec<u8>,
    /// How long it is kept.
    pub expires: Option<Expires>,
    /// For whose names it holds.
    pub domain: Option<Template>,
    /// Whether scripts are kept from it.
    pub is_http_only: bool,
    /// Whether it goes over TLS only.
    pub is_secure: bool,
    /// Whether it goes along with requests from elsewhere.
    pub same_site: Option<Template>,
    /// For which paths it holds.
    pub path: Option<Vec<u8>>,
}

/// How long a cookie is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expires {
    /// As long as can be.
    Max,
    /// So long.
    After(Duration),
}

/// What is remembered.
#[derive(Debug)]
pub struct Learn {
    /// Where an answer names its session; the first that is not empty counts.
    pub create: Vec<Template>,
    /// Whether that is looked at as soon as the head has come.
    pub after_header: bool,
    /// The sessions.
    pub sessions: Arc<Sessions>,
}

/// What a request says of itself.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// What it says: a server, or its session.
    said: Vec<u8>,
    /// The server it is bound to.
    pub server: Option<Arc<str>>,
}

/// Who a server is, where no `route` says so.
pub fn name_of(address: &str) -> Arc<str> {
    let digest = Md5::digest(address.as_bytes());
    let digit = |it: u8| char::from(b"0123456789abcdef"[usize::from(it & 15)]);
    digest.iter().flat_map(|it| [digit(it >> 4), digit(*it)]).collect::<String>().into()
}

fn first(of: &[Template], exchange: &Exchange) -> Vec<u8> {
    of.iter().map(|it| it.value(exchange)).find(|it| !it.is_empty()).unwrap_or_default()
}

impl Sticky {
    /// Looks a request's server up.
    pub fn bound(&self, exchange: &Exchange, now: Time) -> Bound {
        let said = first(&self.lookup, exchange);
        if said.is_empty() {
            return Bound::default();
        }
        let server = match &self.how {
            How::Learn(learn) => learn.sessions.find(&said, now),
            How::Route | How::Cookie(_) => str::from_utf8(&said).ok().map(Arc::from),
        };
        Bound { said, server }
    }

    /// The value of the cookie that binds a client to a server, `None` where none does.
    pub fn cookie(&self, server: &str, exchange: &Exchange) -> Option<Vec<u8>> {
        let How::Cookie(cookie) = &self.how else { return None };
        Some(cookie.value(server, exchange, clock::unix_millis() / 1000))
    }

    /// Remembers which server an answer's session is bound to.
    pub fn learn(&self, exchange: &Exchange, bound: &Bound, server: &Arc<str>, now: Time) {
        let How::Learn(learn) = &self.how else { return };
        let created = first(&learn.create, exchange);
        let (session, is_new) =
            if created.is_empty() { (&bound.said, false) } else { (&created, true) };
        if !session.is_empty() {
            learn.sessions.bind(session, server, is_new, now);
        }
    }

    /// As [`Self::learn`], when the head of the answer has come.
    pub fn learn_head(&self, exchange: &Exchange, bound: &Bound, server: &Arc<str>, now: Time) {
        if matches!(&self.how, How::Learn(learn) if learn.after_header) {
            self.learn(exchange, bound, server, now);
        }
    }
}

impl Cookie {
    /// Source: `ngx_http_upstream_sticky_cookie_insert`.
    fn value(&self, server: &str, exchange: &Exchange, second: u64) -> Vec<u8> {
        let mut out = [&self.name, b"=".as_slice(), server.as_bytes()].concat();
        let mut add = |words: &[&[u8]]| words.iter().for_each(|it| out.extend_from_slice(it));
        match self.expires {
            Some(Expires::Max) => {
                add(&[b"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000"]);
            }
            Some(Expires::After(time)) => {
                let end = i64::try_from(second.saturating_add(time.as_secs())).unwrap_or(i64::MAX);
                let end = jiff::Timestamp::from_second(end).unwrap_or(jiff::Timestamp::MAX);
                let form = match end.as_second() {
                    // Two digits would stand for the century before.
                    2_145_916_800.. => "%a, %d-%b-%Y %H:%M:%S GMT",
                    _ => "%a, %d-%b-%y %H:%M:%S GMT",
                };
                let text = format!("; expires={}; max-age={}", end.strftime(form), time.as_secs());
                add(&[text.as_bytes()]);
            }
            None => {}
        }
        let domain = self.domain.as_ref().map(|it| it.value(exchange)).unwrap_or_default();
        if !domain.is_empty() {
            add(&[b"; domain=", &domain]);
        }
        if self.is_http_only {
            add(&[b"; httponly"]);
        }
        if self.is_secure {
            add(&[b"; secure"]);
        }
        let same_site = self.same_site.as_ref().map(|it| it.value(exchange)).unwrap_or_default();
        if !same_site.is_empty() {
            let known = is_same_site(&same_site);
            add(&[b"; samesite=", if known { &same_site } else { b"strict" }]);
        }
        if let Some(path) = &self.path {
            add(&[b"; path=", path]);
        }
        out
    }
}

fn is_same_site(word: &[u8]) -> bool {
    ["strict", "lax", "none"].iter().any(|it| word.eq_ignore_ascii_case(it.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_names_its_parts_in_nginxs_order() {
        let text = |it: &str| Some(Template::text(it.as_bytes()));
        let cookie = Cookie {
            name: b"srv".to_vec(),
            expires: Some(Expires::After(Duration::from_hours(1))),
            domain: text(".a.example"),
            is_http_only: true,
            is_secure: true,
            same_site: text("odd"),
            path: Some(b"/".to_vec()),
        };
        let value = cookie.value("id", &Exchange::default(), 1_700_000_000);
        let expected = "srv=id; expires=Tue, 14-Nov-23 23:13:20 GMT; max-age=3600; \
                        domain=.a.example; httponly; secure; samesite=strict; path=/";
        assert_eq!(String::from_utf8(value).unwrap(), expected);
        let cookie =
            Cookie { expires: Some(Expires::Max), domain: None, same_site: None, ..cookie };
        let value = cookie.value("id", &Exchange::default(), 0);
        let expected = "srv=id; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000; \
                        httponly; secure; path=/";
        assert_eq!(String::from_utf8(value).unwrap(), expected);
    }

    #[test]
    fn a_server_is_named_by_the_digest_of_its_address() {
        assert_eq!(&*name_of("127.0.0.1:8080"), "5958c386bf5e9109ac10d2a628645aea");
    }
}
