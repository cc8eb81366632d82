"""The landed shards of all rounds to the results that the user sees, the manifest last.

A row counts as it ended in the last round that it was sent in. Tokens count in every round, as they are billed
in every one.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import BinaryIO

import msgspec
from upath import UPath

from airflow_provider_batch.batch.cost.receipts import Prices, cost_of, no_prices, receipt
from airflow_provider_batch.batch.cost.ways import call_receipts, rescue_extra_usd, ways_of
from airflow_provider_batch.batch.land.input_order import in_input_order
from airflow_provider_batch.batch.land.replace import LateError, Replacing, sleepers
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.digests import Hashing, differs
from airflow_provider_batch.batch.ledger.documents import Landed, UploadedMedia
from airflow_provider_batch.batch.ledger.folder_owner import retire_previous
from airflow_provider_batch.batch.ledger.kept_rows import copy_results, requests_of, result_rows, results_of
from airflow_provider_batch.batch.ledger.publication import Published, Tidied
from airflow_provider_batch.batch.ledger.state import BatchState, Round, Shard, read_batch
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.errors import BatchError, LedgerError
from airflow_provider_batch.rows.check.keys import KeyTable
from airflow_provider_batch.rows.dialect import LandedRow, RowDialect, RowStatus, Usage
from airflow_provider_batch.rows.manifest import FILE_NAME, Manifest, TokenTotals
from airflow_provider_batch.rows.storage import READ_BYTES, opened, ready, spool
from airflow_provider_batch.rows.write.parquet import write_parquet

log = logging.getLogger(__name__)

RESULTS_FILES = {"jsonl": "results.jsonl", "parquet": "results.parquet"}
"""By format."""

FAILED_FILE = "failed.jsonl"
QUARANTINE_FILE = "quarantine.jsonl"

JOBS_FILE = "jobs.jsonl"
"""What each remote job came to, and the single calls of each round."""


@dataclass
class _Tally:
    counts: Counter[RowStatus] = field(default_factory=Counter)
    empty: int = 0
    failed: int = 0


def publish(
    ledger: Ledger,
    batch: BatchState,
    folder: UPath,
    dialect: RowDialect,
    prices: Prices = no_prices,
    *,
    is_again: bool = False,
) -> Manifest | None:
    """Write the results, ``failed.jsonl``, ``quarantine.jsonl`` and ``jobs.jsonl``, then ``manifest.json``.

    Publishing again gives the same files. If another visit was quicker, its files stay as they are. That visit may
    have deleted what would be needed to make them again.

    :param is_again: The state is published. Its files are to be put in place once more.
    :return: None if the ledger has a newer state: it is to be read again.
    :raises LedgerError: A landed part is gone or damaged, or does not hold each row once. Nothing is published,
        and what is there stays.
    :raises ConfigError: The folder holds what another task instance still needs.
    """
    replacing = Replacing(ledger, batch, is_again=is_again)
    try:
        return _publish(ledger, batch, folder, dialect, prices, replacing)
    except LateError as late:
        if late.has_replaced:
            _publish_newest(ledger, folder, dialect, prices)
        return None
    except (LedgerError, FileNotFoundError):
        # What another visit has published it may have tidied up while this one was reading.
        if not batch.round.published and ledger.read(batch.round.document(names.PUBLISHED), Published) is not None:
            return None
        raise
    finally:
        replacing.leave()


def published(ledger: Ledger, folder: UPath) -> Manifest:
    """The manifest of results that are published.

    :raises BatchError: The results are not where the ledger says.
    """
    manifest = Manifest.read(folder, ledger.folder)
    if manifest is None or not (folder / UPath(manifest.result_uri).name).exists():
        raise BatchError(
            f"The ledger at {ledger.folder} says that the results are in {folder}, and they are not.",
            code="AGB-R11",
            remedy="Nothing was sent. Restore the results, or delete the ledger to pay for all rows anew.",
        )
    return manifest


def _publish_newest(ledger: Ledger, folder: UPath, dialect: RowDialect, prices: Prices) -> None:
    """Make up for files of an older state that have taken the place of newer ones."""
    newest = read_batch(ledger)
    if not newest.round.published or newest.superseded:
        # Its own publication comes, after this one.
        return
    log.warning("This worker was late, and results of an earlier state were in the folder for a moment.")
    publish(ledger, newest, folder, dialect, prices, is_again=True)


def _publish(
    ledger: Ledger, batch: BatchState, folder: UPath, dialect: RowDialect, prices: Prices, replacing: Replacing
) -> Manifest:
    """Everything is put together first. Then each file takes the place of the one before in one step."""
    target = folder / RESULTS_FILES[batch.plan.layout.format]
    with ExitStack() as stack:
        results, failed, quarantine, receipts, states = (stack.enter_context(spool(folder)) for _ in range(5))
        whole = _whole(batch)
        tally = _assemble(ledger, batch, dialect, None if whole else results, failed)
        _ensure_each_row_once(ledger, batch, tally)
        quarantined = _copy_quarantine(ledger, batch, quarantine)
        twin = None
        if whole:
            results, twin = stack.enter_context(results_of(ledger, whole))
        elif batch.plan.layout.format == "parquet":
            table = stack.enter_context(spool(folder))
            write_parquet(results, table, batch.plan.output_schema)
            results = table
        _receipts(batch, receipts, prices)
        manifest = _manifest(ledger, batch, folder, tally, quarantined, prices)
        states.write(manifest.to_file())
        steps = [
            stack.enter_context(ready(results, target, twin)),
            _kept(stack, failed, folder / FAILED_FILE, wanted=tally.failed > 0),
            _kept(stack, quarantine, folder / QUARANTINE_FILE, wanted=quarantined > 0),
            stack.enter_context(ready(receipts, folder / JOBS_FILE)),
            stack.enter_context(ready(states, folder / FILE_NAME)),
        ]
        replacing.begin()
        replacing.step(lambda: retire_previous(ledger, batch, folder))
        for step in steps:
            replacing.step(step)
        for name in set(RESULTS_FILES.values()) - {target.name}:
            replacing.step(partial((folder / name).unlink, missing_ok=True))
        replacing.end()
    return manifest


def _kept(stack: ExitStack, part: BinaryIO, target: UPath, *, wanted: bool) -> Callable[[], object]:
    if wanted:
        return stack.enter_context(ready(part, target))
    return partial(target.unlink, missing_ok=True)


def _ensure_each_row_once(ledger: Ledger, batch: BatchState, tally: _Tally) -> None:
    if tally.counts.total() != batch.plan.rows:
        raise LedgerError(
            f"The landed rows in {ledger.folder} are {tally.counts.total()} of {batch.plan.rows}.",
            code="AGB-L02",
            remedy="Nothing was published, and no row is lost. Please report this.",
        )


def tidy(service: BatchService, ledger: Ledger, batch: BatchState, *, keep_remote_files: bool) -> None:
    """Delete what is not needed any more: remote files of landed jobs, and copies of rows in the ledger.

    Copies stay as long as rows are left over that a later try may send again. Another visit may be asleep in the
    middle of publishing. Then the copies stay until a later visit, or the sweep, as they could mend its work.
    """
    if not keep_remote_files:
        for file in _remote_files(ledger, batch):
            service.unstage(file)
    if sleepers(ledger, batch):
        log.info("The copies of rows in %s are left for a later visit to delete.", ledger.folder)
        return
    if not any(shard.landed and (shard.landed.passing or shard.landed.undone) for shard in batch.latest):
        for name in ledger.names_now():
            if name.endswith(".jsonl"):
                ledger.remove(name)
    ledger.put(batch.round.document(names.TIDIED), Tidied(at=datetime.now(timezone.utc)))


def _remote_files(ledger: Ledger, batch: BatchState) -> set[str]:
    """Files on the server that what landed since the last time they were deleted has used or made."""
    files: set[str] = set()
    there = ledger.names() if batch.plan.names_files else set()
    for round_ in reversed(batch.rounds):
        if round_.is_tidied:
            break
        for shard in round_.shards:
            files |= set(_files_of(shard.landed)) if shard.landed else set()
        files |= {file.name for media in _uploaded_media(ledger, there, round_) for file in media.files}
    return files


def _files_of(landed: Landed) -> Iterator[str]:
    if landed.input_file:
        yield landed.input_file
    # Results that were not whole stay for a person to look at, until the server deletes them.
    if landed.output_file and not landed.quarantined and not landed.counts.get(RowStatus.MISSING):
        yield landed.output_file


def _uploaded_media(ledger: Ledger, there: set[str], round_: Round) -> Iterator[UploadedMedia]:
    for name in there:
        kind, numbers = names.kind_of(name)
        if kind == names.MEDIA and numbers[0] == round_.number:
            media = ledger.read(name, UploadedMedia)
            if media is not None:
                yield media


def _assemble(
    ledger: Ledger, batch: BatchState, dialect: RowDialect, results: BinaryIO | None, failed: BinaryIO
) -> _Tally:
    """Put the rows together.

    :param results: None = only count, as they are together already.
    """
    tally = _Tally()
    with KeyTable() as unanswered:
        if results is None or _is_as_landed(batch):
            _copy_landed(ledger, batch, results, tally)
        else:
            _write_rows(ledger, batch, dialect, results, tally, unanswered)
        tally.failed = len(unanswered) + batch.plan.skipped
        if len(unanswered):
            for shard in batch.originals:
                for key, line in requests_of(ledger, shard, dialect):
                    if key in unanswered:
                        failed.write(line + b"\n")
    _add_skipped(ledger, batch, failed)
    return tally


def _is_as_landed(batch: BatchState) -> bool:
    """What landed is what is published: one round, in no particular order, and every row a success."""
    is_plain = not batch.plan.layout.in_input_order and batch.plan.columns_file is None
    landed = [shard.landed for shard in batch.shards if shard.landed]
    return is_plain and batch.round.number == 1 and all(set(one.counts) <= {RowStatus.SUCCESS} for one in landed)


def _whole(batch: BatchState) -> Shard | None:
    """The one shard that is the results, as it stands."""
    shards = batch.originals
    is_whole = len(shards) == 1 and batch.plan.layout.format == "jsonl" and _is_as_landed(batch)
    return shards[0] if is_whole else None


def _copy_landed(ledger: Ledger, batch: BatchState, results: BinaryIO | None, tally: _Tally) -> None:
    for shard in batch.originals:
        if results is not None:
            copy_results(ledger, shard, results)
        if shard.landed:
            tally.counts.update(shard.landed.counts)
            tally.empty += shard.landed.empty


def _write_rows(
    ledger: Ledger, batch: BatchState, dialect: RowDialect, results: BinaryIO, tally: _Tally, unanswered: KeyTable
) -> None:
    encode = msgspec.json.Encoder().encode
    rows = _last_words(ledger, batch)
    if batch.plan.layout.in_input_order or batch.plan.columns_file:
        rows = in_input_order(ledger, batch, dialect, rows)
    for row in rows:
        results.write(encode(row) + b"\n")
        tally.counts[row.status] += 1
        tally.empty += row.is_empty
        if row.status is not RowStatus.SUCCESS:
            unanswered.add(row.key, 0)


def _last_words(ledger: Ledger, batch: BatchState) -> Iterator[LandedRow]:
    """Each row as it ended in the last round that it was sent in.

    An answer of the wrong type was paid for, so it gives way to another answer only.
    """
    with KeyTable() as seen, KeyTable() as answered:
        _note_answered(ledger, batch, answered)
        for round_ in reversed(batch.rounds):
            for shard in round_.shards:
                for row in result_rows(ledger, shard):
                    if not row.has_text and row.key in answered:
                        continue
                    # Of a batch of one round every key is new, so nothing has to be remembered.
                    if batch.round.number == 1 or seen.add(row.key, 0) is None:
                        yield row


def _note_answered(ledger: Ledger, batch: BatchState, answered: KeyTable) -> None:
    """Keys with an answer of the wrong type. A later round that brought no answer at all must not hide it."""
    if batch.plan.output_schema is None or batch.round.number == 1:
        return
    for shard in batch.shards:
        if shard.landed and shard.landed.counts.get(RowStatus.INVALID_OUTPUT):
            for row in result_rows(ledger, shard):
                if row.status is RowStatus.INVALID_OUTPUT and row.has_text:
                    answered.add(row.key, 0)


def _add_skipped(ledger: Ledger, batch: BatchState, failed: BinaryIO) -> None:
    """Bad rows that were left out go to the failed ones, with what is wrong with them."""
    if batch.plan.skipped_file:
        _copy_proven(ledger, batch.plan.skipped_file, batch.plan.skipped_sha256, failed)


def _copy_proven(ledger: Ledger, name: str, sha256: str, to: BinaryIO) -> None:
    try:
        with opened(ledger.path(name)) as file:
            lines = Hashing(file)
            shutil.copyfileobj(lines, to, READ_BYTES)
    except FileNotFoundError:
        wrong = "it is gone"
    else:
        wrong = differs(sha256, lines.sha256)
    if wrong:
        raise LedgerError(
            f"{name} of the ledger at {ledger.folder} cannot be used: {wrong}.",
            code="AGB-L02",
            remedy="Nothing was published, and what has landed stays there. Restore the file.",
        )


def _copy_quarantine(ledger: Ledger, batch: BatchState, lines: BinaryIO) -> int:
    """Put the lines that belong to no row together. Returns how many there are."""
    count = 0
    for shard in batch.shards:
        if shard.landed and shard.landed.quarantined:
            count += shard.landed.quarantined
            _copy_proven(ledger, shard.document(names.QUARANTINE), shard.landed.quarantine_sha256, lines)
    return count


def _receipts(batch: BatchState, lines: BinaryIO, prices: Prices) -> None:
    encode = msgspec.json.Encoder().encode
    for landed in batch.landed:
        if landed.job:
            lines.write(encode(receipt(landed, batch.plan.model, prices)) + b"\n")
    for calls in call_receipts(batch, prices):
        lines.write(encode(calls) + b"\n")


def _manifest(
    ledger: Ledger, batch: BatchState, folder: UPath, tally: _Tally, quarantined: int, prices: Prices
) -> Manifest:
    cost = cost_of(batch.landed, batch.plan.model, prices)
    landed = [shard.landed for shard in batch.shards if shard.landed]
    jobs = [one.job for one in landed if one.job]
    return Manifest(
        job_name=jobs[0] if jobs else "",
        job_count=len(jobs),
        rounds=batch.round.number,
        model=batch.plan.model,
        task_mark=batch.plan.identity.task_digest,
        result_uri=str(folder / RESULTS_FILES[batch.plan.layout.format]),
        failed_uri=str(folder / FAILED_FILE) if tally.failed else None,
        ledger_uri=str(ledger.folder),
        request_count=batch.plan.rows,
        counts=dict(tally.counts),
        empty=tally.empty,
        skipped=batch.plan.skipped,
        tokens=TokenTotals.of(sum((one.tokens.usage() for one in landed), Usage())),
        cost_usd=cost.batch_usd,
        standard_usd=cost.standard_usd,
        ways=ways_of(batch, prices),
        rescue_extra_usd=rescue_extra_usd(batch, prices),
        lost_calls=sum(one.lost_calls for one in landed),
        called_again=sum(one.called_again for one in landed),
        jobs_left_running=sum(one.may_run_on for one in landed),
        unmetered=sum(one.unmetered for one in landed),
        quarantine_uri=str(folder / QUARANTINE_FILE) if quarantined else None,
        quarantined=quarantined,
        submitted_at=batch.plan.first.created_at,
        landed_at=datetime.now(timezone.utc),
    )
