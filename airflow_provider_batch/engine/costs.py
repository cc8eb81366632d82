"""What a batch cost: the tokens of each job times the price of the day on which it was landed, each job once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from airflow_provider_batch.engine.documents import Landed
from airflow_provider_batch.rows.money import Price

Prices = Callable[[str, date], Price | None]
"""What a model costs on a day, None if that is not known."""


def no_prices(model: str, day: date) -> Price | None:
    """Nothing is known."""
    return None


@dataclass(frozen=True)
class Cost:
    """USD; None where a price is not known, which is never 0.

    :param batch_usd: By the price list for batch mode.
    :param standard_usd: The same tokens in single calls.
    """

    batch_usd: float | None
    standard_usd: float | None


def cost_of(jobs: Iterable[Landed], model: str, prices: Prices) -> Cost:
    """Add up the jobs of a batch, those of earlier rounds too. A job of which nothing was counted has no cost."""
    batch, standard = Decimal(0), Decimal(0)
    for landed in jobs:
        if landed.unmetered and not landed.tokens.input:
            return Cost(None, None)
        price = prices(model, (landed.ended_at or landed.at).date())
        usage, of_long = landed.tokens.usage(), landed.long_tokens.usage()
        paid = price.batch_usd(usage, of_long) if price else None
        single = price.standard_usd(usage, of_long) if price else None
        if paid is None or single is None:
            return Cost(None, None)
        batch, standard = batch + paid, standard + single
    return Cost(float(round(batch, 6)), float(round(standard, 6)))
