"""The proxies that are compared, each with the configuration its users would write for speed."""

import resource
from pathlib import Path

from .machine import OTHER_CORE, PROXY_CORE, Server, free_ports, program

BACKEND = """
daemon off; worker_processes 1; pid backend.pid; error_log error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
    client_max_body_size 1m; sendfile on;
    server {{
        {listens}
        root {folder};
        location = / {{ return 200 "{body}"; }}
    }}
}}
"""
# One file for nginx and for us: the proxy's whole point is to read it unchanged.
NGINX = """
daemon off; worker_processes {workers}; pid proxy.pid; error_log error.log;
events {{ worker_connections 16384; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
    upstream backends {{ {servers} {pooled} }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://backends; {reused} }}
    }}
    server {{
        listen 127.0.0.1:{logged};
        access_log access.log combined;
        location / {{ proxy_pass http://backends; {reused} }}
    }}
}}
"""
POOLED = "keepalive 128; keepalive_requests 1000000000;"
REUSED = 'proxy_http_version 1.1; proxy_set_header Connection "";'
HAPROXY = """
global
    nbthread 1
    maxconn {most}
    log stdout format raw local0
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend proxy
    bind 127.0.0.1:{port}
    default_backend backends
frontend logged
    bind 127.0.0.1:{logged}
    option httplog
    log global
    default_backend backends
backend backends
    balance roundrobin
{servers}
"""


class Proxy(Server):
    """A proxy on the core that is measured."""

    def __init__(
        self, name, command, ports, folder, *, core=PROXY_CORE, is_narrow=False, most=16384
    ):
        super().__init__(name, command, ports[0], core, folder)
        self.logged = ports[1]
        self._is_narrow = is_narrow
        self._most = most

    def takes_part_in(self, case):
        """Some are there for one comparison only, some cannot hold as many connections."""
        is_wide = case.is_wide or not self._is_narrow
        return is_wide and case.idle + case.connections <= self._most

    def port_of(self, case):
        """Where the case is asked."""
        return self.logged if case.is_logged else self.port


def start_backends(folder):
    """Three addresses of one nginx worker."""
    folder.mkdir()
    ports = free_ports(3)
    (folder / "16k").write_bytes(b"x" * (16 << 10))
    (folder / "1m").write_bytes(b"x" * (1 << 20))
    listens = " ".join(f"listen 127.0.0.1:{it};" for it in ports)
    config = folder / "nginx.conf"
    config.write_text(BACKEND.format(listens=listens, folder=folder, body="x" * 200))
    command = [program("nginx"), "-p", str(folder), "-c", str(config), "-e", "error.log"]
    return Server("backends", command, ports[0], OTHER_CORE, folder), ports


def start_proxies(balancer, backends, folder, running):
    """All proxies at once; those that wait cost nothing. Each is in `running` as soon as it runs."""
    folder.mkdir()
    nginx = Path(program("nginx"))
    starts = [
        lambda: start_reader("balancer", balancer, backends, folder),
        lambda: start_reader("balancer_2_workers", balancer, backends, folder, workers=2),
        lambda: start_reader("nginx", nginx, backends, folder),
        lambda: start_reader("nginx_lab", nginx, backends, folder, is_tuned=False),
        lambda: _start_haproxy(backends, folder),
    ]
    started = []
    for start in starts:
        started.append(start())
        running.append(started[-1])
    return started


def start_reader(name, binary, backends, folder, *, workers=1, is_tuned=True):
    """A program that reads nginx.conf; untuned is as the lab has it, no connection used twice."""
    place = folder / name
    place.mkdir()
    ports = free_ports(2)
    text = NGINX.format(
        workers=workers,
        servers=" ".join(f"server 127.0.0.1:{it};" for it in backends),
        pooled=POOLED if is_tuned else "least_conn;",
        reused=REUSED if is_tuned else "",
        port=ports[0],
        logged=ports[1],
    )
    (place / "proxy.conf").write_text(text)
    command = [str(binary), "-p", str(place), "-c", str(place / "proxy.conf"), "-e", "error.log"]
    # Two workers need two cores, so one of them shares its core with the load.
    core = PROXY_CORE if workers == 1 else f"{PROXY_CORE},{OTHER_CORE}"
    is_narrow = workers > 1 or not is_tuned
    return Proxy(name, command, ports, place, core=core, is_narrow=is_narrow)


def _start_haproxy(backends, folder):
    place = folder / "haproxy"
    place.mkdir()
    ports = free_ports(2)
    servers = "\n".join(f"    server s{it} 127.0.0.1:{it}" for it in backends)
    # It does not start with fewer files than two for each connection.
    most = min(16384, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100) // 2)
    text = HAPROXY.format(port=ports[0], logged=ports[1], servers=servers, most=most)
    (place / "proxy.conf").write_text(text)
    command = [program("haproxy"), "-db", "-f", "proxy.conf"]
    return Proxy("haproxy", command, ports, place, most=most)
