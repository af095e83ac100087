//! What stands between a location and its answer: everything that may refuse a request.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Rule;
use crate::conf::ConfError;
use crate::engine::exchange::Exchange;
use crate::http::auth_basic::AuthBasic;
use crate::http::auth_request::AuthRequest;
use crate::http::limit_conn::LimitConn;
use crate::http::limit_req::LimitReq;
use crate::http::limit_zone::Zone;
use crate::http::real_ip::RealIp;
use crate::modules::Scope;
use crate::variable::Names;

/// The guards of a location, in the order in which they are asked.
#[derive(Debug)]
pub struct Guards {
    /// `set_real_ip_from`
    pub real_ip: Option<RealIp>,
    /// `limit_req`
    pub limit_req: Option<LimitReq>,
    /// `limit_conn`
    pub limit_conn: Option<LimitConn>,
    /// `allow`, `deny`
    pub rules: Vec<Rule>,
    /// `auth_basic`
    pub auth_basic: Option<AuthBasic>,
    /// `auth_request`
    pub auth_request: Option<AuthRequest>,
    /// `auth_delay`
    pub delay: Duration,
    /// Whether `satisfy` asks for one consent only.
    pub is_any_enough: bool,
}

impl Guards {
    /// Those of a block; `None` where there are none, so that a request pays one look.
    ///
    /// `conf` is the main file, `answer` has the addresses of names.
    pub fn compile(
        scope: &Scope,
        zones: &[Arc<Zone>],
        names: &Names<Exchange>,
        conf: &Path,
        answer: &dyn Fn(&str) -> Vec<IpAddr>,
    ) -> Result<Option<Box<Self>>, ConfError> {
        let guards = Self {
            real_ip: scope.real_ip.compile(answer)?,
            limit_req: scope.limit_req.compile(zones)?,
            limit_conn: scope.limit_conn.compile(zones)?,
            rules: scope.access.rules(),
            auth_basic: scope.auth_basic.compile(names, conf)?,
            auth_request: scope.auth_request.compile(names)?,
            delay: scope.auth_basic.delay(),
            is_any_enough: scope.access.is_any_enough(),
        };
        let is_open = guards.real_ip.is_none()
            && guards.limit_req.is_none()
            && guards.limit_conn.is_none()
            && guards.rules.is_empty()
            && guards.auth_basic.is_none()
            && guards.auth_request.is_none();
        Ok((!is_open).then(|| Box::new(guards)))
    }
}
