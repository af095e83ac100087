"""Clients that ask all the time, and remember every answer."""

import http.client
import json
import threading
import time
import uuid

READS = ["/products/1", "/orders/reports/best-sellers", "/stocks/2", "/orders/reports/highest-spenders", "/users/1"]


class Load:
    """Threads with a connection each: reads, and orders with an Idempotency-Key unless `reads_only`.

    A request is sent up to `tries` times, half a second apart, an order under the same key; it counts as
    failed when the last try does, and `again` counts the tries that came after a failed one.
    """

    def __init__(self, port, clients=16, reads_only=False, tries=1):
        self.port, self.reads_only, self.tries = port, reads_only, tries
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.answers, self.failures, self.again, self.orders = 0, [], 0, []
        self.instances, self.first_seen = {}, {}
        self.threads = [threading.Thread(target=self.client, args=(it,), daemon=True) for it in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(timeout=60)

    def client(self, number):
        connection = None
        turn = number
        while not self.ended.is_set():
            turn += 1
            order = not self.reads_only and turn % 4 == 0
            key = str(uuid.uuid4())
            for tried in range(1, self.tries + 1):
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=40)
                try:
                    status, headers, body = self.ask(connection, order, key, turn)
                    wrong = None if status < 500 else f"{status} {body[:200]!r}"
                except (OSError, http.client.HTTPException) as error:
                    wrong = f"{type(error).__name__}: {error}"
                    connection.close()
                    connection = None
                if wrong is None:
                    break
                with self.lock:
                    self.again += tried < self.tries
                self.ended.wait(0.5 if tried < self.tries else 0)
            with self.lock:
                if wrong is not None:
                    self.failures.append((time.monotonic(), "order" if order else "read", wrong))
                    continue
                self.answers += 1
                instance = headers.get("X-Store-Instance", "nobody")
                self.instances[instance] = self.instances.get(instance, 0) + 1
                self.first_seen.setdefault(instance, time.monotonic())
                if order and status == 201:
                    self.orders.append(json.loads(body)["order_id"])

    def ask(self, connection, order, key, turn):
        if order:
            body = json.dumps({"user_id": 1 + turn % 3, "items": [{"product_id": 1 + turn % 50, "quantity": 1}]})
            connection.request("POST", "/orders", body, {"Content-Type": "application/json", "Idempotency-Key": key})
        else:
            connection.request("GET", READS[turn % len(READS)])
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
