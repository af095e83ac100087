"""The 2026 lab's script: orders and two reports, each as often as the others. 150 users at 2/s.

Products and users are only ever 1 and 2, as in the lab: two hot rows. `LAB_EXACT=1` also keeps the
lab's fault of counting each request without an answer twice, the second time at 0 ms.
"""

import os
import random

import outcomes  # noqa: F401  (registers the outcomes file)
from lab_rules import NO_ANSWER, order_passes, report_passes
from locust import FastHttpUser, between, task
from shop import ORDERS, SELLERS, SPENDERS, counted_once

EXACT = os.environ.get("LAB_EXACT") == "1"


class Customer(FastHttpUser):
    """Orders and reads reports, with one to two seconds between them."""

    wait_time = between(1, 2)
    connection_timeout = 60.0
    network_timeout = 60.0
    max_retries = 0

    @task(1)
    def order(self):
        items = [{"product_id": random.randint(1, 2), "quantity": random.randint(1, 4)}]
        if random.random() < 0.3:
            product = random.randint(1, 2)
            items += [{"product_id": product, "quantity": n} for n in (1, 2)]
        body = {"user_id": random.randint(1, 2), "items": items}
        with self.client.post(ORDERS, json=body, name=ORDERS, catch_response=True) as response:
            counted_once(response, order_passes)
        self.count_again("POST", ORDERS, response)

    @task(1)
    def highest_spenders(self):
        with self.client.get(SPENDERS, name=SPENDERS, catch_response=True) as response:
            counted_once(response, report_passes)
        self.count_again("GET", SPENDERS, response)

    @task(1)
    def best_sellers(self):
        with self.client.get(SELLERS, name=SELLERS, catch_response=True) as response:
            counted_once(response, report_passes)
        self.count_again("GET", SELLERS, response)

    def count_again(self, method, name, response):
        """The lab's second count of a request without an answer."""
        if EXACT and not response.status_code:
            self.environment.events.request.fire(
                request_type=method,
                name=name,
                response_time=0,
                response_length=0,
                exception=Exception(NO_ANSWER),
                context={},
            )
