"""Rows that are kept beside a ledger's documents until the batch is complete: those sent, and those landed.

So an upload can be finished by another worker, and ``failed.jsonl`` can hold the requests. What is sent again is
what was sent before, even if the source has changed since.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import BinaryIO, cast

import msgspec
from upath import UPath

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.digests import Hashing, differs, digest, hashed
from airflow_provider_batch.batch.ledger.documents import Landed, ShardPlan
from airflow_provider_batch.batch.ledger.job_names import content_digest
from airflow_provider_batch.batch.ledger.state import BatchState, Shard
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.errors import LedgerError
from airflow_provider_batch.rows.check.shards import Cut
from airflow_provider_batch.rows.dialect import LandedRow, RowDialect
from airflow_provider_batch.rows.read.lines import read_lines
from airflow_provider_batch.rows.storage import READ_BYTES, keep, opened, published


def keep_shards(ledger: Ledger, number: int, rows: BinaryIO, cuts: list[Cut], model: str) -> list[ShardPlan]:
    """Keep the parts of a spool beside the ledger, each in a file of its own.

    :param number: The round.
    """
    nonce = secrets.token_hex(4)
    shards = []
    for index, cut in enumerate(cuts, 1):
        name = names.requests_name(number, index, nonce)
        if len(cuts) == 1:
            keep(rows, ledger.path(name))
        else:
            _copy(rows, cut, ledger.path(name))
        content = content_digest(cut.sha256, model)
        shards.append(
            ShardPlan(
                file=name,
                rows=cut.rows,
                size_bytes=cut.size_bytes,
                content=content,
                tokens=cut.tokens,
                sha256=cut.sha256,
            )
        )
    return shards


def requests_of(ledger: Ledger, shard: Shard, dialect: RowDialect) -> Iterator[tuple[str, bytes]]:
    """Stream the rows of a shard: key and line.

    :raises LedgerError: The file is gone or is not what was planned.
    """
    count = 0
    try:
        with opened(ledger.path(shard.plan.file)) as file:
            rows = Hashing(file)
            for _, data in read_lines(cast(BinaryIO, rows)):
                count += 1
                yield dialect.read_key(data or b""), data or b""
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise rows_lost(ledger, shard, type(error).__name__) from None
    if count != shard.plan.rows:
        raise rows_lost(ledger, shard, f"{count} rows instead of {shard.plan.rows}")
    if wrong := differs(shard.plan.sha256, rows.sha256):
        raise rows_lost(ledger, shard, wrong)


def input_rows(ledger: Ledger, batch: BatchState, dialect: RowDialect) -> Iterator[tuple[str, bytes]]:
    """Stream the rows of the input in their order: key and line."""
    trial = batch.trial
    tried = _rows_of(ledger, trial.shards if trial else (), dialect)
    others = _rows_of(ledger, (shard for shard in batch.originals if shard.round), dialect)
    places = set(batch.plan.trial_places)
    for place in range(batch.plan.rows if places else 0):
        yield from islice(tried if place in places else others, 1)
    # Only a stream that was read to its end has proven that its rows are those that were planned.
    yield from tried
    yield from others


def _rows_of(ledger: Ledger, shards: Iterable[Shard], dialect: RowDialect) -> Iterator[tuple[str, bytes]]:
    for shard in shards:
        yield from requests_of(ledger, shard, dialect)


def ensure_kept(ledger: Ledger, shard: Shard) -> None:
    """Make sure that the kept rows are those that were planned, before they are sent.

    :raises LedgerError: They are gone or are others.
    """
    try:
        with opened(ledger.path(shard.plan.file)) as file:
            wrong = differs(shard.plan.sha256, digest(file))
    except FileNotFoundError as error:
        wrong = type(error).__name__
    if wrong:
        raise rows_lost(ledger, shard, wrong)


def rows_lost(ledger: Ledger, shard: Shard, what: str) -> LedgerError:
    """The error for rows that were sent and are not kept as they were."""
    return LedgerError(
        f"The rows that were sent, in {ledger.path(shard.plan.file)}, cannot be used: {what}.",
        code="AGB-L02",
        remedy="Nothing was sent or cancelled. Restore the file: the results stay on the server for 48 h "
        "after the end of their job.",
    )


def result_rows(ledger: Ledger, shard: Shard) -> Iterator[LandedRow]:
    """Stream the landed rows of a shard.

    :raises LedgerError: The file is gone or damaged.
    """
    decode = msgspec.json.Decoder(LandedRow).decode
    path = ledger.path(shard.document(names.RESULTS))
    try:
        with opened(path) as file:
            rows = Hashing(file)
            for _, data in read_lines(cast(BinaryIO, rows)):
                yield decode(data or b"")
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unusable(path, shard, type(error).__name__) from None
    _ensure_whole(path, shard, rows)


def copy_results(ledger: Ledger, shard: Shard, to: BinaryIO) -> None:
    """Copy the landed rows of a shard as they are.

    :raises LedgerError: The file is gone, or not as long as it was.
    """
    path = ledger.path(shard.document(names.RESULTS))
    try:
        with opened(path) as file:
            rows = Hashing(file)
            shutil.copyfileobj(rows, to, READ_BYTES)
    except FileNotFoundError as error:
        raise _unusable(path, shard, type(error).__name__) from None
    _ensure_whole(path, shard, rows)


@contextmanager
def results_of(ledger: Ledger, shard: Shard) -> Iterator[tuple[BinaryIO, UPath]]:
    """Hold the landed rows of a shard: the open file, and where it is.

    On a local disk they are safe from here on, even if another visit publishes them too and tidies up.

    :raises LedgerError: The file is gone, or not what it was.
    """
    path = ledger.path(shard.document(names.RESULTS))
    try:
        with opened(path) as file:
            _ensure_proven(ledger, path, shard, file)
            yield file, path
    except FileNotFoundError as error:
        raise _unusable(path, shard, type(error).__name__) from None


def _ensure_proven(ledger: Ledger, path: UPath, shard: Shard, file: BinaryIO) -> None:
    """The same, before the file is given away as it is.

    A file that this visit has written need not be read again.
    """
    if landed_of(shard).sha256 in ledger.written:
        return
    _ensure_whole(path, shard, hashed(file))


def _ensure_whole(path: UPath, shard: Shard, rows: Hashing) -> None:
    landed = landed_of(shard)
    if rows.size_bytes != landed.size_bytes:
        raise _unusable(path, shard, f"{rows.size_bytes} bytes instead of {landed.size_bytes}")
    if wrong := differs(landed.sha256, rows.sha256):
        raise _unusable(path, shard, wrong)


def _unusable(path: UPath, shard: Shard, what: str) -> LedgerError:
    return LedgerError(
        f"The landed rows in {path} cannot be used: {what}.",
        code="AGB-L02",
        remedy=f"Nothing was sent. Delete {shard.document(names.LANDED)} beside it to fetch the results again, "
        "as long as the server has them.",
    )


def landed_of(shard: Shard) -> Landed:
    """What is noted of a shard that has landed.

    :raises LedgerError: It has not.
    """
    if shard.landed is None:
        raise LedgerError(f"{shard.name} has not landed.", code="AGB-L02")
    return shard.landed


def _copy(rows: BinaryIO, cut: Cut, to: UPath) -> None:
    rows.seek(cut.start)
    left = cut.size_bytes
    with published(to) as file:
        while left and (block := rows.read(min(left, READ_BYTES))):
            left -= file.write(block)
