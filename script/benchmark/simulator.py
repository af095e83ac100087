"""How many requests does the simulator decide per second of one core?

Each policy runs alone in one thread; the figure is requests divided by user and system time, the
best of some rounds, which are interleaved, so that a slow minute of the machine hits all alike.
"""

import os
import subprocess
from collections import defaultdict

from . import Failed

POLICIES = ["nginx-rr", "nginx-least-conn", "nginx-random", "nginx-random-two", "p2c", "jsq"]
SERVERS = [100, 10_000]
REQUESTS = 2_000_000


def report(lab, rounds):
    """Millions of requests per CPU second, by policy and servers."""
    cells = [(it, n) for n in SERVERS for it in POLICIES]
    found = defaultdict(list)
    for _ in range(rounds):
        for cell in cells:
            found[cell].append(_run(lab, *cell))
    lines = ["| policy | servers | million requests per CPU second |", "|---|---|---|"]
    for (policy, servers), seconds in found.items():
        lines.append(f"| {policy} | {servers} | {REQUESTS / min(seconds) / 1e6:.1f} |")
    return "\n".join(lines)


def _run(lab, policy, servers):
    command = [str(lab), "simulate", "--policy", policy, "--servers", str(servers), "--rho", "0.8"]
    command += ["--requests", str(REQUESTS), "--warmup", str(REQUESTS // 10), "--reps", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"{' '.join(command)} has failed")
    return used.ru_utime + used.ru_stime
