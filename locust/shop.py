"""What the load scripts know of the shop: its routes, and when an answer is right."""

import json
import time

from gevent.local import local

ORDERS = "/orders"
SPENDERS = "/orders/reports/highest-spenders"
SELLERS = "/orders/reports/best-sellers"


# When the next request of this greenlet was due, on `time.perf_counter`; absent in closed loops.
due = local()


class Wrong(Exception):
    """An answer that must count as a failure; the message says why."""


def body_of(response, no_answer, no_json):
    """The JSON of an answer; `Wrong` with one of the two texts when there is none."""
    if not response.status_code:
        raise Wrong(no_answer)
    if "application/json" not in response.headers.get("Content-Type", ""):
        raise Wrong(no_json)
    try:
        return json.loads(response.text)
    except ValueError:
        raise Wrong(no_json) from None


def counted_once(response, rule):
    """Applies `rule` inside a `catch_response` block: one request, one success or one failure.

    Where a moment is noted in `due`, the time counts from it and not from the sending.
    """
    if hasattr(due, "at"):
        response.request_meta["response_time"] = (time.perf_counter() - due.at) * 1000
        del due.at
    try:
        result = rule(response)
    except Wrong as wrong:
        response.failure(str(wrong))
        return None
    response.success()
    return result
