"""Rows to shards: the first round from the checked input, each later one from the rows that are left over.

The rows of a shard are kept beside the ledger until the batch is complete. So an upload can be finished by
another worker, what is sent again is what was sent before, even if the source has changed since, and
``failed.jsonl`` can hold the requests.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import BinaryIO, cast

import msgspec
from upath import UPath

from airflow_provider_batch.batch.land.match_rows import requests_of, results_name
from airflow_provider_batch.batch.ledger.digests import Hashing, differs, hashed
from airflow_provider_batch.batch.ledger.documents import Landed, RoundPlan, ShardPlan
from airflow_provider_batch.batch.ledger.job_names import content_mark
from airflow_provider_batch.batch.ledger.state import Batch, Round, Shard, shard_name
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.errors import LedgerError
from airflow_provider_batch.rows.check.keys import KeyTable
from airflow_provider_batch.rows.check.shards import Cut, ShardLimits, ShardWriter
from airflow_provider_batch.rows.dialect import LandedRow, RowDialect
from airflow_provider_batch.rows.read.lines import read_lines
from airflow_provider_batch.rows.storage import READ_BYTES, keep, opened, published, spool


def keep_shards(ledger: Ledger, number: int, rows: BinaryIO, cuts: list[Cut], model: str) -> list[ShardPlan]:
    """Keep the parts of a spool beside the ledger, each in a file of its own.

    :param number: The round.
    """
    nonce = secrets.token_hex(4)
    shards = []
    for index, cut in enumerate(cuts, 1):
        name = f"{shard_name(number, index)}.{nonce}.requests.jsonl"
        if len(cuts) == 1:
            keep(rows, ledger.path(name))
        else:
            _copy(rows, cut, ledger.path(name))
        content = content_mark(cut.sha256, model)
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


def begin_round(
    ledger: Ledger,
    batch: Batch,
    dialect: RowDialect,
    limits: ShardLimits,
    now: datetime,
    *,
    goes_again: Callable[[LandedRow, Landed], bool],
    is_new_start: bool,
) -> None:
    """Plan the next round: the rows of the last one that are left over.

    :param goes_again: Says of a landed row, and of how its job ended, whether it is sent again.
    :param is_new_start: The task's timeout starts anew.
    """
    last = batch.round
    lines = _left_lines(ledger, last, dialect, goes_again)
    with spool(ledger.folder) as rows:
        writer = ShardWriter(rows, limits)
        for line in lines:
            writer.add(line)
        shards = keep_shards(ledger, last.number + 1, rows, writer.close(), batch.plan.model)
    plan = RoundPlan(
        shards=tuple(shards), created_at=now, clock_from=now if is_new_start else last.plan.clock_from
    )
    ledger.put(f"r{last.number + 1}.plan.json", plan)


def result_rows(ledger: Ledger, shard: Shard) -> Iterator[LandedRow]:
    """Stream the landed rows of a shard.

    :raises LedgerError: The file is gone or damaged.
    """
    decode = msgspec.json.Decoder(LandedRow).decode
    path = ledger.path(results_name(shard))
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
    path = ledger.path(results_name(shard))
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
    path = ledger.path(results_name(shard))
    try:
        with opened(path) as file:
            _ensure_proven(ledger, path, shard, file)
            yield file, path
    except FileNotFoundError as error:
        raise _unusable(path, shard, type(error).__name__) from None


def _ensure_proven(ledger: Ledger, path: UPath, shard: Shard, file: BinaryIO) -> None:
    """The same before the file is given away as it is; one that this visit has written need not be read again."""
    if _landed(shard).sha256 in ledger.written:
        return
    _ensure_whole(path, shard, hashed(file))


def _ensure_whole(path: UPath, shard: Shard, rows: Hashing) -> None:
    landed = _landed(shard)
    if rows.size_bytes != landed.size_bytes:
        raise _unusable(path, shard, f"{rows.size_bytes} bytes instead of {landed.size_bytes}")
    if wrong := differs(landed.sha256, rows.sha256):
        raise _unusable(path, shard, wrong)


def _unusable(path: UPath, shard: Shard, what: str) -> LedgerError:
    return LedgerError(
        f"The landed rows in {path} cannot be used: {what}.",
        code="AGB-L02",
        remedy=f"Nothing was sent. Delete {shard.name}.landed.json beside it to fetch the results again, "
        "as long as the server has them.",
    )


def _left_lines(
    ledger: Ledger, last: Round, dialect: RowDialect, goes_again: Callable[[LandedRow, Landed], bool]
) -> Iterator[bytes]:
    for shard in last.shards:
        with KeyTable() as left:
            landed = _landed(shard)
            for row in result_rows(ledger, shard):
                if goes_again(row, landed):
                    left.add(row.key, 0)
            if len(left):
                yield from (line for key, line in requests_of(ledger, shard, dialect) if key in left)


def _landed(shard: Shard) -> Landed:
    if shard.landed is None:
        raise LedgerError(f"{shard.name} has not landed.", code="AGB-L02")
    return shard.landed


def _copy(rows: BinaryIO, cut: Cut, to: UPath) -> None:
    rows.seek(cut.start)
    left = cut.size_bytes
    with published(to) as file:
        while left and (block := rows.read(min(left, READ_BYTES))):
            left -= file.write(block)
