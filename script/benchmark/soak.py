"""Does the balancer stay as it is under load and reloads? A row for each minute says so.

2,000 requests per second for as long as asked, the configuration read again every ten seconds.
Memory and descriptors are looked at every second; what counts is whether they grow.
"""

import csv
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from . import Failed, load
from .machine import OTHER_CORE
from .proxies import start_backends, start_reader

RATE, CONNECTIONS = 2000, 64
RELOAD_S = 10
MINUTE_S = 60
COLUMNS = (
    "minute", "requests", "failed", "p50_us", "p99_us", "p99.9_us", "reloads",
    "rss_kib_least", "rss_kib_most", "descriptors_least", "descriptors_most", "log_lines",
)  # fmt: skip


def run(balancer, minutes, folder, out):
    """Writes and prints a row per minute; says whether all of it was good."""
    running = []
    try:
        server, backends = start_backends(folder / "backends")
        running.append(server)
        (folder / "proxies").mkdir()
        proxy = start_reader("balancer", balancer, backends, folder / "proxies")
        running.append(proxy)
        _ask(proxy.port, 2)
        rows = [_minute(proxy, number) for number in _told(range(1, minutes + 1))]
    finally:
        for it in reversed(running):
            it.stop()
    out.mkdir(parents=True)
    with (out / "soak.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    print(f"raw rows: {out / 'soak.csv'}")
    return _is_good(rows)


def _told(numbers):
    """Prints the head of the table before its first row."""
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + "---|" * len(COLUMNS))
    yield from numbers


def _minute(proxy, number):
    watch = Watch(proxy)
    watch.start()
    try:
        times, failures = _ask(proxy.port, MINUTE_S)
    finally:
        watch.stop()
    row = dict.fromkeys(COLUMNS, "")
    row.update(minute=number, requests=len(times), failed=len(failures))
    for percent in load.QUANTILES:
        row[f"p{percent}_us"] = load.quantile(times, percent)
    row.update(watch.row())
    print("| " + " | ".join(map(str, row.values())) + " |", flush=True)
    for it in sorted(set(failures)):
        print(f"failed {failures.count(it)} times: {it}")
    return row


def _ask(port, seconds):
    """One stretch of load: times in microseconds, ordered, and failures."""
    command = ["taskset", "-c", OTHER_CORE, sys.executable, Path(__file__).with_name("steady.py")]
    command += map(str, (port, RATE, CONNECTIONS, seconds))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    times = sorted(int(it) for it in lines if it.isdigit())
    if done.returncode or not times:
        raise Failed(f"no load at port {port}:\n{done.stdout[-2000:]}{done.stderr}")
    return times, [it for it in lines if not it.isdigit()]


def _is_good(rows):
    """No request failed, and nothing was larger at the end than after the first minute."""
    problems = []
    if any(it["failed"] for it in rows):
        problems.append("requests failed")
    # The first minute fills what is kept for the next ones.
    for what, slack in (("rss_kib_most", 1.1), ("descriptors_most", 1.2)):
        settled = rows[min(1, len(rows) - 1)][what]
        if rows[-1][what] > settled * slack:
            problems.append(f"{what} has grown from {settled} to {rows[-1][what]}")
    for it in problems:
        print(f"soak: {it}")
    return not problems


class Watch(threading.Thread):
    """Looks at a program every second, and has it read its configuration again every ten."""

    def __init__(self, proxy):
        super().__init__()
        self.proxy, self.over = proxy, threading.Event()
        self.rss, self.descriptors, self.reloads = [], [], 0

    def run(self):
        began = time.monotonic()
        while not self.over.wait(1):
            if RELOAD_S * (self.reloads + 1) <= time.monotonic() - began:
                self.reloads += 1
                self.proxy.process.send_signal(signal.SIGHUP)
            pids = self.proxy.processes()
            self.rss.append(sum(_rss_kib(it) for it in pids))
            self.descriptors.append(sum(len(list(Path(f"/proc/{it}/fd").iterdir())) for it in pids))

    def stop(self):
        self.over.set()
        self.join()

    def row(self):
        if not self.rss:
            raise Failed("the balancer was not looked at")
        log = self.proxy.log.parent / "error.log"
        lines = len(log.read_bytes().splitlines()) if log.exists() else 0
        return {
            "reloads": self.reloads,
            "rss_kib_least": min(self.rss),
            "rss_kib_most": max(self.rss),
            "descriptors_least": min(self.descriptors),
            "descriptors_most": max(self.descriptors),
            "log_lines": lines,
        }


def _rss_kib(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0])
