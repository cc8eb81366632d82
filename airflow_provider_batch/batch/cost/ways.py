"""Jobs and single calls beside each other: what came by each way, and what a round of calls cost. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from airflow_provider_batch.batch.cost.receipts import (
    Bill,
    Cost,
    JobReceipt,
    Prices,
    bills_of,
    cost_of,
    cost_of_bills,
)
from airflow_provider_batch.batch.ledger.documents import Landed, RoundKind
from airflow_provider_batch.batch.ledger.state import BatchState, Round
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.rows.dialect import RowStatus, Usage
from airflow_provider_batch.rows.manifest import Way, WayTotals

WAYS: tuple[Way, ...] = get_args(Way)


def ways_of(batch: BatchState, prices: Prices) -> dict[Way, WayTotals] | None:
    """What came by each way, over all rounds. None where no single calls were made."""
    if not any(landed.calls or landed.lost_calls for landed in batch.landed):
        return None
    bills = [bill for landed in batch.landed for bill in bills_of(landed)]
    by_way = {
        way: [bill for bill in bills if bill.way == way and (bill.rows or bill.tokens.input)] for way in WAYS
    }
    return {way: _totals(some, batch.plan.model, prices) for way, some in by_way.items() if some}


def rescue_extra_usd(batch: BatchState, prices: Prices) -> float | None:
    """What the single calls of rescues cost more than the same tokens in batch mode, USD.

    None where there was no rescue, or a price is not known.
    """
    landed = [
        shard.landed
        for round_ in batch.rounds
        for shard in round_.shards
        if round_.plan.kind is RoundKind.RESCUE and shard.landed
    ]
    return cost_of(landed, batch.plan.model, prices).extra_usd if landed else None


def bill_of_calls(
    batch: BatchState, called: Round, landed: Landed, prices: Prices
) -> tuple[list[JobReceipt], float | None]:
    """What the single calls of one shard cost, for an observer: see :meth:`Observer.called`.

    :param called: The round of the shard.
    """
    model = batch.plan.model
    is_rescue = called.plan.kind is RoundKind.RESCUE
    extra = cost_of([landed], model, prices).extra_usd if is_rescue else None
    return list(receipts_of_calls(called, [landed], model, prices)), extra


def call_receipts(batch: BatchState, prices: Prices) -> Iterator[JobReceipt]:
    """What the single calls of each round cost, a line for each tier."""
    for round_ in batch.rounds:
        if round_.is_live:
            landed = [shard.landed for shard in round_.shards if shard.landed]
            yield from receipts_of_calls(round_, landed, batch.plan.model, prices)


def receipts_of_calls(called: Round, landed: Sequence[Landed], model: str, prices: Prices) -> Iterator[JobReceipt]:
    """What single calls of a round cost, a line for each tier. No line if none was answered or lost.

    :param landed: Of the round.
    """
    lost, again = sum(one.lost_calls for one in landed), sum(one.called_again for one in landed)
    tiers: list[Way] = [way for way in WAYS if any(one.tier.value == way for each in landed for one in each.calls)]
    if not tiers and not lost:
        return
    # Calls of which none was answered were not served in any tier. Flex is asked first.
    for number, way in enumerate(tiers or WAYS[1:2]):
        is_first = number == 0
        bills = [bill for each in landed for bill in bills_of(each) if bill.way == way]
        cost = cost_of_bills(bills, model, prices)
        yield JobReceipt(
            job="",
            state=_state(landed),
            model=model,
            counts=_counts(landed) if is_first else {},
            tokens=_tokens(bills),
            ended_at=max(each.at for each in landed),
            unmetered=sum(bill.unmetered for bill in bills),
            cost_usd=cost.batch_usd,
            standard_usd=cost.standard_usd,
            way=way,
            kind=called.plan.kind,
            round=called.number,
            rows=sum(bill.rows for bill in bills),
            assumed=sum(one.assumed for each in landed for one in each.calls if one.tier.value == way),
            lost_calls=lost if is_first else 0,
            called_again=again if is_first else 0,
        )


def _totals(bills: list[Bill], model: str, prices: Prices) -> WayTotals:
    cost: Cost = cost_of_bills(bills, model, prices)
    tokens = _tokens(bills)
    return WayTotals(
        rows=sum(bill.rows for bill in bills),
        input=tokens.input,
        output=tokens.output + tokens.thinking,
        cost_usd=cost.batch_usd,
    )


def _tokens(bills: Iterable[Bill]) -> Usage:
    return sum((bill.tokens.usage() for bill in bills), Usage())


def _counts(landed: Iterable[Landed]) -> dict[RowStatus, int]:
    counts: Counter[RowStatus] = Counter()
    for one in landed:
        counts.update(one.counts)
    return dict(counts)


def _state(landed: Iterable[Landed]) -> JobState:
    return JobState.SUCCEEDED if all(one.state is JobState.SUCCEEDED for one in landed) else JobState.EXPIRED
