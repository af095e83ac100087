"""Programs on this machine: started on a core, watched, stopped."""

import contextlib
import ctypes
import http.client
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import Failed

PROXY_CORE, OTHER_CORE = "0", "1"
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


def own_network():
    """Goes where only loopback is, and no firewall's rule that each packet would pay for.

    False where the system does not allow it; then the network is the machine's.
    """
    clone_newnet = 0x40000000
    if not shutil.which("ip") or ctypes.CDLL(None).unshare(clone_newnet):
        return False
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return True


def answers(port, path="/"):
    """Whether a request is answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _of_threads(pid):
    return sum(int(it.read_text().split()[0]) for it in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1000


def _of_process(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


class Server:
    """A started program, answering on `port`, until `stop`."""

    def __init__(self, name, command, port, core, folder, *, env=None, is_ready=answers):
        self.name, self.port = name, port
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", core, *command], stdout=log, stderr=log, cwd=folder, env=env
            )
        deadline = time.monotonic() + 30
        while not is_ready(port):
            if self.process.poll() is not None or deadline < time.monotonic():
                self.stop()
                raise Failed(f"{name} does not answer:\n{self.log.read_text(errors='replace')}")
            time.sleep(0.02)

    def processes(self):
        """The program and its workers."""
        found = [self.process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, task.read_text().split())
        return found

    def cpu_us(self):
        """User and system time of all its processes so far.

        `stat` counts in hundredths of a second, of which a round at a fixed rate has few; where the
        kernel keeps it, `schedstat` has the same in nanoseconds, thread by thread.
        """
        return sum(_of_threads(pid) or _of_process(pid) for pid in self.processes())

    def pss_kib(self):
        """Memory, shared pages counted by share."""
        text = "".join(Path(f"/proc/{it}/smaps_rollup").read_text() for it in self.processes())
        return sum(map(int, re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)))

    @contextlib.contextmanager
    def system_calls(self):
        """Counts system calls while it is open; the list it gives then holds the number."""
        counted = []
        pids = ",".join(map(str, self.processes()))
        command = [program("perf"), "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", pids]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as perf:
            # It says nothing when it has begun; what it misses of a round of seconds is little.
            time.sleep(0.2)
            yield counted
            perf.send_signal(signal.SIGINT)
            told = perf.stderr.read()
        found = re.search(r"^(\d+),,raw_syscalls", told, re.MULTILINE)
        if found:
            counted.append(int(found[1]))

    def stop(self):
        """Ends it, and waits until it has."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def counts_system_calls():
    """Whether the kernel lets system calls be counted here."""
    if not shutil.which("perf"):
        return False
    command = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and re.search(r"^\d+,,raw_syscalls", done.stderr, re.MULTILINE)


def free_ports(count):
    """Different free ports: all are held until the last is found."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports


def program(name):
    """An installed program, or what the environment names in its place: NGINX=/path/to/nginx.

    Servers stand in sbin folders.
    """
    path = os.environ.get(name.upper()) or shutil.which(
        name, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    )
    if not path:
        raise Failed(f"{name} is not installed: run script/bootstrap")
    return path


def first_line(command):
    """What a program says of itself."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return ((done.stdout + done.stderr).splitlines() or ["unknown"])[0]


def versions(measured, *beside):
    """What was measured, and on what; `beside` are commands of programs that say what they are."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    name = cpu[1] if cpu else platform.machine()
    yield f"machine: {name}, {os.cpu_count()} cores, Linux {platform.release()}"
    yield measured
    for command in beside:
        yield first_line([program(command[0]), *command[1:]])
