"""Where does the time of a request go? What the kernel takes of it, and what is left to user space.

The goal is 0.80 of nginx's time. What of that the kernel leaves is a bound for everything that a
proxy does by itself: where it is little or nothing, no change of ours reaches the goal.
"""

import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import Failed, load
from .cases import CASES
from .machine import program

GOAL = 0.80
SHOWN = 4
HERTZ = 4000


def report(proxies, names, seconds):
    """A line per case and proxy: the balancer's and nginx's."""
    lines = [
        "| case | proxy | user us | kernel us | left to user space at 0.80 | most of user space |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        found = {it.name: _split(it, CASES[name], seconds) for it in proxies}
        goal = GOAL * sum(found["nginx"][:2])
        for proxy, (user, kernel, symbols) in found.items():
            left = f"{goal - kernel:.1f}" if proxy != "nginx" else "-"
            lines.append(
                f"| {CASES[name].title} | {proxy} | {user:.1f} | {kernel:.1f} | {left} "
                f"| {', '.join(symbols)} |"
            )
    return "\n".join(lines)


def _split(proxy, case, seconds):
    """Microseconds per request in user space and in the kernel, and the first of what takes them."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = Path(folder) / "perf.data"
        pids = ",".join(map(str, proxy.processes()))
        command = [program("perf"), "record", "-q", "-F", str(HERTZ), "-o", str(data), "-p", pids]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as perf:
            # It says nothing when it has begun.
            time.sleep(0.3)
            before = proxy.cpu_us()
            answered = load.apply(case, proxy.port_of(case), seconds)
            cost = (proxy.cpu_us() - before) / answered.requests
            perf.send_signal(signal.SIGINT)
        command = [program("perf"), "report", "--stdio", "-t", "|", "-F", "overhead,dso,symbol"]
        told = subprocess.run([*command, "-i", str(data)], capture_output=True, text=True, check=False)
    kernel, user = 0.0, []
    for line in told.stdout.splitlines():
        found = re.match(r"\s*([\d.]+)%\s*\|\s*([^|]*?)\s*\|\[(.)\] (.*?)\s*(\||$)", line)
        if found and found[3] == "k":
            kernel += float(found[1])
        elif found:
            user.append((float(found[1]), f"{_short(found[4])} {found[1]} %"))
    total = kernel + sum(it for it, _ in user)
    if not total:
        raise Failed(f"perf has seen nothing of {proxy.name}:\n{told.stderr}")
    symbols = [text for _, text in sorted(user, reverse=True)[:SHOWN]]
    return cost * (1 - kernel / total), cost * kernel / total, symbols


def _short(symbol):
    """The last words of a path: `<impl a::b::C>::d::{{closure}}` is `d`."""
    words = [it for it in re.split(r"::", re.sub(r"<[^>]*>", "", symbol)) if it.strip("{}>") not in ("", "closure")]
    return words[-1].strip("<>") if words else symbol
