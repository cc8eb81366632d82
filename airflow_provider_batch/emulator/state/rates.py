"""How many single calls a project made of a model in the last minute. Calls beyond the limit are refused.

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


class _Window:
    """What one project sent one model in the last minute, of one quota. Without a limit nothing is counted."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._counted: deque[_Counted] = deque()
        self._used = 0

    def wait_s(self, amount: int, now: float) -> float:
        """Return how long it is until there is room: 0 for now, a whole minute for what never fits."""
        if self._limit is None:
            return 0.0
        while self._counted and self._counted[0].until <= now:
            self._used -= self._counted.popleft().amount
        if amount > self._limit:
            return MINUTE_S
        used, wait_s = self._used, 0.0
        for before in self._counted:
            if used + amount <= self._limit:
                break
            used -= before.amount
            wait_s = before.until - now
        return wait_s

    def add(self, amount: int, now: float) -> None:
        if self._limit is not None:
            self._counted.append(_Counted(now + MINUTE_S, amount))
            self._used += amount


class _Refusal(NamedTuple):
    """A limit that a call would go beyond, and how long it is until it would not."""

    quota: _Quota
    limit: int | None
    wait_s: float


class Rates:
    """The last minute of each project and model."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._requests = _windows(limits.requests_per_minute)
        self._tokens = _windows(limits.tokens_per_minute)
        self._priority = _windows(limits.priority_requests_per_minute)

    def take(self, project: str, model: str, tokens: int) -> None:
        """Count a call.

        :param model: without ``models/``.
        :param tokens: of its input.
        :raises ApiError: 429, and the call does not count.
        """
        now = self._clock.now()
        asked = [
            (_REQUESTS, self._limits.requests_per_minute, self._requests[project, model], 1),
            (_TOKENS, self._limits.tokens_per_minute, self._tokens[project, model], tokens),
        ]
        waits = [_Refusal(quota, limit, window.wait_s(amount, now)) for quota, limit, window, amount in asked]
        refusals = [refusal for refusal in waits if refusal.wait_s > 0]
        if refusals:
            raise _exceeded(model, refusals)
        for _, _, window, amount in asked:
            window.add(amount, now)

    def served_tier(self, project: str, model: str, asked: Tier) -> Tier:
        """Return the tier that serves a call: standard for a priority call beyond the limit of those."""
        if asked != "priority":
            return asked
        now, window = self._clock.now(), self._priority[project, model]
        if window.wait_s(1, now) > 0:
            return "standard"
        window.add(1, now)
        return asked


def _windows(limit: int | None) -> defaultdict[tuple[str, str], _Window]:
    return defaultdict(lambda: _Window(limit))


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
