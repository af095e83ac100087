//! The names, and what each of them counts.

use super::exposition::{Exposition, Labels, labels};
use crate::admin::view::{CODES, Group, Server, State, View};
use crate::http::server::METHODS;
use crate::upstream::backend::Reason;
use crate::upstream::ejection::REASONS;

/// A server with its labels as they are written.
struct Line<'a> {
    labels: Vec<u8>,
    group: &'a Group,
    server: &'a Server,
}

impl Line<'_> {
    fn labels(&self) -> Labels<'_, 0> {
        Labels::of(&self.labels)
    }
}

/// Groups and their servers.
pub(super) fn upstreams(out: &mut Exposition<'_>, groups: &[Group]) {
    let lines = lines(groups);
    load(out, &lines);
    outcomes(out, &lines);
    terms(out, &lines);
    out.gauges(
        "balancer_upstream_policy_info",
        "Policy of the upstream, always 1",
        groups.iter().map(|it| ([("upstream", &*it.name), ("policy", it.policy)], 1_u64)),
    );
    out.counters(
        "balancer_retries",
        "Attempts beyond the first of their request",
        groups.iter().map(|it| ([("upstream", &*it.name)], it.retries)),
    );
    out.counters(
        "balancer_health_checks",
        "Health checks of servers by result",
        groups.iter().flat_map(|group| {
            let counts = group.checks.map(|it| [("passed", it[0]), ("failed", it[1])]);
            counts
                .into_iter()
                .flatten()
                .map(|(result, count)| ([("upstream", &*group.name), ("result", result)], count))
        }),
    );
}

/// What keeps groups serving, where it is asked for.
pub(super) fn protections(out: &mut Exposition<'_>, groups: &[Group]) {
    let queues = || groups.iter().filter_map(|it| Some((it, it.queue.as_ref()?)));
    out.gauges(
        "balancer_upstream_queue_requests",
        "Requests that wait for a server",
        queues().map(|(it, queue)| ([("upstream", &*it.name)], queue.waiting)),
    );
    out.histograms(
        "balancer_upstream_queue_seconds",
        "How long requests waited that got a server",
        queues().map(|(it, queue)| ([("upstream", &*it.name)], &queue.waits)),
    );
    out.counters(
        "balancer_upstream_queue_overflows",
        "Requests that came when the queue was full",
        queues().map(|(it, queue)| ([("upstream", &*it.name)], queue.overflows)),
    );
    out.counters(
        "balancer_ejections",
        "Ejections of servers by what led to them",
        groups.iter().flat_map(|group| {
            let counts = group.ejections.map(|it| REASONS.into_iter().zip(it));
            counts
                .into_iter()
                .flatten()
                .map(|(reason, count)| ([("upstream", &*group.name), ("reason", reason)], count))
        }),
    );
    out.counters(
        "balancer_retry_budget_exhausted",
        "Retries that the budget did not allow",
        groups.iter().filter_map(|it| Some(([("upstream", &*it.name)], it.retries_refused?))),
    );
    let limits = || groups.iter().filter_map(|it| Some((it, it.limit?)));
    out.gauges(
        "balancer_upstream_concurrency_limit",
        "Requests that may be in progress at once",
        limits().map(|(it, (limit, _))| ([("upstream", &*it.name)], limit)),
    );
    out.counters(
        "balancer_shed",
        "Requests that were refused at once, by reason",
        limits()
            .map(|(it, (_, shed))| ([("upstream", &*it.name), ("reason", "concurrency")], shed)),
    );
}

fn lines(groups: &[Group]) -> Vec<Line<'_>> {
    let of = |group: &'_ Group, server: &'_ Server| {
        labels([("upstream", &*group.name), ("server", &*server.label)])
    };
    let servers = groups.iter().flat_map(|it| it.servers.iter().map(move |server| (it, server)));
    servers.map(|(group, server)| Line { labels: of(group, server), group, server }).collect()
}

fn load(out: &mut Exposition<'_>, lines: &[Line<'_>]) {
    out.gauges(
        "balancer_upstream_server_active_requests",
        "Requests in progress, from the pick to the end of the answer",
        lines.iter().map(|it| (it.labels(), it.server.active)),
    );
    out.gauges(
        "balancer_upstream_server_connections",
        "Open connections to the server",
        lines.iter().flat_map(|it| {
            [("active", it.server.busy()), ("idle", it.server.idle)]
                .map(|(state, count)| (it.labels().with("state", state), count))
        }),
    );
    out.counters(
        "balancer_upstream_server_picks",
        "Requests placed on the server",
        lines.iter().map(|it| (it.labels().with("policy", it.group.policy), it.server.picks)),
    );
}

fn outcomes(out: &mut Exposition<'_>, lines: &[Line<'_>]) {
    out.counters(
        "balancer_upstream_server_requests",
        "Answers of the server by class of status",
        lines.iter().flat_map(|it| {
            let counts = CODES.into_iter().zip(it.server.requests);
            counts.map(|(code, count)| (it.labels().with("code", code), count))
        }),
    );
    out.counters(
        "balancer_upstream_server_failures",
        "Attempts on the server that failed, by reason",
        lines.iter().flat_map(|it| {
            let counts = Reason::ALL.into_iter().zip(it.server.failures);
            counts.map(|(reason, count)| (it.labels().with("reason", reason.word()), count))
        }),
    );
    out.histograms(
        "balancer_upstream_server_response_seconds",
        "From the pick to the end of the answer",
        lines.iter().map(|it| (it.labels(), &it.server.response)),
    );
    out.histograms(
        "balancer_upstream_server_connect_seconds",
        "From the pick to the connection, where a new one was opened",
        lines.iter().map(|it| (it.labels(), &it.server.connect)),
    );
}

