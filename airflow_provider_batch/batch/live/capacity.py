"""Which tier a row is called in now: the first that has capacity and time for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_batch.batch.decide.call_rules import CallRules
from airflow_provider_batch.contract_calls import Tier


@dataclass
class Capacity:
    """What is known of the tiers. All times are Unix times, by the vendor's clock.

    :param rules: The tiers and their order.
    :param ends_at: When the calls end.
    :param tokens_per_row: Of the input, roughly.
    :param refusals: By tier, how often in a row the vendor had no capacity.
    """

    rules: CallRules
    ends_at: float
    tokens_per_row: float
    refusals: dict[Tier, int] = field(default_factory=dict)
    _opens: dict[Tier, float] = field(default_factory=dict)
    _reachable_at: float = 0.0
    _unreachable: int = 0

    def tier(self, now: float, rows: int) -> Tier | None:
        """The tier for the next call, None if none may be called now.

        A tier is passed over if the rows that are left cannot all be answered in it in time.

        :param rows: That have no answer.
        """
        if now < self._reachable_at:
            return None
        for tier in self.rules.tiers:
            is_last = tier is self.rules.tiers[-1]
            left_s = self.ends_at - now
            if not is_last and not self.rules.is_in_time(tier, rows, self.tokens_per_row, left_s):
                continue
            if now >= self._opens.get(tier, 0.0):
                return tier
            if is_last or self.refusals.get(tier, 0) < self.rules.capacity_refusals:
                return None
        return None

    def opens_at(self, now: float) -> float:
        """When a tier may be called again."""
        return max(self._reachable_at, min((at for at in self._opens.values() if at > now), default=now))

    def refuse(self, tier: Tier, began: float, now: float, wait_s: float | None) -> None:
        """A call was refused for capacity.

        :param began: When it left. One that left before the last refusal says nothing new.
        :param wait_s: The vendor's hint, None if it gave none.
        """
        if began >= self._opens.get(tier, 0.0):
            self.refusals[tier] = self.refusals.get(tier, 0) + 1
            self._opens[tier] = now + max(self._wait_s(self.refusals[tier]), wait_s or 0.0)

    def unreachable(self, began: float, now: float) -> None:
        """A call did not reach the vendor. This is no reason to pay more."""
        if began >= self._reachable_at:
            self._unreachable += 1
            self._reachable_at = now + self._wait_s(self._unreachable)

    def answer(self, tier: Tier) -> None:
        """A call was answered."""
        self.refusals.pop(tier, None)
        self._opens.pop(tier, None)
        self._reachable_at, self._unreachable = 0.0, 0

    def _wait_s(self, in_a_row: int) -> float:
        first, most = self.rules.capacity_wait_s
        return float(min(most, first * 2.0 ** min(in_a_row - 1, 20)))
