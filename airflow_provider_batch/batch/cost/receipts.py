"""What a batch cost: the tokens of each job times the price of the day on which the job ended.

Each job counts once. Single calls cost what the tier costs that served them: flex is billed as batch mode is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import msgspec

from airflow_provider_batch.batch.ledger.documents import Landed, RoundKind
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.rows.dialect import RowStatus, Usage
from airflow_provider_batch.rows.manifest import TokenTotals, Way
from airflow_provider_batch.rows.money import Price

Prices = Callable[[str, date], Price | None]
"""What a model costs on a day, None if that is not known."""

_WITHOUT_ANSWER = (RowStatus.MISSING, RowStatus.EXPIRED, RowStatus.CANCELLED)


def no_prices(model: str, day: date) -> Price | None:
    """Nothing is known."""
    return None


@dataclass(frozen=True)
class Cost:
    """USD. None where a price is not known, which is never 0.

    :param batch_usd: By the price list for batch mode, and for standard single calls where rows were answered so.
    :param standard_usd: The same tokens in standard single calls.
    :param extra_usd: What is in ``batch_usd`` over the same tokens in batch mode.
    """

    batch_usd: float | None
    standard_usd: float | None
    extra_usd: float | None


class JobReceipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a remote job cost, or the single calls of one round in one tier: a line of ``jobs.jsonl``.

    From ``way`` on the fields are of single calls. They are left out for a job. The first line of a round of calls
    has what belongs to the round as a whole: ``counts``, ``lost_calls`` and ``called_again``.

    :param job: ``batches/...``. Empty for single calls.
    :param ended_at: The day of it decides the price. None if not known.
    :param counts: Rows by status, as they ended in this job, or in this round of single calls.
    :param tokens: As the API reported them.
    :param unmetered: Answers without a token count. Their cost is not in ``cost_usd``.
    :param cost_usd: By the price list for batch mode, or for the tier. Left out where it is not known.
    :param standard_usd: The same tokens in single calls of the standard tier.
    :param way: The tier that served the calls.
    :param kind: Why they were made.
    :param round: Number of their round, 0 = the trial.
    :param rows: Answers.
    :param assumed: Answers that did not say their tier. It is the one that was asked for.
    :param lost_calls: Calls that may have been billed, and whose answers did not come.
    :param called_again: Answers to rows that had an answer.
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
    way: Way = "batch"
    kind: RoundKind = RoundKind.BATCH
    round: int | None = None
    rows: int = 0
    assumed: int = 0
    lost_calls: int = 0
    called_again: int = 0


@dataclass(frozen=True)
class Bill:
    """Tokens that have one price.

    :param rows: Answers, with a response or with an error of their own.
    :param tokens: Of these.
    :param long_tokens: The part of ``tokens`` that is of rows with long prompts.
    """

    way: Way
    day: date
    rows: int
    tokens: TokenTotals
    long_tokens: TokenTotals
    unmetered: int

    def usd(self, price: Price | None) -> tuple[Decimal, Decimal, Decimal] | None:
        """What was paid, what standard single calls cost, and what batch mode costs.

        None without a price, and where no answer has a count.
        """
        if price is None or (self.unmetered and not self.tokens.input):
            return None
        tokens = self.tokens.usage(), self.long_tokens.usage()
        batch, standard = price.batch_usd(*tokens), price.standard_usd(*tokens)
        if batch is None or standard is None:
            return None
        return standard if self.way == "standard" else batch, standard, batch


def bills_of(landed: Landed) -> Iterator[Bill]:
    """The bills of a job, which is one, or of the single calls for a shard, one for each tier."""
    day = (landed.ended_at or landed.at).date()
    if not landed.calls:
        rows = answered(landed.counts, landed.state) if landed.job else 0
        yield Bill("batch", day, rows, landed.tokens, landed.long_tokens, landed.unmetered)
    for one in landed.calls:
        yield Bill(one.tier.value, day, one.rows, one.tokens, one.long_tokens, one.unmetered)


def answered(counts: dict[RowStatus, int], state: JobState) -> int:
    """Rows that a job has answered, with a response or with an error of their own."""
    without = (*_WITHOUT_ANSWER, RowStatus.ERROR) if state is JobState.FAILED else _WITHOUT_ANSWER
    return sum(count for status, count in counts.items() if status not in without)


def cost_of(jobs: Iterable[Landed], model: str, prices: Prices) -> Cost:
    """Add up the jobs and single calls of a batch, those of earlier rounds too. Unknown if that of one is."""
    return cost_of_bills((bill for landed in jobs for bill in bills_of(landed)), model, prices)


def cost_of_bills(bills: Iterable[Bill], model: str, prices: Prices) -> Cost:
    """Add up bills. Unknown if one is."""
    paid, standard, batch = Decimal(0), Decimal(0), Decimal(0)
    for bill in bills:
        usd = bill.usd(prices(model, bill.day))
        if usd is None:
            return Cost(None, None, None)
        paid, standard, batch = paid + usd[0], standard + usd[1], batch + usd[2]
    return Cost(*(float(round(each, 6)) for each in (paid, standard, paid - batch)))


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
