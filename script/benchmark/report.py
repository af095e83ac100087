"""Rows of a run → the table people read."""

import statistics

from .cases import CASES
from .load import QUANTILES

BESIDE = (("nginx", "-v"), ("haproxy", "-v"), ("wrk", "-v"), ("h2load", "--version"))


def summarize(rows, told):
    """A line per case and proxy; `told` is what was measured, and on what."""
    lines = [
        "# What a proxied request costs",
        "",
        f"{max(it['round'] for it in rows)} interleaved rounds of {rows[0]['seconds']} s. Proxies "
        "on one core (balancer_2_workers on both), load and three nginx backends on the other; "
        "medians of the rounds, least and most in parentheses. Latency in a closed loop is the "
        "load's own; at a fixed rate it is corrected for coordinated omission.",
        "",
        *(f"- {it}" for it in told),
        "",
        "| case | proxy | CPU us per request | ratio to nginx | p50 us | p99 us | p99.9 us | PSS MiB | system calls |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case in dict.fromkeys(it["case"] for it in rows):
        of_case = [it for it in rows if it["case"] == case]
        of_nginx = [it["cpu_us_per_request"] for it in of_case if it["proxy"] == "nginx"]
        nginx = statistics.median(of_nginx)
        for proxy in dict.fromkeys(it["proxy"] for it in of_case):
            lines.append(_line(case, proxy, [it for it in of_case if it["proxy"] == proxy], nginx))
    return "\n".join(lines) + "\n"


def _line(case, proxy, rows, nginx):
    costs = [it["cpu_us_per_request"] for it in rows]
    cost = statistics.median(costs)
    times = " | ".join(
        f"{statistics.median(it[f'p{percent}_us'] for it in rows):.0f}" for percent in QUANTILES
    )
    calls = [it["system_calls_per_request"] for it in rows if it["system_calls_per_request"]]
    return (
        f"| {CASES[case].title} | {proxy} | {cost:.2f} ({min(costs):.2f}-{max(costs):.2f}) "
        f"| {cost / nginx:.2f} | {times} | {max(it['pss_kib'] for it in rows) / 1024:.1f} "
        f"| {f'{calls[0]:.2f}' if calls else '-'} |"
    )
