//! The names, and what each of them counts.

use std::fmt;

use super::exposition::{Exposition, Labels};
use crate::admin::view::{CODES, Group, Server, State, View};
use crate::http::server::METHODS;
use crate::upstream::backend::Reason;

/// Groups and their servers.
pub(super) fn upstreams(out: &mut Exposition<'_>, groups: &[Group]) -> fmt::Result {
    load(out, groups)?;
    outcomes(out, groups)?;
    terms(out, groups)?;
    out.gauges(
        "balancer_upstream_policy_info",
        "Policy of the upstream, always 1",
        groups.iter().map(|it| ([("upstream", &*it.name), ("policy", it.policy)], 1_u64)),
    )?;
    out.counters(
        "balancer_retries",
        "Attempts beyond the first of their request",
        groups.iter().map(|it| ([("upstream", &*it.name)], it.retries)),
    )
}

fn load(out: &mut Exposition<'_>, groups: &[Group]) -> fmt::Result {
    out.gauges(
        "balancer_upstream_server_active_requests",
        "Requests in progress, from the pick to the end of the answer",
        servers(groups).map(|(group, it)| (labels(group, it), it.active)),
    )?;
    out.gauges(
        "balancer_upstream_server_connections",
        "Open connections to the server",
        servers(groups).flat_map(|(group, it)| {
            [("active", it.busy()), ("idle", it.idle)]
                .map(|(state, count)| (with(labels(group, it), ("state", state)), count))
        }),
    )?;
    out.counters(
        "balancer_upstream_server_picks",
        "Requests placed on the server",
        servers(groups)
            .map(|(group, it)| (with(labels(group, it), ("policy", group.policy)), it.picks)),
    )
}

fn outcomes(out: &mut Exposition<'_>, groups: &[Group]) -> fmt::Result {
    out.counters(
        "balancer_upstream_server_requests",
        "Answers of the server by class of status",
        servers(groups).flat_map(|(group, it)| {
            let counts = CODES.into_iter().zip(it.requests);
            counts.map(move |(code, count)| (with(labels(group, it), ("code", code)), count))
        }),
    )?;
    out.counters(
        "balancer_upstream_server_failures",
        "Attempts on the server that failed, by reason",
        servers(groups).flat_map(|(group, it)| {
            let counts = Reason::ALL.into_iter().zip(it.failures);
            counts.map(move |(reason, count)| {
                (with(labels(group, it), ("reason", reason.word())), count)
            })
        }),
    )?;
    out.histograms(
        "balancer_upstream_server_response_seconds",
        "From the pick to the end of the answer",
        servers(groups).map(|(group, it)| (labels(group, it), &it.response)),
    )?;
    out.histograms(
        "balancer_upstream_server_connect_seconds",
        "From the pick to the connection, where a new one was opened",
        servers(groups).map(|(group, it)| (labels(group, it), &it.connect)),
    )
}

fn terms(out: &mut Exposition<'_>, groups: &[Group]) -> fmt::Result {
    out.gauges(
        "balancer_upstream_server_state",
        "1 for the state the server is in, 0 for the others",
        servers(groups).flat_map(|(group, it)| {
            State::ALL.into_iter().map(move |state| {
                (with(labels(group, it), ("state", state.word())), u64::from(it.state == state))
            })
        }),
    )?;
    out.gauges(
        "balancer_upstream_server_weight",
        "Weight of the server in the configuration",
        servers(groups).map(|(group, it)| (labels(group, it), it.weight)),
    )?;
    out.gauges(
        "balancer_upstream_server_max_conns",
        "Requests in progress at which no more are placed, 0 for no limit",
        servers(groups).map(|(group, it)| (labels(group, it), it.max_conns)),
    )
}

