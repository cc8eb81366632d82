"""Rows to shards: the first round from the checked input, each later one from the rows that are left over.

The rows of a shard are kept beside the ledger until the batch is complete. So an upload can be finished by another
worker, and ``failed.jsonl`` can hold the requests. What is sent again is what was sent before, even if the source
has changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import (
    LEDGER_VERSION,
    PLAIN_VERSION,
    Landed,
    RoundKind,
    RoundPlan,
)
from airflow_provider_batch.batch.ledger.kept_rows import keep_shards, landed_of, requests_of, result_rows
from airflow_provider_batch.batch.ledger.state import BatchState, Shard
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.rows.check.keys import KeyTable
from airflow_provider_batch.rows.check.shards import ShardLimits, ShardWriter
from airflow_provider_batch.rows.dialect import LandedRow, RowDialect
from airflow_provider_batch.rows.storage import spool


def begin_round(
    ledger: Ledger,
    batch: BatchState,
    dialect: RowDialect,
    limits: ShardLimits,
    now: datetime,
    *,
    goes_again: Callable[[LandedRow, Landed], bool],
    is_new_start: bool,
    ends_at: datetime | None = None,
) -> None:
    """Plan the next round: the rows of the last one that are left over.

    :param goes_again: Says of a landed row, and of how its job ended, whether it is sent again.
    :param is_new_start: The task's timeout starts anew.
    :param ends_at: When single calls for the rows end. None = the rows go into jobs.
    """
    last = batch.round
    lines = _left_lines(ledger, batch.latest, dialect, goes_again)
    with spool(ledger.folder) as rows:
        writer = ShardWriter(rows, limits)
        for line in lines:
            writer.add(line)
        shards = keep_shards(ledger, last.number + 1, rows, writer.close(), batch.plan.model)
    plan = RoundPlan(
        ledger_version=PLAIN_VERSION if ends_at is None else LEDGER_VERSION,
        kind=RoundKind.BATCH if ends_at is None else RoundKind.RESCUE,
        shards=tuple(shards),
        created_at=now,
        clock_from=now if is_new_start else batch.clock_from,
        ends_at=ends_at,
    )
    ledger.put(names.plan_of(last.number + 1), plan)


def _left_lines(
    ledger: Ledger, shards: Iterable[Shard], dialect: RowDialect, goes_again: Callable[[LandedRow, Landed], bool]
) -> Iterator[bytes]:
    for shard in shards:
        with KeyTable() as left:
            landed = landed_of(shard)
            for row in result_rows(ledger, shard):
                if goes_again(row, landed):
                    left.add(row.key, 0)
            if len(left):
                yield from (line for key, line in requests_of(ledger, shard, dialect) if key in left)
