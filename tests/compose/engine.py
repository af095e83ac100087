"""One project of Docker Compose, apart from everything else on the engine."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The variable of compose.yml that names each host port.
PORTS = ["BALANCER_PORT", "BALANCER_ADMIN_PORT", "PROMETHEUS_PORT", "LOCUST_PORT", "NGINX_PORT", "GRAFANA_PORT"]


class NotHere(Exception):
    """What is needed cannot be had on this machine."""


def answers():
    """Whether a Docker Engine answers."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


def compose_tool():
    """Docker Compose 2: the engine's plugin, a program of its own, or Debian's, unpacked beside the build."""
    for words in (["docker", "compose"], ["docker-compose"], [str(ROOT / "target/compose/docker-compose")]):
        try:
            done = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        version = done.stdout.strip().lstrip("v")
        if done.returncode == 0 and version[:1].isdigit() and int(version.split(".")[0]) >= 2:
            return words, version
    return fetch_tool()


def fetch_tool():
    """Debian 12 has Compose 1; the program of a later Debian needs nothing that 12 has not."""
    folder = ROOT / "target/compose"
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(f"deb [signed-by={keyring}] http://deb.debian.org/debian sid main\n")
    options = ["-o", f"Dir::Etc::sourcelist={folder}/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null"]
    options += ["-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"]
    options += ["-o", "APT::Sandbox::User=root", "-o", "Acquire::Check-Valid-Until=false", "-qq"]
    try:
        subprocess.run(["apt-get", *options, "update"], check=True, capture_output=True)
        subprocess.run(["apt-get", *options, "download", "docker-compose"], check=True, capture_output=True, cwd=folder)
        package = next(folder.glob("*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, folder / "package"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError, StopIteration) as error:
        raise NotHere(f"there is no Docker Compose 2, and Debian's cannot be fetched: {error}") from error
    program = folder / "docker-compose"
    shutil.copy(next(it for it in (folder / "package").rglob("docker-compose") if it.is_file()), program)
    done = subprocess.run([program, "version", "--short"], capture_output=True, text=True, check=True)
    return [str(program)], done.stdout.strip()


def free_ports(count):
    """Ports that nobody listens on, all held until all are known."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports


class Project:
    """The services of compose.yml under a name and on ports of their own."""

    def __init__(self, name, variables=None):
        self.words, self.version = compose_tool()
        self.name = name
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.folder = tempfile.TemporaryDirectory()
        env = pathlib.Path(self.folder.name) / "env"
        settings = {"SHOP_VERSION": "test", **self.ports, **(variables or {})}
        env.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self.words += ["--project-name", name, "--project-directory", str(ROOT), "--env-file", str(env)]
        self.words += ["--file", str(ROOT / "compose.yml")]

    def run(self, *words, check=True, timeout=1800):
        """What `docker compose WORDS` prints; its messages go where ours go."""
        # The lab's variables of whoever runs this must not reach the services.
        env = {key: value for key, value in os.environ.items() if not key.startswith(("DB_", "STORE_", "REDIS_"))}
        done = subprocess.run(
            [*self.words, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, check=False, timeout=timeout, env={**env, "BUILDKIT_PROGRESS": "plain"},
        )
        if check and done.returncode != 0:
            sys.stderr.write(done.stderr[-6000:])
            raise AssertionError(f"docker compose {' '.join(words)}: exit code {done.returncode}")
        return done

    def containers(self, service):
        """The ids of a service's running containers."""
        return self.run("ps", "--quiet", service).stdout.split()

    def states(self):
        """Each container of the project: service, state, health."""
        lines = self.run("ps", "--all", "--format", "json").stdout.splitlines()
        return [(it["Service"], it["State"], it["Health"]) for it in map(json.loads, lines)]

    def url(self, port, path):
        """An address of one of the host ports."""
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def get(self, port, path):
        """The body of a GET."""
        with urllib.request.urlopen(self.url(port, path), timeout=10) as answer:
            return answer.read().decode()

    def metric(self, name, **labels):
        """The samples of the balancer's metric `name` that have these labels: labels to value."""
        found = {}
        for line in self.get("BALANCER_ADMIN_PORT", "/metrics").splitlines():
            head, _, value = line.rpartition(" ")
            if head.startswith(name + "{") and all(f'{key}="{it}"' in head for key, it in labels.items()):
                found[head] = float(value)
        return found

    def logs(self, *services):
        """The last lines that services wrote."""
        return self.run("logs", "--tail", "60", *services, check=False).stdout

    def down(self):
        """Takes everything away, data too."""
        self.run("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "20", check=False)
        self.folder.cleanup()

    def leftovers(self):
        """What of the project is still on the engine."""
        mine = f"label=com.docker.compose.project={self.name}"
        found = []
        for words in (["ps", "--all"], ["network", "ls"], ["volume", "ls"]):
            done = subprocess.run(["docker", *words, "--quiet", "--filter", mine], capture_output=True, text=True, check=True)
            found += done.stdout.split()
        return found


def docker(*words):
    """What `docker WORDS` prints."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"docker {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout.strip()


def eventually(what, holds, within=30.0):
    """Asks until it holds; how long that took, in seconds."""
    start = time.monotonic()
    while True:
        try:
            if holds():
                return time.monotonic() - start
        except (OSError, urllib.error.URLError, KeyError, ValueError):
            pass
        if time.monotonic() - start > within:
            raise AssertionError(f"{what}: not within {within:.0f} s")
        time.sleep(0.1)