/// Connections and requests of clients.
pub(super) fn clients(out: &mut Exposition<'_>, view: &View) -> fmt::Result {
    let it = &view.connections;
    out.gauges(
        "balancer_client_connections",
        "Open connections of clients by what they do",
        [("reading", it.reading), ("writing", it.writing), ("waiting", it.waiting)]
            .map(|(state, count)| ([("state", state)], count)),
    )?;
    // A counter would belong to the family of the gauges, which has another kind.
    out.untyped(
        "balancer_client_connections_total",
        "Accepted connections of clients by what became of them",
        [("handled", it.handled), ("dropped", it.accepted.saturating_sub(it.handled))]
            .map(|(result, count)| ([("result", result)], count)),
    )?;
    let methods = METHODS.into_iter().chain(["other"]);
    out.counters(
        "balancer_requests",
        "Requests of clients; methods that were used at least once",
        view.virtual_servers.iter().flat_map(|server| {
            let used = methods.clone().zip(&server.requests).filter(|(_, it)| **it != [0; 5]);
            used.flat_map(move |(method, counts)| {
                CODES.into_iter().zip(counts).map(move |(code, count)| {
                    let name = ("server_name", &*server.name);
                    ([name, ("code", code), ("method", method)], *count)
                })
            })
        }),
    )?;
    out.histograms(
        "balancer_request_seconds",
        "From the first byte of a request to the last of its answer",
        view.virtual_servers.iter().map(|it| ([("server_name", &*it.name)], &it.durations)),
    )
}

/// Lines that are missing from the logs.
pub(super) fn logs(out: &mut Exposition<'_>, view: &View) -> fmt::Result {
    out.counters(
        "balancer_log_lines_dropped",
        "Log lines that no file took, because its disk was full or too slow",
        [([], view.dropped_log_lines)],
    )
}

/// Which configuration and which program.
pub(super) fn configuration(out: &mut Exposition<'_>, view: &View) -> fmt::Result {
    let it = &view.reloads;
    out.counters(
        "balancer_config_reloads",
        "Reloads of the configuration by result",
        [("success", it.succeeded), ("failure", it.refused)]
            .map(|(result, count)| ([("result", result)], count)),
    )?;
    out.gauges(
        "balancer_config_last_reload_successful",
        "Whether the last configuration that was read is in force",
        [([], u64::from(it.last_succeeded))],
    )?;
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into 52 bits")]
    out.gauges(
        "balancer_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read",
        [([], it.loaded_unix_ms as f64 / 1e3)],
    )?;
    out.gauges(
        "balancer_build_info",
        "The program that runs, always 1",
        [([("version", view.version), ("commit", view.commit)], 1_u64)],
    )
}

/// The standard process metrics.
pub(super) fn process(out: &mut Exposition<'_>, view: &View) -> fmt::Result {
    let Some(it) = &view.process else { return Ok(()) };
    out.counters("process_cpu_seconds", "Time computed in seconds", [([], it.cpu_seconds)])?;
    out.gauges("process_open_fds", "Open files", [([], it.open_fds)])?;
    out.gauges("process_max_fds", "Files that may be open", it.max_fds.map(|it| ([], it)))?;
    out.gauges("process_resident_memory_bytes", "Memory held", [([], it.resident_bytes)])?;
    out.gauges("process_virtual_memory_bytes", "Memory addressed", [([], it.virtual_bytes)])?;
    out.gauges(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970",
        [([], it.started_unix_seconds)],
    )
}

/// The names of nginx's exporter, so that its dashboards keep working.
pub(super) fn nginx(out: &mut Exposition<'_>, view: &View) -> fmt::Result {
    let it = &view.connections;
    out.untyped("nginx_connections_accepted", "Accepted connections", [([], it.accepted)])?;
    out.untyped("nginx_connections_handled", "Handled connections", [([], it.handled)])?;
    out.gauges("nginx_connections_active", "Open connections", [([], it.active)])?;
    out.untyped(
        "nginx_connections_reading",
        "Connections that send a request",
        [([], it.reading)],
    )?;
    out.gauges("nginx_connections_writing", "Connections that are answered", [([], it.writing)])?;
    out.gauges("nginx_connections_waiting", "Connections that are idle", [([], it.waiting)])?;
    out.counters("nginx_http_requests", "Requests", [([], view.requests)])
}

fn servers(groups: &[Group]) -> impl Iterator<Item = (&Group, &Server)> {
    groups.iter().flat_map(|group| group.servers.iter().map(move |it| (group, it)))
}

fn labels<'a>(group: &'a Group, server: &'a Server) -> Labels<'a, 2> {
    [("upstream", &group.name), ("server", &server.name)]
}

fn with<'a>([first, second]: Labels<'a, 2>, third: (&'static str, &'a str)) -> Labels<'a, 3> {
    [first, second, third]
}
