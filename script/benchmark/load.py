"""Load from generators that are not ours: wrk for closed loops, h2load at a fixed rate."""

import contextlib
import dataclasses
import math
import re
import socket
import subprocess
import tempfile
from pathlib import Path

from . import Failed
from .machine import OTHER_CORE

QUANTILES = (50, 99, 99.9)
# What wrk knows at the end, in a line that can be read.
DONE = """
done = function(summary, latency, requests)
    io.write(string.format("DONE %d %d %d %d\\n", summary.requests,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""


@dataclasses.dataclass(frozen=True)
class Answered:
    """What a round came to; any outcome but a good answer has failed the run."""

    requests: int
    quantiles_us: tuple


def apply(case, port, seconds):
    """One round."""
    with idle(port, case.idle):
        return _at_rate(case, port, seconds) if case.rate else _closed_loop(case, port, seconds)


def _closed_loop(case, port, seconds):
    script = DONE
    if case.body or case.text:
        body = f"[==[{case.text}]==]" if case.text else f'string.rep("x", {case.body})'
        script += f'wrk.method = "POST"\nwrk.body = {body}\n'
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as lua:
        lua.write(script)
        lua.flush()
        command = ["taskset", "-c", OTHER_CORE, "wrk", "-t1", f"-c{case.connections}"]
        command += [f"-d{seconds}s", "-s", lua.name]
        for name, value in case.headers.items():
            command += ["-H", f"{name}: {value}"]
        command.append(f"http://127.0.0.1:{port}{case.path}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"^DONE (\d+) (\d+) (\d+) (\d+)", done.stdout, re.MULTILINE)
    if done.returncode or not found or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise Failed(f"wrk at port {port}:\n{done.stdout}{done.stderr}")
    return Answered(int(found[1]), tuple(map(int, found.groups()[1:])))


def _at_rate(case, port, seconds):
    each = case.rate / case.connections
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "requests"
        command = ["taskset", "-c", OTHER_CORE, "h2load", "--h1", f"-c{case.connections}"]
        command += [f"--rps={each}", "-D", str(seconds), f"--log-file={log}"]
        command.append(f"http://127.0.0.1:{port}{case.path}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        rows = [line.split("\t") for line in log.read_text().splitlines()] if log.exists() else []
    counted = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
    good = [int(took) for _, status, took in rows if status == "200"]
    if done.returncode or not counted or counted.groups() != ("0", "0", "0"):
        raise Failed(f"h2load at port {port}:\n{done.stdout}{done.stderr}")
    if len(good) != len(rows) or len(good) < 0.9 * case.rate * seconds:
        raise Failed(f"h2load at port {port}: {len(good)} good answers of {len(rows)}, too few")
    times = corrected(good, 1_000_000 / each)
    return Answered(len(good), tuple(quantile(times, it) for it in QUANTILES))


def corrected(times_us, interval_us):
    """Times with those of the requests that a slow answer kept from being sent.

    A connection sends one request per interval. Had it not waited, a request would have been sent
    at each interval that a slow answer lasted, and waited for the rest of it.
    """
    found = list(times_us)
    for it in times_us:
        missed = it - interval_us
        while missed > 0:
            found.append(missed)
            missed -= interval_us
    return sorted(found)


def quantile(ordered, percent):
    """The value that `percent` of the values do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@contextlib.contextmanager
def idle(port, count):
    """Holds connections that have had an answer each."""
    with contextlib.ExitStack() as held:
        for _ in range(count):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: idle\r\n\r\n")
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise Failed(f"port {port} does not answer a connection that is to be idle")
        yield
