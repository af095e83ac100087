"""The 2025 lab's second script, completed: orders and two reports, each as often as the others.

It was handed out with user and product 0, so that every order failed until somebody edited it;
here users are 1 to 3 and products 1 to 4, which every seed has.
"""

import random

import outcomes  # noqa: F401  (registers the outcomes file)
from lab_rules import order_passes, report_passes
from locust import HttpUser, between, task
from shop import ORDERS, SELLERS, SPENDERS, counted_once


class Customer(HttpUser):
    """Orders and reads reports, with one to three seconds between them."""

    wait_time = between(1, 3)

    @task(1)
    def order(self):
        items = [{"product_id": random.randint(1, 4), "quantity": 1}]
        if random.random() < 0.3:
            items += [{"product_id": random.randint(1, 4), "quantity": n} for n in (1, 2)]
        body = {"user_id": random.randint(1, 3), "items": items}
        with self.client.post(ORDERS, json=body, name=ORDERS, catch_response=True) as response:
            counted_once(response, order_passes)

    @task(1)
    def highest_spenders(self):
        with self.client.get(SPENDERS, name=SPENDERS, catch_response=True) as response:
            counted_once(response, report_passes)

    @task(1)
    def best_sellers(self):
        with self.client.get(SELLERS, name=SELLERS, catch_response=True) as response:
            counted_once(response, report_passes)
