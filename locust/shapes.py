"""How many users when, chosen by LOAD_SHAPE; without it, -u, -r and -t say it.

lab    150 users at 2 per second, 120 s from the first
hold   LOAD_USERS at LOAD_RATE per second, then LOAD_HOLD seconds at full load; what happened during
       the ramp is not in the statistics
steps  10 users more every 30 s, up to LOAD_USERS
open   LOAD_RATE arrivals per second for LOAD_HOLD seconds, whatever the shop does; times count from
       the moment at which a request was due
"""

import math
import os
import random
import time

import gevent
import shop
from locust import LoadTestShape, constant

NAME = os.environ.get("LOAD_SHAPE", "")
USERS = int(os.environ.get("LOAD_USERS", "150"))
RATE = float(os.environ.get("LOAD_RATE", "2"))
HOLD = float(os.environ.get("LOAD_HOLD", "120"))


class Lab(LoadTestShape):
    """The ramp is part of the run, as in the lab."""

    def tick(self):
        return (150, 2) if self.get_run_time() < 120 else None


class Hold(LoadTestShape):
    """Counts only the time at full load."""

    def __init__(self):
        super().__init__()
        self.full_since = None

    def tick(self):
        now = self.get_run_time()
        if self.full_since is None and USERS <= self.get_current_user_count():
            self.full_since = now
            self.runner.stats.reset_all()
        if self.full_since is not None and HOLD <= now - self.full_since:
            return None
        return USERS, RATE


class Steps(LoadTestShape):
    """Ten users more every thirty seconds; the last step lasts as long as the others."""

    def tick(self):
        step = int(self.get_run_time() // 30) + 1
        return (min(10 * step, USERS), 10) if 10 * (step - 1) < USERS else None


class One(LoadTestShape):
    """A single user, the dispatcher of an open load."""

    def tick(self):
        return (1, 1) if self.get_run_time() < HOLD else None


class Arrivals:
    """Mixed into a user: runs one of its tasks at each arrival of a Poisson process."""

    wait_time = constant(0)
    concurrency = 10_000

    def on_start(self):
        super().on_start()
        self.arrivals = random.Random(f"{os.environ.get('LOAD_SEED', '1')}/arrivals")
        now = time.perf_counter()
        end, due = now + HOLD, now
        while due < end:
            gevent.sleep(max(0.0, due - time.perf_counter()))
            gevent.spawn(self.arrive, self.arrivals.choice(self.tasks), due)
            due += -math.log(1 - self.arrivals.random()) / RATE
        # The shape ends the run; until then nothing more is due.
        gevent.sleep(HOLD)

    def arrive(self, task, due):
        shop.due.at = due
        task(self)


SHAPES = {"lab": Lab, "hold": Hold, "steps": Steps, "open": One}
if NAME and NAME not in SHAPES:
    raise SystemExit(f'LOAD_SHAPE="{NAME}": choose one of {", ".join(SHAPES)}')
CHOSEN = SHAPES.get(NAME)
