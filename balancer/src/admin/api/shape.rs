//! The objects of the API, by nginx's names.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::NGINX_VERSION;
use crate::admin::view::{CODES, Group, Server, State, View, VirtualServer};
use crate::engine::clock;

/// A moment in milliseconds since 1970, as nginx writes one.
fn moment(unix_ms: u64) -> String {
    let moment = i64::try_from(unix_ms).ok().and_then(|it| Timestamp::from_millisecond(it).ok());
    let moment = moment.unwrap_or(Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// A duration in milliseconds, as a `server` line writes one.
fn duration(millis: u64) -> String {
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

pub(super) fn program(view: &View, local: IpAddr) -> Value {
    json!({
        "version": NGINX_VERSION,
        "build": format!("balancer {}", view.version),
        "address": local,
        "generation": view.generation,
        "load_timestamp": moment(view.reloads.loaded_unix_ms),
        "timestamp": moment(clock::unix_millis()),
        "pid": std::process::id(),
        "ppid": std::os::unix::process::parent_id(),
    })
}

pub(super) fn connections(view: &View) -> Value {
    let it = &view.connections;
    json!({
        "accepted": it.accepted,
        "dropped": it.accepted.saturating_sub(it.handled),
        "active": it.active.saturating_sub(it.waiting),
        "idle": it.waiting,
    })
}

pub(super) fn requests(view: &View) -> Value {
    json!({"total": view.requests, "current": view.connections.writing})
}

fn responses(counts: &[u64; CODES.len()]) -> Value {
    let mut responses: serde_json::Map<_, _> =
        CODES.into_iter().zip(counts).map(|(code, it)| (code.to_owned(), json!(it))).collect();
    responses.insert("total".to_owned(), json!(counts.iter().sum::<u64>()));
    Value::Object(responses)
}

/// A server without a name has nginx's usual name for it.
pub(super) fn zone_name(zone: &VirtualServer) -> &str {
    if zone.name.is_empty() { "_" } else { &zone.name }
}

pub(super) fn server_zone(zone: &VirtualServer) -> Value {
    let mut counts = [0; CODES.len()];
    for (sum, count) in zone.requests.iter().flat_map(|it| it.iter().enumerate()) {
        counts[sum] += count;
    }
    json!({
        "requests": counts.iter().sum::<u64>(),
        "responses": responses(&counts),
        "discarded": zone.discarded,
        "received": zone.received,
        "sent": zone.sent,
    })
}

pub(super) fn group(group: &Group) -> Value {
    let peers: Value = group.servers.iter().map(|it| peer(group, it)).collect();
    let mut shape = json!({"peers": peers, "zone": group.zone, "policy": group.policy});
    if !group.is_stream {
        shape["keepalive"] = json!(group.idle);
    }
    if let Some(it) = &group.queue {
        let (size, most) = (it.waiting, it.limit);
        shape["queue"] = json!({"size": size, "max_size": most, "overflows": it.overflows});
    }
    shape
}

fn peer(group: &Group, it: &Server) -> Value {
    let mut peer = json!({
        "id": it.id,
        "server": it.name,
        "name": it.name,
        "backup": it.backup,
        "weight": it.weight,
        "state": state(it.state),
        "active": it.active,
        "sent": it.sent,
        "received": it.received,
        "fails": it.failed(),
        "unavail": it.outages,
        "downtime": it.downtime_ms,
    });
    if it.max_conns > 0 {
        peer["max_conns"] = json!(it.max_conns);
    }
    if let Some(checks) = it.checks {
        peer["health_checks"] = json!({
            "checks": checks.checks,
            "fails": checks.fails,
            "unhealthy": checks.unhealthy,
        });
        if let Some(passed) = checks.last_passed {
            peer["health_checks"]["last_passed"] = json!(passed);
        }
    }
    if let Some(since) = it.down_since_unix_ms {
        peer["downstart"] = json!(moment(since));
    }
    if let Some(selected) = it.selected_unix_ms {
        peer["selected"] = json!(moment(selected));
    }
    if group.is_stream {
        peer["connections"] = json!(it.picks);
        return peer;
    }
    peer["requests"] = json!(it.picks);
    peer["responses"] = responses(&it.requests);
    if let Some([head, answer]) = it.means_ns() {
        peer["header_time"] = json!(head / 1_000_000);
        peer["response_time"] = json!(answer / 1_000_000);
    }
    peer
}

/// nginx has no word for a server that failed more than others: it gets no request for a while.
fn state(state: State) -> &'static str {
    if state == State::Ejected { State::Unavail.word() } else { state.word() }
}

/// A `server` line.
pub(super) fn server(group: &Group, it: &Server) -> Value {
    let mut line = json!({
        "id": it.id,
        "server": it.name,
        "weight": it.weight,
        "max_conns": it.max_conns,
        "max_fails": it.max_fails,
        "fail_timeout": duration(it.fail_timeout_ms),
        "slow_start": duration(it.slow_start_ms),
        "backup": it.backup,
        "down": it.down,
    });
    if !group.is_stream {
        line["route"] = json!(it.route);
    }
    if it.drain {
        line["drain"] = json!(true);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_nginx_writes_them() {
        assert_eq!(moment(1_656_414_561_602), "2022-06-28T11:09:21.602Z");
        assert_eq!([duration(10_000), duration(0), duration(1500)], ["10s", "0s", "1500ms"]);
    }
}
