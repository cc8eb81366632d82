"""Results into a SQL table, so that doing it again changes nothing.

Rows of a key that is there already are replaced: the keys of a block are deleted and its rows inserted, and all
blocks are one transaction, so readers see the table as it was or as it is. That needs no vendor's own *upsert*.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.dialect import ResultRow, Usage

BLOCK_ROWS = 500
"""Rows of one DELETE. SQLite takes at least 999 values in a statement, others more."""

_NAME = re.compile(r"[A-Za-z_]\w{0,127}(\.[A-Za-z_]\w{0,127}){0,2}", re.ASCII)
_NUL_IN_JSON = re.compile(r"(\\\\)|\\u0000")
"""An escaped backslash, which may stand before a plain ``u0000``, or an escaped NUL."""

_INSTEAD = "\ufffd"
"""Unicode's sign for what cannot be shown."""

_PATHS = frozenset(
    {"key", "parsed", "status", "text", "finish_reason", "vector", "source", "response", "error", "usage"}
)


@dataclass(frozen=True)
class Target:
    """Where rows go.

    :param table: ``table``, ``schema.table`` or ``catalog.schema.table``.
    :param columns: Column of the table to the path of a value in a row: ``key``, ``status``, ``text``,
        ``usage.output``, ``error.message``, ``source.day``, ``parsed.sentiment``; ``text.sentiment`` looks into an
        answer that is JSON without an output type.
    :param key_column: The column that gets the key.
    :param placeholder: The driver's own, such as ``%s``.
    """

    table: str
    columns: Mapping[str, str]
    key_column: str
    placeholder: str = "?"

    def __post_init__(self) -> None:
        for name in (self.table, *self.columns):
            if not _NAME.fullmatch(name):
                raise _wrong(f"{name!r} is not a plain name of a table or column")
        for path in self.columns.values():
            if path.split(".")[0] not in _PATHS:
                raise _wrong(f"{path!r} is not in a result row; it has {', '.join(sorted(_PATHS))}")
        if self.columns.get(self.key_column) != "key":
            raise _wrong(f"columns must map the key column {self.key_column!r} to 'key'")


def load_rows(connection: Any, target: Target, rows: Iterable[ResultRow]) -> int:
    """Put rows into a table in one transaction; rows of the same keys are replaced. Streams.

    NUL in an answer becomes U+FFFD.

    :param connection: DB-API connection, not in autocommit mode. Not closed.
    :return: How many rows were loaded.
    """
    marks = ", ".join([target.placeholder] * len(target.columns))
    insert = f"INSERT INTO {target.table} ({', '.join(target.columns)}) VALUES ({marks})"  # noqa: S608
    loaded = 0
    cursor = connection.cursor()
    try:
        for block in _blocks(rows):
            keys = [row.key for row in block]
            these = ", ".join([target.placeholder] * len(keys))
            cursor.execute(f"DELETE FROM {target.table} WHERE {target.key_column} IN ({these})", keys)  # noqa: S608
            cursor.executemany(insert, [_values(row, target) for row in block])
            loaded += len(block)
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        cursor.close()
    return loaded


def _blocks(rows: Iterable[ResultRow]) -> Iterator[list[ResultRow]]:
    left = iter(rows)
    while block := list(islice(left, BLOCK_ROWS)):
        yield block


def _values(row: ResultRow, target: Target) -> Sequence[Any]:
    answer: Any = None
    if any(path.startswith("text.") for path in target.columns.values()):
        answer = _answer(row.text)
    return [_plain(_at(row, path.split("."), answer)) for path in target.columns.values()]


def _answer(text: str | None) -> Any:
    """The answer as JSON; None where it is none, as of rows without a usable answer."""
    try:
        return msgspec.json.decode(text or "")
    except msgspec.DecodeError:
        return None


def _at(row: ResultRow, path: list[str], answer: Any) -> Any:
    if path[0] == "text" and len(path) > 1:
        value = answer
    elif path[0] == "response":
        value = msgspec.json.decode(row.response)
    else:
        value = getattr(row, path[0])
    for name in path[1:]:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


def _plain(value: Any) -> Any:
    """A value that every driver takes; what has an inside becomes JSON text.

    Models write a NUL now and then, and PostgreSQL holds none: one answer would keep all others out of the table.
    """
    if hasattr(value, "value"):
        return value.value
    if isinstance(value, Mapping | list | Usage | msgspec.Struct):
        return _NUL_IN_JSON.sub(lambda found: found[1] or _INSTEAD, msgspec.json.encode(value).decode())
    return value.replace("\0", _INSTEAD) if isinstance(value, str) else value


def _wrong(what: str) -> ConfigError:
    return ConfigError(f"{what}.", code="AGB-C12", remedy="Nothing was loaded. Correct the task's arguments.")
