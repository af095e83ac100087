//! A `server` line as JSON: what is asked of a server that comes or changes.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::Value;

use super::refusal::Refusal;
use crate::conf::address::{self, Host, Purpose};
use crate::conf::value::{Unit, time};
use crate::upstream::rows::{DEFAULT_PORT, LONGEST_ROUTE};
use crate::upstream::{Address, Edit};

/// What stands in it.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Who it is.
    pub(super) server: Option<String>,
    /// What is asked of it.
    pub(super) edit: Edit,
}

impl Line {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let value = serde_json::from_slice(body).map_err(|_| Refusal::JSON)?;
        let Value::Object(fields) = value else {
            return Err(Refusal::format("an object is asked for"));
        };
        let mut line = Self::default();
        for (name, value) in &fields {
            if matches!(value, Value::Array(_) | Value::Object(_)) {
                return Err(Refusal::format("nested object or list"));
            }
            line.field(name, value)?;
        }
        Ok(line)
    }

    fn field(&mut self, name: &str, value: &Value) -> Result<(), Refusal> {
        let bad = |code| Refusal::bad(code, name);
        let count = || value.as_u64().and_then(|it| u32::try_from(it).ok());
        let flag = || value.as_bool().ok_or_else(|| bad("UpstreamConfFormatError"));
        let seconds = || -> Option<Duration> { time(value.as_str()?, Unit::Seconds) };
        let edit = &mut self.edit;
        match name {
            "server" => {
                let text = value.as_str().ok_or_else(|| bad("UpstreamBadAddress"))?;
                self.server = Some(text.to_owned());
            }
            "weight" => {
                let weight = count().and_then(NonZeroU32::new);
                edit.weight = Some(weight.ok_or_else(|| bad("UpstreamBadWeight"))?);
            }
            "max_conns" => {
                let most = count().ok_or_else(|| bad("UpstreamBadMaxConns"))?;
                edit.max_conns = Some(NonZeroU32::new(most));
            }
            "max_fails" => {
                let most = count().ok_or_else(|| bad("UpstreamBadMaxFails"))?;
                edit.max_fails = Some(NonZeroU32::new(most));
            }
            "fail_timeout" => {
                let timeout = seconds().ok_or_else(|| bad("UpstreamBadFailTimeout"))?;
                edit.fail_timeout = Some(timeout);
            }
            "slow_start" => {
                let window = seconds().ok_or_else(|| bad("UpstreamBadSlowStart"))?;
                edit.slow_start = Some(Some(window).filter(|it| !it.is_zero()));
            }
            "route" => {
                let route = value.as_str().filter(|it| it.len() <= LONGEST_ROUTE);
                let route = route.ok_or_else(|| bad("UpstreamBadRoute"))?;
                edit.route = Some(Some(route.into()).filter(|_| !route.is_empty()));
            }
            "backup" => edit.backup = Some(flag()?),
            "down" => edit.down = Some(flag()?),
            "drain" => edit.drain = Some(flag()?),
            _ => return Err(Refusal::format(format!("unknown parameter \"{name}\""))),
        }
        Ok(())
    }

    /// The address of a server that is to come.
    pub(super) fn address(&self, is_stream: bool) -> Result<Address, Refusal> {
        let missing = || Refusal::format("missing \"server\" argument");
        let text = self.server.as_deref().ok_or_else(missing)?;
        let refuse = |why: &str| Refusal::address(format!("{why} in \"{text}\""));
        let address =
            address::Address::parse(text, Purpose::Peer).map_err(|it| refuse(&it.to_string()))?;
        match &address.host {
            Host::Unix(path) => Ok(Address::Unix(path.into())),
            Host::Ip(_) if is_stream && address.ports.is_none() => Err(refuse("no port")),
            Host::Ip(ip) => Ok(Address::Inet(SocketAddr::new(*ip, address.port_or(DEFAULT_PORT)))),
            Host::Name(_) => Err(refuse("a name, which the file follows by \"resolve\",")),
            Host::Any => Err(refuse("no host")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(body: &str, code: &str, text: &str) {
        let refusal = Line::parse(body.as_bytes()).and_then(|it| it.address(false)).unwrap_err();
        let (_, json) = refusal.answer();
        assert_eq!((&json["error"]["code"], &json["error"]["text"]), (&code.into(), &text.into()));
    }

    #[test]
    fn what_is_wrong_is_told_in_nginx_s_words() {
        refused("{", "JsonError", "json error");
        refused("[]", "UpstreamConfFormatError", "an object is asked for");
        refused("{}", "UpstreamConfFormatError", "missing \"server\" argument");
        refused(r#"{"a":1}"#, "UpstreamConfFormatError", "unknown parameter \"a\"");
        refused(r#"{"weight":[1]}"#, "UpstreamConfFormatError", "nested object or list");
        refused(r#"{"weight":0}"#, "UpstreamBadWeight", "invalid \"weight\"");
        refused(r#"{"weight":"2"}"#, "UpstreamBadWeight", "invalid \"weight\"");
        refused(r#"{"max_conns":-1}"#, "UpstreamBadMaxConns", "invalid \"max_conns\"");
        refused(r#"{"max_fails":1.5}"#, "UpstreamBadMaxFails", "invalid \"max_fails\"");
        refused(r#"{"fail_timeout":3}"#, "UpstreamBadFailTimeout", "invalid \"fail_timeout\"");
        refused(r#"{"slow_start":"x"}"#, "UpstreamBadSlowStart", "invalid \"slow_start\"");
        refused(r#"{"down":1}"#, "UpstreamConfFormatError", "invalid \"down\"");
        let long = format!(r#"{{"route":"{}"}}"#, "a".repeat(33));
        refused(&long, "UpstreamBadRoute", "invalid \"route\"");
        refused(r#"{"server":"1.2.3.4:x"}"#, "UpstreamBadAddress", "invalid port in \"1.2.3.4:x\"");
    }

    #[test]
    fn a_line_of_an_address_and_its_parameters_is_understood() {
        let body = br#"{"server":"127.0.0.1","weight":3,"max_fails":0,"slow_start":"0s",
            "fail_timeout":"1m","route":"a","drain":true,"down":false}"#;
        let line = Line::parse(body).unwrap();
        assert_eq!(line.address(false).unwrap().to_string(), "127.0.0.1:80");
        assert!(line.address(true).is_err());
        let expected = Edit {
            weight: NonZeroU32::new(3),
            max_fails: Some(None),
            slow_start: Some(None),
            fail_timeout: Some(Duration::from_mins(1)),
            route: Some(Some("a".into())),
            drain: Some(true),
            down: Some(false),
            ..Edit::default()
        };
        assert_eq!(line.edit, expected);
    }
}
