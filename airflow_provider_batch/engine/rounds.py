"""Rows to shards: the first round from the checked input, each later one from the rows that are left over.

The rows of a shard are kept beside the ledger until the batch is complete. So an upload can be finished by
another worker, what is sent again is what was sent before, even if the source has changed since, and
``failed.jsonl`` can hold the requests.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO

import msgspec

from airflow_provider_batch.engine.documents import Landed, RoundPlan, ShardPlan
from airflow_provider_batch.engine.identity import content_mark
from airflow_provider_batch.engine.land import is_passing, is_undone, requests_of, results_name
from airflow_provider_batch.engine.ledger import Ledger
from airflow_provider_batch.engine.state import Batch, Round, Shard, shard_name
from airflow_provider_batch.errors import LedgerError
from airflow_provider_batch.rows.dialect import ResultRow, RowDialect
from airflow_provider_batch.rows.framing import read_lines
from airflow_provider_batch.rows.keys import KeyTable
from airflow_provider_batch.rows.storage import opened, published, spool

BYTES_PER_TOKEN = 4
"""The API's documentation: about four characters of English a token. Rough, and only for the limit in flight."""

MAX_SHARD_BYTES = 2 * 1024**3
"""The largest file that the API takes: 2 GB."""


@dataclass(frozen=True)
class ShardLimits:
    """What fits into one remote job.

    :param rows: None = no limit of our own.
    :param size_bytes: At most 2 GiB.
    :param tokens: Rough number of input tokens, None = no limit of our own.
    """

    rows: int | None = None
    size_bytes: int = MAX_SHARD_BYTES
    tokens: int | None = None

    def admit(self, rows: int, size_bytes: int) -> bool:
        """A shard may be as large as this."""
        return (
            (self.rows is None or rows <= self.rows)
            and size_bytes <= self.size_bytes
            and (self.tokens is None or size_bytes // BYTES_PER_TOKEN <= self.tokens)
        )


def write_shards(
    ledger: Ledger, number: int, lines: Iterable[bytes], model: str, limits: ShardLimits
) -> list[ShardPlan]:
    """Keep rows beside the ledger, cut where a shard is full. A row that is too large by itself goes alone.

    :param number: The round.
    :param lines: Rows without their line breaks.
    """
    shards: list[ShardPlan] = []
    nonce = secrets.token_hex(4)
    with spool() as part:
        rows, digest = 0, hashlib.sha256()

        def keep() -> None:
            name = f"{shard_name(number, len(shards) + 1)}.{nonce}.requests.jsonl"
            size = part.tell()
            _copy(part, ledger, name)
            content = content_mark(digest.hexdigest(), model)
            shards.append(
                ShardPlan(file=name, rows=rows, size_bytes=size, content=content, tokens=size // BYTES_PER_TOKEN)
            )

        for line in lines:
            if rows and not limits.admit(rows + 1, part.tell() + len(line) + 1):
                keep()
                part.seek(0)
                part.truncate()
                rows, digest = 0, hashlib.sha256()
            part.write(line + b"\n")
            digest.update(line + b"\n")
            rows += 1
        if rows:
            keep()
    return shards


def begin_round(
    ledger: Ledger,
    batch: Batch,
    dialect: RowDialect,
    limits: ShardLimits,
    now: datetime,
    *,
    with_passing: bool,
    with_undone: Callable[[Landed], bool],
    is_new_start: bool,
) -> None:
    """Plan the next round: the rows of the last one that are left over.

    :param with_passing: Rows that failed by themselves, for a passing reason.
    :param with_undone: Says of which jobs that ended badly the rows are sent again.
    :param is_new_start: The task's timeout starts anew.
    """
    last = batch.round
    lines = _left_lines(ledger, last, dialect, with_passing=with_passing, with_undone=with_undone)
    shards = write_shards(ledger, last.number + 1, lines, batch.plan.model, limits)
    plan = RoundPlan(
        shards=tuple(shards), created_at=now, clock_from=now if is_new_start else last.plan.clock_from
    )
    ledger.put(f"r{last.number + 1}.plan.json", plan)


def result_rows(ledger: Ledger, shard: Shard) -> Iterator[ResultRow]:
    """Stream the landed rows of a shard.

    :raises LedgerError: The file is gone or damaged.
    """
    decode = msgspec.json.Decoder(ResultRow).decode
    path = ledger.path(results_name(shard))
    try:
        with opened(path) as file:
            for _, data in read_lines(file):
                yield decode(data or b"")
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LedgerError(
            f"The landed rows in {path} cannot be used: {type(error).__name__}.",
            code="AGB-L02",
            remedy=f"Nothing was sent. Delete {shard.name}.landed.json beside it to fetch the results again, "
            "as long as the server has them.",
        ) from None


def _left_lines(
    ledger: Ledger,
    last: Round,
    dialect: RowDialect,
    *,
    with_passing: bool,
    with_undone: Callable[[Landed], bool],
) -> Iterator[bytes]:
    for shard in last.shards:
        with KeyTable() as left:
            landed = _landed(shard)
            undone = with_undone(landed)
            for row in result_rows(ledger, shard):
                passes = with_passing and is_passing(row, landed.state)
                if passes or (undone and is_undone(row, landed.state)):
                    left.add(row.key, 0)
            if len(left):
                yield from (line for key, line in requests_of(ledger, shard, dialect) if key in left)


def _landed(shard: Shard) -> Landed:
    if shard.landed is None:
        raise LedgerError(f"{shard.name} has not landed.", code="AGB-L02")
    return shard.landed


def _copy(part: BinaryIO, ledger: Ledger, name: str) -> None:
    part.seek(0)
    with published(ledger.path(name)) as file:
        while block := part.read(1024 * 1024):
            file.write(block)
