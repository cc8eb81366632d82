"""An ended job's result lines to one result row for each of its rows, in the ledger's folder.

Every key ends in exactly one status, in every way that a job can end, as what finished was paid for. A result line
may belong to no row: it is unreadable, its key is unknown, or its key came before. The line was paid for all the
same, so it is kept in a quarantine file. Landing again gives the same files.
"""

from __future__ import annotations

import codecs
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import BinaryIO, cast

import msgspec

from airflow_provider_batch.batch.decide.belief import Arrived, Belief, BeliefPatience, belief, is_confirmed
from airflow_provider_batch.batch.decide.common_mistake import Faults
from airflow_provider_batch.batch.decide.rows_again import is_passing, is_undone
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.digests import Hashing, digest
from airflow_provider_batch.batch.ledger.documents import Fetched, Landed
from airflow_provider_batch.batch.ledger.kept_rows import requests_of, rows_lost
from airflow_provider_batch.batch.ledger.state import Shard
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.contract import BatchService, JobSnapshot, JobState, Limits
from airflow_provider_batch.errors import ResultsNotReadyError
from airflow_provider_batch.rows.check.keys import Arrival, Arrivals
from airflow_provider_batch.rows.dialect import (
    BadRowError,
    LandedRow,
    RowDialect,
    RowError,
    RowStatus,
    Usage,
)
from airflow_provider_batch.rows.manifest import TokenTotals, counts_in_words
from airflow_provider_batch.rows.read.lines import Incoming
from airflow_provider_batch.rows.storage import Behind, keep, published, spool

log = logging.getLogger(__name__)

MAX_QUARANTINE_LOGGED = 10
"""Lines in the log. The file holds all of them and the manifest counts them."""

_NEVER_SENT = JobSnapshot("", JobState.CANCELLED, "not sent", error="it was not sent before the deadline")

_LEFT = {
    JobState.SUCCEEDED: (RowStatus.MISSING, "the results hold no line for this row"),
    JobState.FAILED: (RowStatus.ERROR, "the job failed"),
    JobState.EXPIRED: (RowStatus.EXPIRED, "the job ran out of time before this row's turn"),
    JobState.CANCELLED: (RowStatus.CANCELLED, "the job was cancelled before this row's turn"),
}


_NO_TOKENS = Usage()


@dataclass
class _Tally:
    job: JobSnapshot
    long_prompt_tokens: int
    successes: int = 0
    others: Counter[RowStatus] = field(default_factory=Counter)
    usage: Usage = _NO_TOKENS
    of_long: Usage = _NO_TOKENS
    unmetered: int = 0
    empty: int = 0
    passing: int = 0
    undone: int = 0
    faults: Faults = field(default_factory=Faults)
    quarantined: int = 0

    def add(self, row: LandedRow) -> None:
        usage = row.usage
        if usage is not None:
            self.usage += usage
            if usage.input > self.long_prompt_tokens:
                self.of_long += usage
        if _is_unmetered(row):
            self.unmetered += 1
        if row.status is RowStatus.SUCCESS:
            self.successes += 1
            self.empty += row.is_empty
            return
        self.others[row.status] += 1
        self.faults.add(row)
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


def land(
    service: BatchService,
    ledger: Ledger,
    shard: Shard,
    job: JobSnapshot | None,
    dialect: RowDialect,
    on_first: Callable[[Landed], object] = lambda _: None,
    patience: BeliefPatience | None = None,
) -> Landed:
    """Fetch what an ended job left, match it to the shard's rows, keep it beside the ledger.

    :param job: None if the shard was never sent.
    :param on_first: Told what landed, unless another visit has landed it already.
    :param patience: With results that contradict what is known of the job.
    :raises ResultsNotReadyError: What came is not believed (:mod:`belief`). It is to be fetched again.
    :raises BatchError: The results could not be fetched. Nothing is noted and the next try does it again.
    """
    landed, size = _landed(service, ledger, shard, job, dialect, patience or BeliefPatience())
    if landed.unmetered:
        log.warning(
            "AGB-R06 %d answers of %s have no token count; they are billed all the same, and not in the cost.",
            landed.unmetered,
            landed.job,
        )
    if ledger.put(shard.document(names.LANDED), landed):
        ledger.written.add(landed.sha256)
        on_first(landed)
    log.info(
        "Landed %s (%s): %d bytes of results, %s.",
        job.name if job else shard.title,
        (job or _NEVER_SENT).raw_state,
        size,
        counts_in_words(landed.counts),
    )
    return landed


