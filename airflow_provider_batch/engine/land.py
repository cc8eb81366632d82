"""An ended job's result lines to one result row for each of its rows, in the ledger's folder.

Every key ends in exactly one status, in every way that a job can end: what finished was paid for. A result
line that belongs to no row (unreadable, unknown key, a key said twice) was paid for all the same: it is kept
in a quarantine file. Landing again gives the same files.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import BinaryIO

import msgspec

from airflow_provider_batch.contract import BatchService, JobSnapshot, JobState
from airflow_provider_batch.engine.documents import Landed
from airflow_provider_batch.engine.ledger import Ledger
from airflow_provider_batch.engine.state import Shard
from airflow_provider_batch.errors import LedgerError
from airflow_provider_batch.rows.dialect import (
    BadRowError,
    LandedRow,
    RowDialect,
    RowError,
    RowStatus,
    Usage,
    may_pass,
)
from airflow_provider_batch.rows.framing import read_lines
from airflow_provider_batch.rows.keys import Arrival, Arrivals
from airflow_provider_batch.rows.manifest import TokenTotals
from airflow_provider_batch.rows.money import LONG_PROMPT
from airflow_provider_batch.rows.storage import keep, opened, published, spool

log = logging.getLogger(__name__)

MAX_QUARANTINE_LOGGED = 10
"""Lines in the log; the file holds all of them and the manifest counts them."""

_NEVER_SENT = JobSnapshot("", JobState.CANCELLED, "not sent", error="it was not sent before the deadline")

_LEFT = {
    JobState.SUCCEEDED: (RowStatus.MISSING, "the results hold no line for this row"),
    JobState.FAILED: (RowStatus.ERROR, "the job failed"),
    JobState.EXPIRED: (RowStatus.EXPIRED, "the job ran out of time before this row's turn"),
    JobState.CANCELLED: (RowStatus.CANCELLED, "the job was cancelled before this row's turn"),
}


@dataclass
class _Tally:
    job: JobSnapshot
    successes: int = 0
    others: Counter[RowStatus] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    of_long: Usage = field(default_factory=Usage)
    unmetered: int = 0
    passing: int = 0
    undone: int = 0
    quarantined: int = 0

    def add(self, row: LandedRow) -> None:
        if row.usage is not None:
            self.usage += row.usage
            if row.usage.input > LONG_PROMPT:
                self.of_long += row.usage
        self.unmetered += _is_unmetered(row)
        if row.status is RowStatus.SUCCESS:
            self.successes += 1
            return
        self.others[row.status] += 1
        self.undone += is_undone(row, self.job.state)
        self.passing += is_passing(row, self.job.state)

    @property
    def rows(self) -> int:
        return self.successes + sum(self.others.values())

    @property
    def counts(self) -> dict[RowStatus, int]:
        successes = {RowStatus.SUCCESS: self.successes} if self.successes else {}
        return {**successes, **self.others}

    def quarantine(self, number: int, why: str) -> None:
        self.quarantined += 1
        if self.quarantined <= MAX_QUARANTINE_LOGGED:
            log.warning("Result line %d of %s goes to quarantine: %s", number, self.job.name, why)


def _is_unmetered(row: LandedRow) -> bool:
    """There is an answer, and no count of what it took."""
    if row.vector is not None:
        return row.usage is None or not row.usage.input
    return (row.usage is None or not row.usage.output) and row.has_text


def is_undone(row: LandedRow, state: JobState) -> bool:
    """The row is left over because the job as a whole ended badly.

    A job that is cancelled while it runs may end as SUCCEEDED, with CANCELLED rows (seen by others). Nobody
    tells who cancelled it.
    """
    if row.status in (RowStatus.CANCELLED, RowStatus.EXPIRED):
        return True
    return state is JobState.FAILED and row.status is RowStatus.ERROR


def is_passing(row: LandedRow, state: JobState) -> bool:
    """The row failed by itself, for a reason that may pass."""
    if is_undone(row, state):
        return False
    if row.status is RowStatus.ERROR:
        return row.error is not None and may_pass(row.error.code)
    return row.status in (RowStatus.MISSING, RowStatus.INVALID_OUTPUT)


def land(
    service: BatchService, ledger: Ledger, shard: Shard, job: JobSnapshot | None, dialect: RowDialect
) -> Landed:
    """Fetch what an ended job left, match it to the shard's rows, keep it beside the ledger.

    :param job: None if the shard was never sent.
    :raises BatchError: The results could not be fetched; nothing is noted and the next try does it again.
    """
    ended = job or _NEVER_SENT
    with ExitStack() as stack:
        raw = stack.enter_context(spool())
        size = service.fetch_results(ended, raw) if job else 0
        raw.seek(0)
        quarantine = stack.enter_context(spool())
        tally = _Tally(ended)
        with published(ledger.path(results_name(shard))) as results:
            _match(ledger, shard, raw, results, quarantine, dialect, tally)
            written = results.tell()
        if tally.quarantined:
            keep(quarantine, ledger.path(quarantine_name(shard)))
    landed = _document(tally, job, written)
    if landed.unmetered:
        log.warning(
            "AGB-R06 %d answers of %s have no token count; they are billed all the same, and not in the cost.",
            landed.unmetered,
            landed.job,
        )
    ledger.put(f"{shard.name}.landed.json", landed)
    log.info(
        "Landed %s (%s): %d bytes of results, %s.",
        job.name if job else shard.name,
        ended.raw_state,
        size,
        counts_in_words(landed.counts),
    )
    return landed


def results_name(shard: Shard) -> str:
    """The file with the shard's result rows, beside the ledger's documents."""
    return f"{shard.name}.results.jsonl"


def quarantine_name(shard: Shard) -> str:
    """The file with result lines that belong to no row."""
    return f"{shard.name}.quarantine.jsonl"


def counts_in_words(counts: dict[RowStatus, int]) -> str:
    """``3 error, 997 success``."""
    return ", ".join(f"{n} {status.value}" for status, n in sorted(counts.items())) or "no rows"


def requests_of(ledger: Ledger, shard: Shard, dialect: RowDialect) -> Iterator[tuple[str, bytes]]:
    """Stream the rows of a shard: key and line.

    :raises LedgerError: The file is gone or is not what was planned.
    """
    count = 0
    try:
        with opened(ledger.path(shard.plan.file)) as file:
            for _, data in read_lines(file):
                count += 1
                yield dialect.read_key(data or b""), data or b""
    except (FileNotFoundError, msgspec.MsgspecError) as error:
        raise _lost(ledger, shard, type(error).__name__) from None
    if count != shard.plan.rows:
        raise _lost(ledger, shard, f"{count} rows instead of {shard.plan.rows}")


def _keys(ledger: Ledger, shard: Shard, dialect: RowDialect) -> Iterator[str]:
    return (key for key, _ in requests_of(ledger, shard, dialect))


def _lost(ledger: Ledger, shard: Shard, what: str) -> LedgerError:
    return LedgerError(
        f"The rows that were sent, in {ledger.path(shard.plan.file)}, cannot be used: {what}.",
        code="AGB-L02",
        remedy="Nothing was sent or cancelled; the results stay on the server for a while. Restore the file.",
    )


def _match(
    ledger: Ledger,
    shard: Shard,
    raw: BinaryIO,
    results: BinaryIO,
    quarantine: BinaryIO,
    dialect: RowDialect,
    tally: _Tally,
) -> None:
    encode = msgspec.json.Encoder().encode
    try:
        keys = Arrivals(lambda: _keys(ledger, shard, dialect), shard.plan.rows)
    except ValueError as error:
        raise _lost(ledger, shard, str(error)) from None
    for number, data in read_lines(raw):
        if data == b"":
            continue
        row = _belonging(data, keys, dialect)
        if isinstance(row, str):
            tally.quarantine(number, row)
            quarantine.write((data or b"") + b"\n")
            continue
        tally.add(row)
        results.write(encode(row) + b"\n")
    if tally.rows == shard.plan.rows:
        return
    for key in _keys(ledger, shard, dialect):
        if not keys.has_come(key):
            row = _left(key, tally.job)
            tally.add(row)
            results.write(encode(row) + b"\n")


def _left(key: str, job: JobSnapshot) -> LandedRow:
    status, why = _LEFT[job.state]
    reason = f"{why}: {job.error}" if job.error else why
    return LandedRow(key, status, error=RowError(job.error_code if job.state is JobState.FAILED else 0, reason))


def _belonging(data: bytes | None, keys: Arrivals, dialect: RowDialect) -> LandedRow | str:
    """The result row if it is the first one for a key that was sent, else why it is not."""
    try:
        row = dialect.read_result(data or b"")
    except BadRowError as bad:
        return f"{bad.code} {bad.what}"
    arrival = keys.arrive(row.key)
    if arrival is Arrival.EXPECTED:
        return row
    return f"AGB-R05 {'its key came before' if arrival is Arrival.AGAIN else 'no row with its key was sent'}"


def _document(tally: _Tally, job: JobSnapshot | None, size_bytes: int) -> Landed:
    return Landed(
        at=datetime.now(timezone.utc),
        job=job.name if job else None,
        state=tally.job.state,
        raw_state=tally.job.raw_state,
        error=tally.job.error,
        error_code=tally.job.error_code,
        counts=tally.counts,
        size_bytes=size_bytes,
        tokens=TokenTotals.of(tally.usage),
        long_tokens=TokenTotals.of(tally.of_long),
        unmetered=tally.unmetered,
        passing=tally.passing,
        undone=tally.undone,
        quarantined=tally.quarantined,
        input_file=job.input_file if job else None,
        output_file=job.output_file if job else None,
    )
