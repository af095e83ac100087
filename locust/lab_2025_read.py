"""The 2025 lab's first script: two reports, one as often as the other. 100 users at 1/s."""

import outcomes  # noqa: F401  (registers the outcomes file)
from lab_rules import report_passes
from locust import HttpUser, between, task
from shop import SELLERS, SPENDERS, counted_once


class Reader(HttpUser):
    """Reads reports, with one to three seconds between them."""

    wait_time = between(1, 3)

    @task(1)
    def highest_spenders(self):
        with self.client.get(SPENDERS, name=SPENDERS, catch_response=True) as response:
            counted_once(response, report_passes)

    @task(1)
    def best_sellers(self):
        with self.client.get(SELLERS, name=SELLERS, catch_response=True) as response:
            counted_once(response, report_passes)