fn terms(out: &mut Exposition<'_>, lines: &[Line<'_>]) {
    out.gauges(
        "balancer_upstream_server_state",
        "1 for the state the server is in, 0 for the others",
        lines.iter().flat_map(|it| {
            State::ALL.into_iter().map(|state| {
                (it.labels().with("state", state.word()), u64::from(it.server.state == state))
            })
        }),
    );
    out.gauges(
        "balancer_upstream_server_weight",
        "Weight of the server in the configuration",
        lines.iter().map(|it| (it.labels(), it.server.weight)),
    );
    out.gauges(
        "balancer_upstream_server_max_conns",
        "Requests in progress at which no more are placed, 0 for no limit",
        lines.iter().map(|it| (it.labels(), it.server.max_conns)),
    );
}

/// Connections and requests of clients.
pub(super) fn clients(out: &mut Exposition<'_>, view: &View) {
    let it = &view.connections;
    out.gauges(
        "balancer_client_connections",
        "Open connections of clients by what they do",
        [("reading", it.reading), ("writing", it.writing), ("waiting", it.waiting)]
            .map(|(state, count)| ([("state", state)], count)),
    );
    // A counter would belong to the family of the gauges, which has another kind.
    out.untyped(
        "balancer_client_connections_total",
        "Accepted connections of clients by what became of them",
        [("handled", it.handled), ("dropped", it.accepted.saturating_sub(it.handled))]
            .map(|(result, count)| ([("result", result)], count)),
    );
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
    );
    out.histograms(
        "balancer_request_seconds",
        "From the first byte of a request to the last of its answer",
        view.virtual_servers.iter().map(|it| ([("server_name", &*it.name)], &it.durations)),
    );
}

/// Lines that are missing from the logs.
pub(super) fn logs(out: &mut Exposition<'_>, view: &View) {
    out.counters(
        "balancer_log_lines_dropped",
        "Log lines that no file took, because its disk was full or too slow",
        [(Labels::NONE, view.dropped_log_lines)],
    );
}

/// Spans of requests, where a collector is told of any.
pub(super) fn spans(out: &mut Exposition<'_>, view: &View) {
    out.counters(
        "balancer_otel_spans",
        "Spans by what became of them",
        view.spans.iter().flatten().map(|(result, count)| ([("result", *result)], *count)),
    );
}

/// Which configuration and which program.
pub(super) fn configuration(out: &mut Exposition<'_>, view: &View) {
    let it = &view.reloads;
    out.counters(
        "balancer_config_reloads",
        "Reloads of the configuration by result",
        [("success", it.succeeded), ("failure", it.refused)]
            .map(|(result, count)| ([("result", result)], count)),
    );
    out.gauges(
        "balancer_config_last_reload_successful",
        "Whether the last configuration that was read is in force",
        [(Labels::NONE, u64::from(it.last_succeeded))],
    );
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit into 52 bits")]
    out.gauges(
        "balancer_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read",
        [(Labels::NONE, it.loaded_unix_ms as f64 / 1e3)],
    );
    out.gauges(
        "balancer_build_info",
        "The program that runs, always 1",
        [([("version", view.version), ("commit", view.commit)], 1_u64)],
    );
}

/// The standard process metrics.
pub(super) fn process(out: &mut Exposition<'_>, view: &View) {
    let Some(it) = &view.process else { return };
    out.counters(
        "process_cpu_seconds",
        "Time computed in seconds",
        [(Labels::NONE, it.cpu_seconds)],
    );
    out.gauges("process_open_fds", "Open files", [(Labels::NONE, it.open_fds)]);
    out.gauges(
        "process_max_fds",
        "Files that may be open",
        it.max_fds.map(|it| (Labels::NONE, it)),
    );
    out.gauges("process_resident_memory_bytes", "Memory held", [(Labels::NONE, it.resident_bytes)]);
    out.gauges(
        "process_virtual_memory_bytes",
        "Memory addressed",
        [(Labels::NONE, it.virtual_bytes)],
    );
    out.gauges(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970",
        [(Labels::NONE, it.started_unix_seconds)],
    );
}

/// The names of nginx's exporter, so that its dashboards keep working.
pub(super) fn nginx(out: &mut Exposition<'_>, view: &View) {
    let it = &view.connections;
    out.untyped(
        "nginx_connections_accepted",
        "Accepted connections",
        [(Labels::NONE, it.accepted)],
    );
    out.untyped("nginx_connections_handled", "Handled connections", [(Labels::NONE, it.handled)]);
    out.gauges("nginx_connections_active", "Open connections", [(Labels::NONE, it.active)]);
    out.untyped(
        "nginx_connections_reading",
        "Connections that send a request",
        [(Labels::NONE, it.reading)],
    );
    out.gauges(
        "nginx_connections_writing",
        "Connections that are answered",
        [(Labels::NONE, it.writing)],
    );
    out.gauges(
        "nginx_connections_waiting",
        "Connections that are idle",
        [(Labels::NONE, it.waiting)],
    );
    out.counters("nginx_http_requests", "Requests", [(Labels::NONE, view.requests)]);
}
