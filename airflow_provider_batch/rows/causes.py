"""Why rows have no usable answer, grouped: the first part of the results is read, keys are examples."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

import msgspec
from upath import UPath

from airflow_provider_batch.rows.dialect import RowError, RowStatus
from airflow_provider_batch.rows.read.lines import read_lines
from airflow_provider_batch.rows.storage import opened

MOST_ROWS = 100_000
MOST_S = 4.0
"""Seconds of reading."""

MOST_CAUSES = 30
SAMPLE_KEYS = 5
MOST_CHARS = 300

_VARYING = re.compile(r"'[^']{1,200}'|\"[^\"]{1,200}\"|`[^`]{1,200}`|\b[0-9a-f]{8,}\b|\d+(?:\.\d+)?")


class Ending(msgspec.Struct, frozen=True):
    """How a row ended. The rest of its line is passed over."""

    key: str
    status: RowStatus
    finish_reason: str | None = None
    error: RowError | None = None


@dataclass
class Cause:
    """Rows that ended alike.

    :param code: Of the error, 0 where there is none.
    :param message: Of the first row with this cause, in the vendor's words.
    :param keys: Some of the rows.
    """

    status: str
    code: int
    message: str
    rows: int = 0
    keys: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Causes:
    """What was found.

    :param looked_at: Rows that were read.
    :param is_all: There are no more.
    """

    causes: list[Cause]
    looked_at: int
    is_all: bool


def read_causes(path: UPath) -> Causes:
    """Group the failures of landed results, for some seconds at most.

    :raises OSError: The file cannot be read.
    :raises ValueError: It is not a file of results.
    """
    with opened(path) as file:
        rows = _columns(file) if path.suffix == ".parquet" else _lines(file)
        return grouped(rows, time.monotonic() + MOST_S)


def grouped(rows: Iterable[Ending], until: float) -> Causes:
    """Group rows by how they ended, the most frequent first.

    :param until: When to stop, on the monotonic clock.
    """
    found: dict[tuple[str, int, str], Cause] = {}
    count, is_all = 0, True
    for row in rows:
        if count >= MOST_ROWS or (count % 1000 == 999 and time.monotonic() > until):
            is_all = False
            break
        count += 1
        if row.status is RowStatus.SUCCESS:
            continue
        error = row.error or RowError()
        message = error.message or row.finish_reason or ""
        group = (row.status.value, error.code, alike(message))
        if group not in found and len(found) >= MOST_CAUSES:
            group = (row.status.value, 0, "other causes")
        cause = found.setdefault(group, Cause(row.status.value, group[1], _short(message, group[2])))
        cause.rows += 1
        if len(cause.keys) < SAMPLE_KEYS:
            cause.keys.append(row.key[:MOST_CHARS])
    return Causes(sorted(found.values(), key=lambda cause: -cause.rows), count, is_all)


def alike(message: str) -> str:
    """What messages of one cause have in common: without what is quoted, counted or named in them."""
    return _VARYING.sub("#", message[:MOST_CHARS])


def _short(message: str, group: str) -> str:
    return group if group == "other causes" else message[:MOST_CHARS]


def _lines(file: BinaryIO) -> Iterable[Ending]:
    decode = msgspec.json.Decoder(Ending).decode
    for _, data in read_lines(file):
        yield decode(data or b"")


def _columns(file: BinaryIO) -> Iterable[Ending]:
    from airflow_provider_batch.rows.write.parquet import read_parquet

    for row in read_parquet(file):
        yield Ending(row.key, row.status, row.finish_reason, row.error)
