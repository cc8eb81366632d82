"""What single calls may still cost: what is billed, and the most that calls under way may come to.

A call leaves only if the sum stays within the limit. A call whose answer does not come keeps what was reserved for
it, as it may have been billed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_batch.batch.ledger.documents import CallTotals
from airflow_provider_batch.contract import ModelFacts
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.rows.dialect import CheckedRow, Usage
from airflow_provider_batch.rows.money import Price, Rates

FEWEST_BYTES_PER_TOKEN = 1
"""Each digit is a token, and so may each byte of a rare script be. The estimate of a batch is of a usual text."""


@dataclass(frozen=True)
class RowCosts:
    """The most that a row can cost in one call.

    :param price: Of the model today. None = not known.
    :param facts: What the vendor says of the model.
    """

    price: Price | None
    facts: ModelFacts

    def most_usd(self, row: CheckedRow, tier: Tier) -> float | None:
        """USD, None if nothing bounds it."""
        tokens_in = -(-row.text_bytes // FEWEST_BYTES_PER_TOKEN)
        if row.media:
            # What a medium takes is not known before, so only the model's own limit bounds it.
            tokens_in = self.facts.input_tokens
        tokens_out = (row.max_output or self.facts.output_tokens) * row.answers
        if self.price is None or not tokens_in or not tokens_out:
            return None
        usual, long = rates_of(self.price, tier)
        rates = long or usual
        most = rates.usd(Usage(input=tokens_in, output=tokens_out))
        if most is not None and row.media and rates.audio is not None and rates.audio > rates.input:
            most += (rates.audio - rates.input) * tokens_in / 1_000_000
        return None if most is None else float(most)


def rates_of(price: Price, tier: Tier) -> tuple[Rates, Rates | None]:
    """The rates of a tier, and those for long prompts. Flex costs what batch mode does."""
    if tier is Tier.FLEX:
        return price.batch, price.long_batch
    return price.standard, price.long_standard


def usd_of(totals: CallTotals, price: Price | None) -> float | None:
    """What answers of one tier cost. None where a price is not known."""
    if price is None:
        return None
    usage, of_long = totals.tokens.usage(), totals.long_tokens.usage()
    usd = price.batch_usd if totals.tier is Tier.FLEX else price.standard_usd
    cost = usd(usage, of_long)
    return None if cost is None else float(cost)


class Purse:
    """Keeps within a limit.

    :param max_usd: None = any sum.
    :param spent_usd: Before the first call.
    """

    def __init__(self, max_usd: float | None, spent_usd: float = 0.0) -> None:
        self.max_usd = max_usd
        self.spent_usd = spent_usd
        self.reserved_usd = 0.0

    def admits(self, most_usd: float | None) -> bool:
        """A call that costs at most so much may leave."""
        if self.max_usd is None:
            return True
        return most_usd is not None and self.spent_usd + self.reserved_usd + most_usd <= self.max_usd

    def reserve(self, most_usd: float | None) -> None:
        """A call leaves."""
        self.reserved_usd += most_usd or 0.0

    def settle(self, most_usd: float | None, cost_usd: float | None) -> None:
        """A call has ended.

        :param cost_usd: What it came to. None = not known, so the most that it can be.
        """
        self.reserved_usd -= most_usd or 0.0
        self.spent_usd += (most_usd or 0.0) if cost_usd is None else cost_usd


def spent_on(billed: Iterable[CallTotals], price: Price | None) -> float:
    """What noted answers cost, as far as it is known."""
    return sum(usd_of(one, price) or 0.0 for one in billed)
