"""Which request may be sent again after which outcome, and how long to wait before it.

A create call is never repeated: the API has no idempotency token, and its guide says that sending the same
create twice makes two jobs. Reads, cancel, delete and the steps of an upload change nothing when repeated.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping

from airflow_provider_batch.gemini.exchange import Answer, Download, Lost, Pause, Reply, Request, Step

PASSING_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses that may pass by themselves."""

MAX_TRIES = 4
"""With the waits below, four tries outlast a fault of about ten seconds. Longer ones are the caller's."""

FIRST_WAIT_S = 0.5
MAX_WAIT_S = 20.0
"""A longer hint than this ends the call instead: its caller can wait without holding a worker slot."""


def persist(request: Request) -> Generator[Step, Reply, Answer | Lost]:
    """Send until the outcome is not a passing one, or the tries are used up; return the last outcome."""
    outcome: Answer | Lost = Lost("not sent", was_sent=False)
    for attempt in range(1, MAX_TRIES + 1):
        outcome = yield from once(request)
        if not may_pass(outcome) or attempt == MAX_TRIES:
            break
        hint = retry_after_s(outcome.headers) if isinstance(outcome, Answer) else None
        if hint is not None and hint > MAX_WAIT_S:
            break
        yield Pause(max(wait_s(attempt), hint or 0.0))
    return outcome


def once(request: Request | Download) -> Generator[Step, Reply, Answer | Lost]:
    """Put the request on the wire exactly once."""
    outcome = yield request
    if not isinstance(outcome, Answer | Lost):
        raise TypeError(f"a request was answered with {type(outcome).__name__}")
    return outcome


def persist_download(request: Request) -> Generator[Step, Reply, Answer | Lost]:
    """Fetch a body into the sink; after a cut, go on from the last byte that arrived.

    A cut that brought new bytes does not use up a try: a long body over a poor line still arrives.
    """
    offset, failures = 0, 0
    while True:
        outcome = yield from once(Download(request, from_byte=offset))
        if not may_pass(outcome):
            return outcome
        reached = outcome.received if isinstance(outcome, Lost) else 0
        failures = 1 if reached > offset else failures + 1
        offset = max(offset, reached)
        if failures >= MAX_TRIES:
            return outcome
        yield Pause(wait_s(failures))


def may_pass(outcome: Answer | Lost) -> bool:
    """True if the same request may well succeed a little later."""
    return isinstance(outcome, Lost) or outcome.status in PASSING_STATUSES


def wait_s(attempt: int) -> float:
    """Seconds before try ``attempt + 1``: exponential with full jitter, so that clients spread out."""
    longest = min(MAX_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1))
    return random.uniform(0.1 * longest, longest)  # noqa: S311 (jitter, not a secret)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The ``Retry-After`` header in seconds, clamped to 1 s to 1 h; None if absent or not a number."""
    try:
        return min(3600.0, max(1.0, float(headers["retry-after"])))
    except (KeyError, ValueError):
        return None
