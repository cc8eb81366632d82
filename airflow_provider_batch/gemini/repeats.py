"""Which request may be sent again after which outcome, and how long to wait before it.

A create call is never repeated: the API has no idempotency token, and its guide says that sending the same
create twice makes two jobs. Reads, cancel, delete and the steps of an upload change nothing when repeated.
"""

from __future__ import annotations

import random
from collections.abc import Generator

from airflow_provider_batch.gemini.exchange import Answer, Download, Lost, Pause, Reply, Request, Step
from airflow_provider_batch.gemini.rpc import retry_hint_s, rpc_error

PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses that may pass by themselves."""

MAX_TRIES = 4
"""With the waits below, four tries outlast a fault of about ten seconds. Longer ones are the caller's."""

FIRST_WAIT_S = 0.5
MAX_WAIT_S = 20.0
"""A longer hint than this ends the call instead: its caller can wait without holding a worker slot."""

MAX_CALL_S = 180.0
"""No try begins later than this after the call began, seconds: a server that answers slowly and badly."""


def persist(request: Request) -> Generator[Step, Reply, Answer | Lost]:
    """Send until the outcome is not a passing one, or tries or time are used up; return the last outcome."""
    attempt = 1
    while True:
        outcome = yield from once(request)
        if not may_pass(outcome) or attempt == MAX_TRIES:
            return outcome
        hint = retry_hint_s(outcome) if isinstance(outcome, Answer) else None
        if hint is not None and hint > MAX_WAIT_S:
            return outcome
        if (yield from pause(max(wait_s(attempt), hint or 0.0))) > MAX_CALL_S:
            return outcome
        attempt += 1


def persist_delete(request: Request) -> Generator[Step, Reply, Answer | Lost]:
    """The same for a delete: not found, after a try whose answer was lost, means that it had worked."""
    outcome = yield from once(request)
    if not may_pass(outcome):
        return outcome
    yield from pause(wait_s(1))
    outcome = yield from persist(request)
    gone = isinstance(outcome, Answer) and outcome.status == 404 and rpc_error(outcome.body) is not None
    return Answer(200, {}) if gone else outcome


def pause(seconds: float) -> Generator[Step, Reply, float]:
    """Wait; return the seconds since the call began."""
    elapsed = yield Pause(seconds)
    if not isinstance(elapsed, float):
        raise TypeError(f"a pause was answered with {type(elapsed).__name__}")
    return elapsed


def once(request: Request | Download) -> Generator[Step, Reply, Answer | Lost]:
    """Put the request on the wire exactly once."""
    outcome = yield request
    if not isinstance(outcome, Answer | Lost):
        raise TypeError(f"a request was answered with {type(outcome).__name__}")
    return outcome


def persist_download(request: Request, from_byte: int = 0) -> Generator[Step, Reply, Answer | Lost]:
    """Fetch a body into the sink; after a cut, go on from the last byte that arrived.

    A cut that brought new bytes does not use up a try: a long body over a poor line still arrives.

    :param from_byte: The sink holds the body up to here already.
    """
    offset, failures = from_byte, 0
    while True:
        outcome = yield from once(Download(request, from_byte=offset))
        if isinstance(outcome, Answer) and outcome.status == 416 and _ends_at(outcome, offset):
            return Answer(200, {})
        if not may_pass(outcome):
            return outcome
        reached = outcome.received if isinstance(outcome, Lost) else 0
        failures = 1 if reached > offset else failures + 1
        offset = max(offset, reached)
        if failures >= MAX_TRIES:
            return outcome
        yield from pause(wait_s(failures))


def _ends_at(answer: Answer, offset: int) -> bool:
    """True if the server refuses a range because the body is complete (RFC 9110, section 15.5.17)."""
    return answer.headers.get("content-range", "").replace(" ", "") == f"bytes*/{offset}"


def may_pass(outcome: Answer | Lost) -> bool:
    """True if the same request may well succeed a little later."""
    return isinstance(outcome, Lost) or outcome.status in PASSING_STATUSES


def wait_s(attempt: int) -> float:
    """Seconds before try ``attempt + 1``: exponential with full jitter, so that clients spread out."""
    longest = min(MAX_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1))
    return random.uniform(0.1 * longest, longest)  # noqa: S311 (jitter, not a secret)
