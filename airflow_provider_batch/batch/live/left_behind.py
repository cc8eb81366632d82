"""Single calls that no task goes on with: since when, and what they brought."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_batch.batch.decide.deadlines import calls_end
from airflow_provider_batch.batch.findings import Finding, Kind, several
from airflow_provider_batch.batch.ledger.documents import TRIAL_ROUND
from airflow_provider_batch.batch.ledger.state import BatchState, Round, Shard
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.live.notes import Noted, read_notes


def open_calls(batch: BatchState) -> Iterator[tuple[Round, Shard]]:
    """The shards whose rows are called, and which have not landed."""
    for round_ in batch.rounds:
        for shard in round_.open_shards if round_.is_live else ():
            yield round_, shard


def left_at(ledger: Ledger, called: Round, shard: Shard) -> float:
    """Unix time from which no task goes on with a shard, by the vendor's clock.

    A visit that pauses gives its lease back, and its task comes back before the calls end.

    :raises LedgerError: A note is missing or damaged.
    """
    leased = read_notes(ledger, shard).leased_until()
    return max(calls_end(called), leased.timestamp() if leased else 0.0)


def left_behind(ledger: Ledger, batch: BatchState, where: str, now: float) -> Iterator[Finding]:
    """What single calls brought that has not landed, and that no task goes on with.

    :param where: The ledger.
    :param now: Unix time, by the vendor's clock.
    :raises LedgerError: A note is missing or damaged.
    """
    for called, shard in () if batch.superseded else open_calls(batch):
        noted = read_notes(ledger, shard)
        leased = noted.leased_until()
        # A lease that ran out was not given back: its worker is gone.
        is_left = now >= (calls_end(called) if leased is None else leased.timestamp())
        if is_left and noted.last is not None:
            yield Finding(Kind.UNLANDED, _told(called, noted), ledger=where)


def _told(called: Round, noted: Noted) -> str:
    rows = sum(one.rows for one in noted.billed.values())
    lost = noted.lost + noted.unnoted_rows
    answers = f"{several(rows, 'answer')} of the {called.plan.kind.value}"
    more = f" {several(lost, 'more call')} may have been billed, at most." if lost else ""
    then = (
        "No batch was sent. Run the task again: it goes on from here."
        if called.number == TRIAL_ROUND
        else "Run the task again, or land them with airflow-batch sweep."
    )
    return f"Not landed: {answers}, noted by a worker that is gone.{more} {then}"
