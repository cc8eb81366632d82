"""What a batch cost: the tokens of each job times the price of the day on which the job ended.

Each job counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import msgspec

from airflow_provider_batch.batch.ledger.documents import Landed
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.rows.dialect import RowStatus, Usage
from airflow_provider_batch.rows.money import Price

Prices = Callable[[str, date], Price | None]
"""What a model costs on a day, None if that is not known."""


def no_prices(model: str, day: date) -> Price | None:
    """Nothing is known."""
    return None


@dataclass(frozen=True)
class Cost:
    """USD. None where a price is not known, which is never 0.

    :param batch_usd: By the price list for batch mode, and for standard single calls where rows were answered so.
    :param standard_usd: The same tokens in standard single calls.
    """

    batch_usd: float | None
    standard_usd: float | None


class JobReceipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """A remote job and what it cost, a line of ``jobs.jsonl``.

    :param job: ``batches/...``.
    :param ended_at: The day of it decides the price. None if not known.
    :param counts: Rows by status, as they ended in this job.
    :param tokens: As the API reported them.
    :param unmetered: Answers without a token count. Their cost is not in ``cost_usd``.
    :param cost_usd: By the price list for batch mode. Left out where it is not known.
    :param standard_usd: The same tokens in single calls.
    """

    job: str
    state: JobState
    model: str
    counts: dict[RowStatus, int]
    tokens: Usage
    ended_at: datetime | None = None
    unmetered: int = 0
    cost_usd: float | None = None
    standard_usd: float | None = None


def cost_of(jobs: Iterable[Landed], model: str, prices: Prices) -> Cost:
    """Add up the jobs of a batch, those of earlier rounds too. Unknown if that of one is."""
    batch, standard = Decimal(0), Decimal(0)
    for landed in jobs:
        usd = _usd(landed, model, prices)
        if usd is None:
            return Cost(None, None)
        batch, standard = batch + usd[0], standard + usd[1]
    return Cost(float(round(batch, 6)), float(round(standard, 6)))


def receipt(landed: Landed, model: str, prices: Prices) -> JobReceipt:
    """What one job came to."""
    cost = cost_of([landed], model, prices)
    return JobReceipt(
        job=landed.job or "",
        state=landed.state,
        model=model,
        counts=landed.counts,
        tokens=landed.tokens.usage(),
        ended_at=landed.ended_at,
        unmetered=landed.unmetered,
        cost_usd=cost.batch_usd,
        standard_usd=cost.standard_usd,
    )


def _usd(landed: Landed, model: str, prices: Prices) -> tuple[Decimal, Decimal] | None:
    """What was paid, and what standard single calls cost.

    None without a price, and for a job without any count.
    """
    price = prices(model, (landed.ended_at or landed.at).date())
    if price is None or (landed.unmetered and not landed.tokens.input):
        return None
    usage, of_long = landed.tokens.usage(), landed.long_tokens.usage()
    batch, single = price.batch_usd(usage, of_long), price.standard_usd(usage, of_long)
    if batch is None or single is None:
        return None
    standard = [one for one in landed.calls if one.tier is Tier.STANDARD]
    for one in standard:
        # Flex has the price of batch mode. Standard costs more.
        tokens = one.tokens.usage(), one.long_tokens.usage()
        batch += (price.standard_usd(*tokens) or Decimal(0)) - (price.batch_usd(*tokens) or Decimal(0))
    return batch, single