def land_calls(
    limits: Limits, ledger: Ledger, shard: Shard, dialect: RowDialect, brought: Iterable[list[bytes]], why: str
) -> Landed:
    """Match what single calls brought to the shard's rows, keep it beside the ledger, and note nothing yet.

    :param brought: Result lines, as a job has them, some at a time.
    :param why: Of rows that no call was answered for.
    """
    state = JobState.EXPIRED if why else JobState.SUCCEEDED
    calls = JobSnapshot(f"single calls for {shard.title}", state, "single calls", error=why)

    def bring(match: _Match) -> int:
        for lines in brought:
            match.take(list(lines))
        return 0

    left = RowStatus.EXPIRED, "the row was not answered by a single call"
    landed, _ = _matched(_Tally(calls, limits.long_prompt_tokens), ledger, shard, dialect, bring, left)
    return landed.model_copy(update={"job": None, "input_file": None, "output_file": None})


def _landed(
    service: BatchService,
    ledger: Ledger,
    shard: Shard,
    job: JobSnapshot | None,
    dialect: RowDialect,
    patience: BeliefPatience,
) -> tuple[Landed, int]:
    """Put the rows beside the ledger, without a note of it.

    Returns what is to be noted, and the size of the results.
    """

    def fetch(match: _Match) -> int | None:
        size = _fetch(service, job, match) if job else None
        if job and size is not None:
            _ensure_believed(service, ledger, shard, job, match.arrived(size), patience)
        return size

    of = job or _NEVER_SENT
    tally = _Tally(of, service.limits.long_prompt_tokens)
    landed, size = _matched(tally, ledger, shard, dialect, fetch, _LEFT[of.state])
    return landed if job else landed.model_copy(update={"job": None}), size or 0


def _matched(
    tally: _Tally,
    ledger: Ledger,
    shard: Shard,
    dialect: RowDialect,
    bring: Callable[[_Match], int | None],
    left: tuple[RowStatus, str],
) -> tuple[Landed, int | None]:
    """Put the rows beside the ledger.

    :param bring: Gives the result lines to the match. Returns their size in bytes, None if there are none.
    :param left: What becomes of rows that no line came for.
    """
    with spool() as quarantine:
        with published(ledger.path(shard.document(names.RESULTS))) as file:
            keys = _arrivals(ledger, shard, dialect)
            results = Hashing(file)
            with Behind(cast(BinaryIO, results)) as behind:
                match = _Match(keys, behind, quarantine, dialect, tally)
                size = bring(match)
                if tally.rows < shard.plan.rows:
                    match.leave(_keys(ledger, shard, dialect), left)
        lines = digest(quarantine) if tally.quarantined else ""
        if tally.quarantined:
            keep(quarantine, ledger.path(shard.document(names.QUARANTINE)))
    return _document(tally, results, lines), size


def _ensure_believed(
    service: BatchService,
    ledger: Ledger,
    shard: Shard,
    job: JobSnapshot,
    arrived: Arrived,
    patience: BeliefPatience,
) -> None:
    """Note results that are not believed yet.

    :raises ResultsNotReadyError: They are to be fetched again. Nothing is deleted, and no row is sent again.
    """
    kind, why = belief(job, shard.plan.rows, arrived)
    now = datetime.fromtimestamp(service.now(), timezone.utc)
    if is_confirmed(kind, arrived, shard.fetched, now, patience):
        if kind is not Belief.BELIEVED:
            log.warning("The results of %s stay as they are: %s.", job.name, why)
        return
    if kind is not Belief.FOREIGN:
        fetched = Fetched(at=now, size_bytes=arrived.size_bytes, lines=arrived.lines, rows=arrived.rows, why=why)
        ledger.put(shard.document(names.FETCHED, len(shard.fetched) + 1), fetched)
    raise ResultsNotReadyError(
        f"The results that came for {job.name} cannot be right: {why}.",
        job_name=job.name,
        code="AGB-R12",
        remedy="The job is kept, its results are fetched again, and no row is sent again. If that fails too, look "
        "for a proxy between this machine and the API.",
    )


