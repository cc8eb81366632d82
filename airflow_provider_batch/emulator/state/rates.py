"""How many single calls a project made of a model in the last minute, and the refusal of what goes beyond.

Counted over the 60 s before a call, on the emulator's clock and in memory: a restart begins at zero. A refused
call does not count. The refusal has the form that was seen of interactive calls, with a wait.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import NamedTuple

from airflow_provider_batch.emulator.state.clock import Clock
from airflow_provider_batch.emulator.state.limits import EXCEEDED, HELP, Limits
from airflow_provider_batch.emulator.state.records import Tier
from airflow_provider_batch.emulator.wire.errors import ApiError, retry_info

MINUTE_S = 60.0

_METRICS = "generativelanguage.googleapis.com/"


class _Quota(NamedTuple):
    metric: str
    id: str


_REQUESTS = _Quota("generate_requests_per_model", "GenerateRequestsPerMinutePerProjectPerModel")
_TOKENS = _Quota(
    "generate_content_paid_tier_input_token_count", "GenerateContentPaidTierInputTokensPerModelPerMinute"
)


class _Counted(NamedTuple):
    """Something that counts until a time."""

    until: float
    amount: int


class _Refusal(NamedTuple):
    """A limit that a call would go beyond, and how long it is until it would not."""

    quota: _Quota
    limit: int
    wait_s: float


class Rates:
    """The last minute of each project and model."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._requests: dict[tuple[str, str], deque[_Counted]] = defaultdict(deque)
        self._tokens: dict[tuple[str, str], deque[_Counted]] = defaultdict(deque)
        self._priority: dict[tuple[str, str], deque[_Counted]] = defaultdict(deque)

    def take(self, project: str, model: str, tokens: int) -> None:
        """Count a call.

        :param model: without ``models/``.
        :param tokens: of its input.
        :raises ApiError: 429, and the call does not count.
        """
        now, place = self._clock.now(), (project, model)
        requests, queued = self._requests[place], self._tokens[place]
        refusals = [
            refusal
            for refusal in (
                _refusal(_REQUESTS, self._limits.requests_per_minute, requests, 1, now),
                _refusal(_TOKENS, self._limits.tokens_per_minute, queued, tokens, now),
            )
            if refusal is not None
        ]
        if refusals:
            raise _exceeded(model, refusals)
        requests.append(_Counted(now + MINUTE_S, 1))
        queued.append(_Counted(now + MINUTE_S, tokens))

    def served_tier(self, project: str, model: str, asked: Tier) -> Tier:
        """Return the tier that serves a call: standard for a priority call beyond the limit of those."""
        limit = self._limits.priority_requests_per_minute
        if asked != "priority" or limit is None:
            return asked
        now, counted = self._clock.now(), self._priority[project, model]
        if _wait_s(limit, counted, 1, now) > 0:
            return "standard"
        counted.append(_Counted(now + MINUTE_S, 1))
        return asked


def _refusal(
    quota: _Quota, limit: int | None, counted: deque[_Counted], amount: int, now: float
) -> _Refusal | None:
    wait_s = 0.0 if limit is None else _wait_s(limit, counted, amount, now)
    return _Refusal(quota, limit, wait_s) if limit is not None and wait_s else None


def _wait_s(limit: int, counted: deque[_Counted], amount: int, now: float) -> float:
    """Return how long it is until there is room; a whole minute for what never fits."""
    while counted and counted[0].until <= now:
        counted.popleft()
    if amount > limit:
        return MINUTE_S
    used = sum(before.amount for before in counted)
    wait_s = 0.0
    for before in counted:
        if used + amount <= limit:
            break
        used -= before.amount
        wait_s = before.until - now
    return wait_s


def _exceeded(model: str, refusals: list[_Refusal]) -> ApiError:
    # Rounded up: a client that waits as long as told must not come too early.
    wait_s = math.ceil(max(refusal.wait_s for refusal in refusals) * 1000) / 1000
    lines = [
        f"* Quota exceeded for metric: {_METRICS}{refusal.quota.metric}, limit: {refusal.limit}, model: {model}"
        for refusal in refusals
    ]
    message = "\n".join([f"{EXCEEDED} ", *lines, f"Please retry in {wait_s:g}s."])
    failure = {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": list(_violations(model, refusals)),
    }
    return ApiError(429, message, [failure, HELP, retry_info(wait_s)])


def _violations(model: str, refusals: list[_Refusal]) -> Iterator[dict[str, object]]:
    for refusal in refusals:
        yield {
            "quotaMetric": _METRICS + refusal.quota.metric,
            "quotaId": refusal.quota.id,
            "quotaDimensions": {"location": "global", "model": model},
            "quotaValue": str(refusal.limit),
        }
