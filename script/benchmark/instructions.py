"""How many instructions does a proxied request take? A number that needs no quiet machine.

The balancer runs under callgrind; what a run of many requests takes more than a run of few, divided
by their difference, is the cost of one. System calls count nothing but the way into them.
"""

import re
import signal
import socket
import subprocess
import tempfile
import time
import tomllib
from pathlib import Path

from . import Failed
from .machine import free_ports, program
from .proxies import NGINX, POOLED, REUSED, start_backends

FEW, MANY = 300, 2300
KEPT = Path(__file__).with_name("instructions.toml")
TOLERANCE = 1.03
REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"


def count(balancer):
    """Instructions of user space for each request, by case of `instructions.toml`."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)
        server, backends = start_backends(Path(folder) / "backends")
        try:
            return {
                name: _of_one(balancer, backends, Path(folder), name == "logged")
                for name in ("plain", "logged")
            }
        finally:
            server.stop()


def report(counted):
    """The figures beside those that are kept, and whether one has grown beyond tolerance."""
    kept = tomllib.loads(KEPT.read_text(encoding="utf-8"))
    lines = ["| case | instructions per request | kept | ratio |", "|---|---|---|---|"]
    for name, found in counted.items():
        lines.append(f"| {name} | {found} | {kept[name]} | {found / kept[name]:.3f} |")
    has_grown = any(found > kept[name] * TOLERANCE for name, found in counted.items())
    return "\n".join(lines), has_grown


def _of_one(balancer, backends, folder, is_logged):
    few, many = (_run(balancer, backends, folder, is_logged, it) for it in (FEW, MANY))
    return round((many - few) / (MANY - FEW))


def _run(balancer, backends, folder, is_logged, requests):
    ports = free_ports(2)
    place = folder / f"{requests}-{is_logged}"
    place.mkdir()
    text = NGINX.format(
        workers=1,
        servers=" ".join(f"server 127.0.0.1:{it};" for it in backends),
        pooled=POOLED,
        reused=REUSED,
        port=ports[0],
        logged=ports[1],
    )
    (place / "proxy.conf").write_text(text)
    command = [program("valgrind"), "--tool=callgrind", "--callgrind-out-file=callgrind.out"]
    command += [str(balancer), "-p", str(place), "-c", str(place / "proxy.conf"), "-e", "error.log"]
    told = place / "callgrind.log"
    with told.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=place)
        try:
            _ask(ports[is_logged], requests)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    found = re.search(r"Collected : (\d+)", told.read_text(errors="replace"))
    if not found:
        raise Failed(f"callgrind has counted nothing:\n{told.read_text(errors='replace')}")
    return int(found[1])


def _ask(port, requests):
    """One request after another over one connection."""
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), 10)
            break
        except ConnectionRefusedError:
            if deadline < time.monotonic():
                raise Failed("the balancer does not start under callgrind") from None
            time.sleep(0.05)
    with connection:
        for _ in range(requests):
            connection.sendall(REQUEST)
            answer = b""
            while not answer.endswith(b"x" * 200):
                part = connection.recv(1 << 16)
                if not part:
                    raise Failed("the balancer closes the connection under callgrind")
                answer += part
