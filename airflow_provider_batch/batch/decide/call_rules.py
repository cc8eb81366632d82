"""How the rows of a batch may be answered by single calls, and how long that takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_provider_batch.contract_calls import Tier

CALL_S: Mapping[Tier, float] = {Tier.FLEX: 900.0, Tier.STANDARD: 300.0}
"""How long one call may take, seconds.

The API's documentation names 1 to 15 minutes as the target of flex, and seconds to minutes for standard.
"""

USUAL_CALL_S: Mapping[Tier, float] = {Tier.FLEX: 480.0, Tier.STANDARD: 20.0}
"""How long one takes, for the reckoning of a pace, seconds.

The middle of the documented target of flex. That of standard is our own choice, as no figure is published.
"""

END_JOBS_S = 900.0
"""How long jobs that were asked to end are waited for before their rows are called, seconds."""

MARGIN_S = 900.0
"""What a rescue begins earlier than it would have to, at least, seconds."""

MARGIN_SHARE = 0.25
"""The same as a share of the time that the calls take."""

TRIAL_S = 2 * 3600.0
"""For how long the rows of a trial are called at most, seconds. Flex may be without capacity for a while."""

TRIAL_SHARE = 0.25
"""Of the time until all rows are to be answered, which a trial may take. The jobs need the rest."""

REQUESTS_PER_MINUTE = 60
"""The pace where the connection says none: below the limits of every paid tier that is known to us."""

TOKENS_PER_MINUTE = 250_000
"""The same for input tokens."""


@dataclass(frozen=True)
class Keeping:
    """How often answers are noted, and for how long a note keeps other visits away.

    :param lease_s: A note leases its shard so long, seconds. The owner renews it at a third of that.
    :param note_s: Between notes while answers come, seconds.
    :param note_rows: Answers that are not noted yet, at most.
    """

    lease_s: float = 180.0
    note_s: float = 5.0
    note_rows: int = 100


@dataclass(frozen=True)
class CallRules:
    """How rows are called.

    :param tiers: In this order. A later one is for rows that the one before cannot serve in time.
    :param concurrency: Calls at the same time, at most.
    :param capacity_refusals: So many refusals for capacity in a row, and rows go to the next tier.
    :param capacity_wait_s: After the first of such refusals, seconds, and at most. It doubles each time.
    :param requests_per_minute: Calls that leave in a minute, at most.
    :param tokens_per_minute: Input tokens that leave in a minute, at most.
    """

    tiers: tuple[Tier, ...] = (Tier.FLEX,)
    concurrency: int = 300
    capacity_refusals: int = 3
    capacity_wait_s: tuple[float, float] = (5.0, 300.0)
    requests_per_minute: float = REQUESTS_PER_MINUTE
    tokens_per_minute: float = TOKENS_PER_MINUTE

    def rows_per_minute(self, tokens_per_row: float, tier: Tier | None = None) -> float:
        """The pace that can be kept.

        :param tokens_per_row: Input tokens, roughly.
        :param tier: None = the first.
        """
        at_once = self.concurrency * 60.0 / USUAL_CALL_S[tier or self.tiers[0]]
        by_tokens = self.tokens_per_minute / max(tokens_per_row, 1.0)
        return min(self.requests_per_minute, by_tokens, at_once)

    def bound(self, tokens_per_row: float, tier: Tier | None = None) -> str:
        """What a user may raise for a quicker pace, in words. Arguments as above."""
        pace = self.rows_per_minute(tokens_per_row, tier)
        if pace >= self.requests_per_minute:
            return "requests_per_minute of the connection"
        if pace >= self.tokens_per_minute / max(tokens_per_row, 1.0):
            return "tokens_per_minute of the connection"
        return "concurrency of single_calls"

    def calls_s(self, rows: int, tokens_per_row: float, tier: Tier | None = None) -> float:
        """Seconds in which so many rows can be answered, the last call included.

        :param tier: None = the first.
        """
        if not rows:
            return 0.0
        return 60.0 * rows / self.rows_per_minute(tokens_per_row, tier) + CALL_S[tier or self.tiers[0]]

    def rescue_s(
        self, rows: int, tokens_per_row: float, tier: Tier | None = None, *, with_margin: bool = True
    ) -> float:
        """Seconds before the time at which all rows must be answered, at which a rescue of them begins."""
        calls_s = self.calls_s(rows, tokens_per_row, tier)
        return END_JOBS_S + calls_s + (max(MARGIN_S, MARGIN_SHARE * calls_s) if with_margin else 0.0)

    def is_in_time(self, tier: Tier, rows: int, tokens_per_row: float, left_s: float) -> bool:
        """So many rows can be answered in a tier in the time that is left, the last call included."""
        return left_s >= self.calls_s(rows, tokens_per_row, tier)


def trial_s(ready_by: float | None, now: float) -> float:
    """For how long the rows of a trial that begins now are called at most, seconds.

    :param ready_by: Unix time by which all rows are to be answered. None if there is none.
    """
    return TRIAL_S if ready_by is None else min(TRIAL_S, max(0.0, TRIAL_SHARE * (ready_by - now)))