def _keys(ledger: Ledger, shard: Shard, dialect: RowDialect) -> Iterator[str]:
    return (key for key, _ in requests_of(ledger, shard, dialect))


def _arrivals(ledger: Ledger, shard: Shard, dialect: RowDialect) -> Arrivals:
    try:
        return Arrivals(lambda: _keys(ledger, shard, dialect), shard.plan.rows)
    except ValueError as error:
        raise rows_lost(ledger, shard, str(error)) from None


def _fetch(service: BatchService, job: JobSnapshot, match: _Match) -> int | None:
    """Match the lines of the results while they arrive.

    Returns the size in bytes, None if there are no results.
    """
    incoming = Incoming(match.take)
    size = service.fetch_results(job, cast(BinaryIO, incoming))
    match.end(incoming.rest())
    return size


class _Match:
    """Result lines to the rows that were sent, one after another."""

    def __init__(
        self, keys: Arrivals, results: Behind, quarantine: BinaryIO, dialect: RowDialect, tally: _Tally
    ) -> None:
        self._keys = keys
        self._results = results
        self._quarantine = quarantine
        self._dialect = dialect
        self._tally = tally
        self._encode_lines = msgspec.json.Encoder().encode_lines
        self._number = 0
        self._lines = self._damaged = self._unknown = 0
        self._is_torn = False

    def arrived(self, size_bytes: int) -> Arrived:
        """What came, after the last line of the results."""
        tally = self._tally
        return Arrived(size_bytes, self._lines, tally.rows, self._damaged, self._unknown, self._is_torn)

    def end(self, rest: list[bytes | None]) -> None:
        """The last line of the results, if it has no line break."""
        before = self._tally.quarantined
        self.take(rest)
        self._is_torn = self._tally.quarantined > before

    def take(self, lines: list[bytes | None]) -> None:
        """The next lines of the results."""
        rows = []
        for data in lines:
            self._number += 1
            if self._number == 1:
                # A proxy, or an editor on its way, may put a byte-order mark before the first line.
                data = (data or b"").removeprefix(codecs.BOM_UTF8)
            if data == b"":
                continue
            self._lines += 1
            row = self._belonging(data or b"")
            if isinstance(row, str):
                self._tally.quarantine(self._number, row)
                self._quarantine.write((data or b"") + b"\n")
            else:
                rows.append(row)
        self._write(rows)

    def leave(self, keys: Iterable[str], left: tuple[RowStatus, str]) -> None:
        """Rows that no line came for."""
        status, why = left
        job = self._tally.job
        error = RowError(
            job.error_code if job.state is JobState.FAILED else 0, f"{why}: {job.error}" if job.error else why
        )
        for key in keys:
            if not self._keys.has_come(key):
                self._write([LandedRow(key, status, error=error)])

    def _write(self, rows: list[LandedRow]) -> None:
        for row in rows:
            self._tally.add(row)
        self._results.write(self._encode_lines(rows))

    def _belonging(self, data: bytes) -> LandedRow | str:
        """The result row if it is the first one for a key that was sent, else why it is not."""
        try:
            row = self._dialect.read_result(data)
        except BadRowError as bad:
            self._damaged += b'"key"' in data
            return f"{bad.code} {bad.what}"
        arrival = self._keys.arrive(row.key)
        if arrival is Arrival.EXPECTED:
            return row
        self._unknown += arrival is Arrival.UNKNOWN
        return f"AGB-R05 {'its key came before' if arrival is Arrival.AGAIN else 'no row with its key was sent'}"


def _document(tally: _Tally, results: Hashing, quarantine_sha256: str) -> Landed:
    job = tally.job
    return Landed(
        at=datetime.now(timezone.utc),
        job=job.name,
        state=job.state,
        raw_state=job.raw_state,
        error=job.error,
        error_code=job.error_code,
        counts=tally.counts,
        size_bytes=results.size_bytes,
        sha256=results.sha256,
        ended_at=job.ended_at,
        tokens=TokenTotals.of(tally.usage),
        long_tokens=TokenTotals.of(tally.of_long),
        unmetered=tally.unmetered,
        empty=tally.empty,
        passing=tally.passing,
        undone=tally.undone,
        faults=tally.faults.common,
        quarantined=tally.quarantined,
        quarantine_sha256=quarantine_sha256,
        input_file=job.input_file,
        output_file=job.output_file,
    )
