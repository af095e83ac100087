"""What does a request cost the store? It has a core to itself; load and databases share the other.

Three stores: over a file, over MariaDB, and over MariaDB with Redis as in production. The figure is
CPU time of the store's own process, so over a file it is the database's, too.
"""

import contextlib
import getpass
import os
import socket
import statistics
import subprocess

from . import Failed, load
from .cases import Case
from .machine import OTHER_CORE, PROXY_CORE, Server, answers, free_ports, program

BESIDE = (("mariadbd", "--version"), ("redis-server", "--version"), ("wrk", "-v"))
WARM_UP_S = 1
ACCOUNT = "store"
ORDER = (
    '{"user_id":1,"items":[{"product_id":1,"quantity":1},{"product_id":2,"quantity":2}]}'
)
CASES = {
    "report": Case("GET report, remembered", path="/orders/reports/best-sellers"),
    "order": Case(
        "POST order of two lines",
        path="/orders",
        headers={"Content-Type": "application/json"},
        text=ORDER,
        connections=16,
    ),
}
MOST_US = {
    ("report", "sqlite"): 25,
    ("report", "mariadb"): 25,
    ("report", "mariadb_redis"): 25,
    ("order", "mariadb"): 150,
    ("order", "mariadb_redis"): 150,
}
"""What is promised, in CPU microseconds per request."""


def measure(store, folder, rounds, seconds):
    """One row per case, round and store."""
    with contextlib.ExitStack() as running:
        stores = _start(store, folder, running)
        for name, case in CASES.items():
            for it in stores:
                load.apply(case, it.port, WARM_UP_S)
            for number in range(1, rounds + 1):
                for it in stores:
                    before = it.cpu_us()
                    answered = load.apply(case, it.port, seconds)
                    cpu = it.cpu_us() - before
                    row = {
                        "case": name,
                        "round": number,
                        "store": it.name,
                        "requests": answered.requests,
                        "seconds": seconds,
                        "cpu_us": round(cpu),
                        "cpu_us_per_request": round(cpu / answered.requests, 3),
                        "pss_kib": it.pss_kib(),
                    }
                    quantiles = zip(load.QUANTILES, answered.quantiles_us, strict=True)
                    row.update({f"p{percent}_us": took for percent, took in quantiles})
                    yield row


def summarize(rows, told):
    """A line per case and store; `told` is what was measured, and on what."""
    lines = [
        "# What a request costs the store",
        "",
        f"{max(it['round'] for it in rows)} interleaved rounds of {rows[0]['seconds']} s in a closed "
        "loop: 64 connections for reports, 16 for orders. The store on one core, load and databases on "
        "the other; medians of the rounds, least and most in parentheses.",
        "",
        *(f"- {it}" for it in told),
        "",
        "| case | store | CPU us per request | most | per second | p50 us | p99 us | p99.9 us | PSS MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case, store in dict.fromkeys((it["case"], it["store"]) for it in rows):
        of_both = [it for it in rows if (it["case"], it["store"]) == (case, store)]
        costs = [it["cpu_us_per_request"] for it in of_both]
        rate = statistics.median(it["requests"] / it["seconds"] for it in of_both)
        times = " | ".join(
            f"{statistics.median(it[f'p{percent}_us'] for it in of_both):.0f}"
            for percent in load.QUANTILES
        )
        lines.append(
            f"| {CASES[case].title} | {store} "
            f"| {statistics.median(costs):.2f} ({min(costs):.2f}-{max(costs):.2f}) "
            f"| {MOST_US.get((case, store), '-')} | {rate:.0f} | {times} "
            f"| {max(it['pss_kib'] for it in of_both) / 1024:.1f} |"
        )
    return "\n".join(lines) + "\n"


def _start(store, folder, running):
    """The three stores, ready, with their databases."""
    database = _start_mariadb(folder / "database", running)
    redis = _start_redis(folder / "memory", running)
    settings = {
        "sqlite": {"STORE_DATA": "store.sqlite3"},
        "mariadb": {"DATABASE_URL": f"{database}/plain"},
        "mariadb_redis": {"DATABASE_URL": f"{database}/shared", "REDIS_URL": redis},
    }
    stores = []
    for name, given in settings.items():
        place = folder / name
        place.mkdir()
        (port,) = free_ports(1)
        env = {"STORE_LISTEN": f"127.0.0.1:{port}", "STORE_SEED": "small", **given}
        env = {"PATH": os.environ.get("PATH", ""), **env}
        started = Server(name, [str(store)], port, PROXY_CORE, place, env=env, is_ready=_is_ready)
        running.callback(started.stop)
        stores.append(started)
    return stores


def _start_mariadb(place, running):
    """A server in a folder; the URL to which the name of a database is added."""
    place.mkdir()
    (port,) = free_ports(1)
    user = f"--user={getpass.getuser()}"
    install = [program("mariadb-install-db"), "--no-defaults", "--skip-test-db", user]
    install += ["--auth-root-authentication-method=normal", f"--datadir={place}/data"]
    done = subprocess.run(
        [*install, f"--tmpdir={place}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Failed(f"mariadb-install-db:\n{done.stderr}")
    (place / "start.sql").write_text(
        "CREATE DATABASE IF NOT EXISTS plain;\nCREATE DATABASE IF NOT EXISTS shared;\n"
        f"CREATE USER IF NOT EXISTS '{ACCOUNT}'@'%' IDENTIFIED BY '{ACCOUNT}';\n"
        f"GRANT ALL ON *.* TO '{ACCOUNT}'@'%';\n"
    )
    command = [program("mariadbd"), "--no-defaults", "--bind-address=127.0.0.1", user]
    command += ["--skip-name-resolve", "--innodb-flush-log-at-trx-commit=2"]
    command += [f"--datadir={place}/data", f"--socket={place}/s", f"--pid-file={place}/pid"]
    command += [f"--init-file={place}/start.sql", f"--port={port}"]
    server = Server("mariadb", command, port, OTHER_CORE, place, is_ready=_speaks_first)
    running.callback(server.stop)
    return f"mysql://{ACCOUNT}:{ACCOUNT}@127.0.0.1:{port}"


def _start_redis(place, running):
    place.mkdir()
    (port,) = free_ports(1)
    command = [program("redis-server"), "--bind", "127.0.0.1", "--port", str(port)]
    command += ["--save", "", "--appendonly", "no"]
    server = Server("redis", command, port, OTHER_CORE, place, is_ready=_accepts)
    running.callback(server.stop)
    return f"redis://127.0.0.1:{port}"


def _is_ready(port):
    return answers(port, "/ready")


def _speaks_first(port):
    """As a MySQL server does once it takes connections."""
    return _accepts(port, lambda it: it.recv(1))


def _accepts(port, first=lambda _: True):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            return bool(first(connection))
    except OSError:
        return False
