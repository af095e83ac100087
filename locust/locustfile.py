"""The corrected script: each request is counted once, choices are seeded, answers are checked.

Orders and two reports, each as often as the others, with one to two seconds between them. One order
in a hundred is read back and compared. Variables:

LOAD_SEED         seed of all choices (default 1)
LOAD_PROFILE      `wide`: all ids (default); `hot`: ids 1 and 2, as in the lab
LOAD_LINES        lines per order (default: 1, in three of ten orders 3)
LOAD_PRODUCTS     highest product id, LOAD_CUSTOMERS highest user id (default: found by asking)
LOAD_TIMEOUT      seconds for connecting and for each read (default 60)
LOAD_IDEMPOTENCY  `1` sends an Idempotency-Key with each order
LOAD_SHAPE        `lab`, `hold`, `steps` or `open`, see shapes.py (default: -u, -r and -t)
"""

import json
import os
import random
import uuid
from decimal import Decimal

import ids
import outcomes  # noqa: F401  (registers the outcomes file)
import shapes
from locust import FastHttpUser, between, events, task
from shop import ORDERS, SELLERS, SPENDERS, Wrong, body_of, counted_once

SEED = int(os.environ.get("LOAD_SEED", "1"))
LINES = int(os.environ.get("LOAD_LINES", "0"))
TIMEOUT = float(os.environ.get("LOAD_TIMEOUT", "60"))
IDEMPOTENCY = os.environ.get("LOAD_IDEMPOTENCY") == "1"

highest = ids.Highest(products=2, customers=2)


@events.test_start.add_listener
def find_ids(environment, **_):
    """Asks the shop once how many products and customers it has."""
    global highest
    if os.environ.get("LOAD_PROFILE", "wide") != "hot":
        highest = ids.find(environment.host)


class Customer(FastHttpUser):
    """Orders, reads reports, and sometimes looks at what was ordered."""

    abstract = shapes.NAME == "open"
    wait_time = between(1, 2)
    connection_timeout = TIMEOUT
    network_timeout = TIMEOUT
    max_retries = 0
    started = 0

    def on_start(self):
        Customer.started += 1
        self.random = random.Random(f"{SEED}/{Customer.started}")

    @task(1)
    def order(self):
        body = self.new_order()
        key = uuid.UUID(int=self.random.getrandbits(128), version=4)
        headers = {"Idempotency-Key": str(key)} if IDEMPOTENCY else {}
        with self.client.post(
            ORDERS, json=body, headers=headers, name=ORDERS, catch_response=True
        ) as response:
            number = counted_once(response, order_was_created)
        if number is not None and self.random.random() < 0.01:
            self.read_back(number, body)

    @task(1)
    def highest_spenders(self):
        with self.client.get(SPENDERS, name=SPENDERS, catch_response=True) as response:
            counted_once(response, report_is_a_list)

    @task(1)
    def best_sellers(self):
        with self.client.get(SELLERS, name=SELLERS, catch_response=True) as response:
            counted_once(response, report_is_a_list)

    def new_order(self):
        lines = LINES or (3 if self.random.random() < 0.3 else 1)
        items = [
            {
                "product_id": self.random.randint(1, highest.products),
                "quantity": self.random.randint(1, 4),
            }
            for _ in range(lines)
        ]
        return {"user_id": self.random.randint(1, highest.customers), "items": items}

    def read_back(self, number, body):
        with self.client.get(
            f"{ORDERS}/{number}", name=f"{ORDERS}/{{id}}", catch_response=True
        ) as response:
            counted_once(response, lambda it: order_reads_as_sent(it, body))


def order_was_created(response):
    """Status 201 and an `order_id`."""
    body = answer_of(response, 201)
    if not isinstance(body, dict) or not isinstance(body.get("order_id"), int):
        raise Wrong(f"no order_id in {body}")
    return body["order_id"]


def report_is_a_list(response):
    """Status 200 and a list."""
    body = answer_of(response, 200)
    if not isinstance(body, list):
        raise Wrong(f"not a list: {body}")
    return body


def order_reads_as_sent(response, sent):
    """The same customer and lines, and a total that is the sum of the lines."""
    body = answer_of(response, 200)
    try:
        lines = json.loads(body["items"], parse_float=Decimal)
        read = [{"product_id": it["product_id"], "quantity": it["quantity"]} for it in lines]
        total = sum(Decimal(it["unit_price"]) * it["quantity"] for it in lines)
        same = int(body["user_id"]) == sent["user_id"] and read == sent["items"]
        same = same and Decimal(body["total_amount"]) == total
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise Wrong(f"order cannot be read: {error!r} in {body}") from None
    if not same:
        raise Wrong(f"order reads back as {body}, sent was {sent}")


def answer_of(response, expected):
    """The body of an answer with the expected status."""
    reason = getattr(response, "error", None)
    body = body_of(response, f"no answer: {reason!r}", f"{response.status_code} without JSON")
    if response.status_code != expected:
        error = body.get("error") if isinstance(body, dict) else body
        raise Wrong(f"{response.status_code}: {error}")
    return body


if shapes.NAME == "open":

    class Arrivals(shapes.Arrivals, Customer):
        """One dispatcher in the place of all users."""

        abstract = False


Shape = shapes.CHOSEN
