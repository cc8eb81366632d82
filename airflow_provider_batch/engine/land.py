"""A finished job's result lines to one result row per input row, published by writing the manifest last.

Every input key ends in exactly one status and the counts add up to the input. A result line that belongs to
no row (unreadable, unknown key, a key said twice) is paid for all the same: it is kept in a quarantine file.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import BinaryIO

import msgspec
from upath import UPath

from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.engine.claim import Claim
from airflow_provider_batch.engine.submit import Submission
from airflow_provider_batch.rows.dialect import BadRowError, ResultRow, RowDialect, RowError, RowStatus, Usage
from airflow_provider_batch.rows.framing import read_lines
from airflow_provider_batch.rows.keys import Arrival, KeyTable
from airflow_provider_batch.rows.manifest import FILE_NAME, Manifest, TokenTotals
from airflow_provider_batch.rows.storage import published, spool

log = logging.getLogger(__name__)

RESULTS_FILE = "results.jsonl"
QUARANTINE_FILE = "quarantine.jsonl"

MAX_QUARANTINE_LOGGED = 10
"""Lines in the log; the file holds all of them and the manifest counts them."""


@dataclass
class _Tally:
    counts: Counter[RowStatus] = field(default_factory=Counter)
    usage: Usage = field(default_factory=Usage)
    quarantined: int = 0

    def add(self, row: ResultRow) -> None:
        self.counts[row.status] += 1
        if row.usage is not None:
            self.usage = self.usage + row.usage

    def quarantine(self, number: int, why: str) -> None:
        self.quarantined += 1
        if self.quarantined <= MAX_QUARANTINE_LOGGED:
            log.warning("Result line %d goes to %s: %s", number, QUARANTINE_FILE, why)


def land(service: BatchService, submission: Submission, dialect: RowDialect, folder: UPath) -> Manifest:
    """Fetch the results of a succeeded job, match them to its rows, publish them.

    Landing again gives the same files: it costs nothing.

    :param folder: ``submission.result_path``, opened.
    :raises BatchError: The results could not be fetched or the keys are gone; nothing is published.
    """
    with ExitStack() as stack:
        keys = stack.enter_context(KeyTable())
        claim = Claim.of_job(folder, submission.display_name)
        claim.keys(submission.request_count, into=keys)
        raw = stack.enter_context(spool())
        size = service.fetch_results(submission.job_name, raw)
        log.info("Fetched the results of %s: %d bytes.", submission.job_name, size)
        raw.seek(0)
        claim.retire_previous()
        (folder / FILE_NAME).unlink(missing_ok=True)
        quarantine = stack.enter_context(spool())
        with published(folder / RESULTS_FILE) as results:
            tally = _match(raw, results, quarantine, keys, dialect)
        quarantine_uri = _keep_quarantine(quarantine, folder) if tally.quarantined else None
    manifest = Manifest(
        job_name=submission.job_name,
        model=submission.model,
        display_name=submission.display_name,
        result_uri=str(folder / RESULTS_FILE),
        request_count=submission.request_count,
        counts=dict(tally.counts),
        tokens=TokenTotals.of(tally.usage),
        quarantine_uri=quarantine_uri,
        quarantined=tally.quarantined,
        submitted_at=submission.submitted_at,
        landed_at=datetime.now(timezone.utc),
    )
    manifest.write(folder)
    return manifest


def _match(raw: BinaryIO, results: BinaryIO, quarantine: BinaryIO, keys: KeyTable, dialect: RowDialect) -> _Tally:
    tally = _Tally()
    encode = msgspec.json.Encoder().encode
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
    for key in keys.outstanding():
        row = ResultRow(key, RowStatus.MISSING, error=RowError(message="the results hold no line for this row"))
        tally.add(row)
        results.write(encode(row) + b"\n")
    return tally


def _belonging(data: bytes | None, keys: KeyTable, dialect: RowDialect) -> ResultRow | str:
    """The result row if it is the first one for a key that was sent, else why it is not."""
    try:
        row = dialect.read_result(data or b"")
    except BadRowError as bad:
        return f"{bad.code} {bad.what}"
    arrival = keys.arrive(row.key)
    if arrival is Arrival.EXPECTED:
        return row
    return f"AGB-R05 {'its key came before' if arrival is Arrival.AGAIN else 'no row with its key was sent'}"


def _keep_quarantine(quarantine: BinaryIO, folder: UPath) -> str:
    quarantine.seek(0)
    target = folder / QUARANTINE_FILE
    with published(target) as file:
        while block := quarantine.read(1024 * 1024):
            file.write(block)
    return str(target)
