"""What became of the requests, second by second: `<prefix>_outcomes.csv` beside Locust's own files.

One row per second, endpoint and answering instance. Times of successes and of failures stand apart,
because a median over both describes neither. `<prefix>_errors.csv` counts each error text: Locust's
own file of failures may lack the last second. Both are written when `--csv PREFIX` is given.
"""

import csv
import time
from collections import Counter, defaultdict

from locust import events

CLASSES = (
    "client_timeout",
    "connect",
    "502",
    "503_pool",
    "503_redis",
    "503_database",
    "4xx",
    "other",
)
COLUMNS = (
    "second",
    "endpoint",
    "instance",
    "users",
    "ok",
    "failed",
    *CLASSES,
    "ok_p50_ms",
    "ok_p95_ms",
    "ok_p99_ms",
    "failed_p50_ms",
    "failed_p95_ms",
    "failed_p99_ms",
)


class Cell:
    """One second of one endpoint at one instance."""

    def __init__(self):
        self.users = 0
        self.ok = []
        self.failed = []
        self.classes = Counter()

    def row(self):
        values = [self.users, len(self.ok), len(self.failed)]
        values += [self.classes[it] for it in CLASSES]
        return values + percentiles(self.ok) + percentiles(self.failed)


class Recorder:
    """Listens to requests and writes the file at the end."""

    def __init__(self, environment):
        self.environment = environment
        self.cells = defaultdict(Cell)
        self.started = time.time()

    def start(self, **_):
        self.started = time.time()

    def record(self, request_type, name, response_time, exception, response=None, **_):
        second = int(time.time() - self.started)
        headers = getattr(response, "headers", None) or {}
        cell = self.cells[second, f"{request_type} {name}", headers.get("X-Store-Instance", "")]
        cell.users = self.environment.runner.user_count if self.environment.runner else 0
        if exception is None:
            cell.ok.append(response_time)
        else:
            cell.failed.append(response_time)
            cell.classes[class_of(response, exception)] += 1

    def write(self, **_):
        prefix = self.environment.parsed_options.csv_prefix
        with open(f"{prefix}_outcomes.csv", "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(COLUMNS)
            for key in sorted(self.cells):
                rows.writerow([*key, *self.cells[key].row()])
        with open(f"{prefix}_errors.csv", "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(("occurrences", "method", "endpoint", "error"))
            for error in sorted(self.environment.stats.errors.values(), key=lambda it: -it.occurrences):
                rows.writerow((error.occurrences, error.method, error.name, error.error))


def class_of(response, exception):
    """Which part failed, as far as the answer tells."""
    status = getattr(response, "status_code", 0) or 0
    error = f"{getattr(response, 'error', None) or ''} {exception!r}".lower()
    if not status:
        return "client_timeout" if "timeout" in error or "timed out" in error else "connect"
    if status == 502:
        return "502"
    if status == 503:
        text = (response.text or "").lower()
        # The sentence about Redis names a pool, and the one about the pool a database.
        words = (
            ("503_redis", "redis"),
            ("503_pool", "pool"),
            ("503_database", "database"),
            ("503_database", "mysql"),
        )
        return next((name for name, word in words if word in text), "other")
    return "4xx" if 400 <= status < 500 else "other"


def percentiles(times):
    """p50, p95 and p99 by nearest rank, empty when there is nothing to rank."""
    if not times:
        return ["", "", ""]
    ranked = sorted(times)
    last = len(ranked) - 1
    return [round(ranked[min(last, len(ranked) * p // 100)], 3) for p in (50, 95, 99)]


@events.init.add_listener
def register(environment, **_):
    """Follows one run of Locust."""
    if environment.parsed_options and environment.parsed_options.csv_prefix:
        recorder = Recorder(environment)
        environment.events.test_start.add_listener(recorder.start)
        environment.events.request.add_listener(recorder.record)
        environment.events.quitting.add_listener(recorder.write)
