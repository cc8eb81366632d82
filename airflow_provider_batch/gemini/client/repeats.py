"""Which request may be sent again after which outcome, and how long to wait before it.

A create call is never repeated. The API has no idempotency token, and its guide says that sending the same create
twice makes two jobs. Each answer to a single call is billed, so it is repeated after a refusal only. Reads,
cancel, delete and the steps of an upload change nothing when repeated.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Generator

from airflow_provider_batch.errors import PASSING_STATUSES
from airflow_provider_batch.gemini.client.exchange import ApiAnswer, ApiRequest, Download, Lost, Pause, Reply, Step
from airflow_provider_batch.gemini.client.rpc import retry_hint_s, rpc_error

MAX_TRIES = 4
"""With the waits below, four tries outlast a fault of about ten seconds. Longer ones are the caller's."""

FIRST_WAIT_S = 0.5
MAX_WAIT_S = 20.0
"""A longer hint than this ends the call instead: its caller can wait without holding a worker slot."""

MAX_CALL_S = 180.0
"""No try begins later than this after the call began, seconds: a server that answers slowly and badly."""

SLOWEST_BYTES_PER_S = 10 * 1024
"""A body that comes more slowly than this, after a first :data:`MAX_CALL_S`, is given up: it may never end."""


def persist(request: ApiRequest) -> Generator[Step, Reply, ApiAnswer | Lost]:
    """Send until the outcome is not a passing one, or tries or time are used up. Return the last outcome."""
    return (yield from _repeat(request, may_pass))


def persist_refused(request: ApiRequest) -> Generator[Step, Reply, ApiAnswer | Lost]:
    """The same for a single call: an answer that is lost may be billed, so it is not asked for again."""
    return (yield from _repeat(request, is_refused_for_now))


def _repeat(
    request: ApiRequest, passes: Callable[[ApiAnswer | Lost], bool]
) -> Generator[Step, Reply, ApiAnswer | Lost]:
    attempt = 1
    while True:
        outcome = yield from once(request)
        if not passes(outcome) or attempt == MAX_TRIES:
            return outcome
        hint = retry_hint_s(outcome) if isinstance(outcome, ApiAnswer) else None
        if hint is not None and hint > MAX_WAIT_S:
            return outcome
        if (yield from pause(max(wait_s(attempt), hint or 0.0))) > MAX_CALL_S:
            return outcome
        attempt += 1


def persist_delete(request: ApiRequest) -> Generator[Step, Reply, ApiAnswer | Lost]:
    """The same for a delete: not found, after a try whose answer was lost, means that it had worked."""
    outcome = yield from once(request)
    if not may_pass(outcome):
        return outcome
    yield from pause(wait_s(1))
    outcome = yield from persist(request)
    gone = isinstance(outcome, ApiAnswer) and outcome.status == 404 and rpc_error(outcome.body) is not None
    return ApiAnswer(200, {}, b"{}") if gone else outcome


def pause(seconds: float) -> Generator[Step, Reply, float]:
    """Wait. Return the seconds since the call began."""
    elapsed = yield Pause(seconds)
    if not isinstance(elapsed, float):
        raise TypeError(f"a pause was answered with {type(elapsed).__name__}")
    return elapsed


def once(request: ApiRequest | Download) -> Generator[Step, Reply, ApiAnswer | Lost]:
    """Put the request on the wire exactly once."""
    outcome = yield request
    if not isinstance(outcome, ApiAnswer | Lost):
        raise TypeError(f"a request was answered with {type(outcome).__name__}")
    return outcome


def persist_download(request: ApiRequest, from_byte: int = 0) -> Generator[Step, Reply, ApiAnswer | Lost]:
    """Fetch a body into the sink. After a cut, go on from the last byte that arrived.

    A cut that brought new bytes does not use up a try: a long body over a poor line still arrives. The body is
    whole when the sink holds as many bytes as the server said. The server must say the same number the first time
    and each time after.

    :param from_byte: The sink holds the body up to here already.
    """
    offset, failures, total = from_byte, 0, None
    while True:
        outcome = _of_one_body((yield from once(Download(request, from_byte=offset))), offset, total)
        if isinstance(outcome, ApiAnswer) and not may_pass(outcome):
            return outcome
        reached = outcome.received
        total = total if outcome.total is None else outcome.total
        failures = 1 if reached > offset else failures + 1
        offset = max(offset, reached)
        if failures >= MAX_TRIES:
            return outcome
        elapsed = yield from pause(wait_s(failures))
        if elapsed > MAX_CALL_S + (offset - from_byte) / SLOWEST_BYTES_PER_S:
            return outcome


def _of_one_body(outcome: ApiAnswer | Lost, offset: int, total: int | None) -> ApiAnswer | Lost:
    """The outcome of a part of a download, in the light of all that was said of the body before.

    :param offset: Where the part began.
    :param total: Length of the whole body as it was said before.
    """
    if isinstance(outcome, Lost):
        return outcome
    if outcome.status == 416:
        return _beyond(outcome, offset, total)
    if outcome.status not in (200, 206):
        is_success = 200 <= outcome.status < 300
        return Lost(f"{outcome.status} in place of the file", is_foreign=True) if is_success else outcome
    content_range = outcome.total
    if total is not None and content_range is not None and content_range != total:
        why = f"the file had {total} bytes, now it has {content_range}"
        return Lost(why, received=min(outcome.received, total), total=total, is_foreign=True)
    wanted = content_range if total is None else total
    if wanted is not None and outcome.received != wanted:
        return Lost(f"{outcome.received} of {wanted} bytes came", received=outcome.received, total=wanted)
    return outcome


def _beyond(answer: ApiAnswer, offset: int, total: int | None) -> ApiAnswer | Lost:
    """What it means that there is nothing behind the last byte (RFC 9110, section 15.5.17)."""
    content_range = re.fullmatch(r"bytes ?\*/(\d+)", answer.headers.get("content-range", "").strip())
    if content_range is None or int(content_range[1]) != offset or total not in (None, offset):
        return answer if content_range is None else Lost("416 in the middle of the file", is_foreign=True)
    return ApiAnswer(200, {}, received=offset, total=offset)


def may_pass(outcome: ApiAnswer | Lost) -> bool:
    """True if the same request may well succeed a little later."""
    return isinstance(outcome, Lost) or outcome.status in PASSING_STATUSES


def is_refused_for_now(outcome: ApiAnswer | Lost) -> bool:
    """True if a single call was certainly not served, and may well be a little later.

    A 503 of a gateway, without the API's own error, may stand in place of an answer that is billed.
    """
    if isinstance(outcome, Lost):
        return not outcome.was_sent
    return outcome.status == 429 or (outcome.status == 503 and rpc_error(outcome.body) is not None)


def wait_s(attempt: int) -> float:
    """Seconds before try ``attempt + 1``: exponential with full jitter, so that clients spread out."""
    longest = min(MAX_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1))
    return random.uniform(0.1 * longest, longest)  # noqa: S311 (jitter, not a secret)
