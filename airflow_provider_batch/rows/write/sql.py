"""Results into a SQL table, so that doing it again changes nothing.

Rows of a key that is there already are replaced. The keys of a block are deleted and its rows inserted. All blocks
are one transaction, so readers see the table as it was or as it is. That needs no vendor's own *upsert*.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.dialect import ResultRow, RowError, RowStatus, Usage
from airflow_provider_batch.rows.output.fences import fenced_values

if TYPE_CHECKING:
    from airflow_provider_batch.rows.dbapi import Connection

BLOCK_ROWS = 500
"""Rows of one DELETE. SQLite takes at least 999 values in a statement, others more."""

_NAME = re.compile(r"[A-Za-z_]\w{0,127}(\.[A-Za-z_]\w{0,127}){0,2}", re.ASCII)
_NUL_IN_JSON = re.compile(r"(\\\\)|\\u0000")
"""An escaped backslash, which may stand before a plain ``u0000``, or an escaped NUL."""

_INSTEAD = "\ufffd"
"""Unicode's sign for what cannot be shown."""

_PATHS: dict[str, tuple[str, ...]] = {
    "key": (),
    "status": (),
    "finish_reason": (),
    "note": (),
    "vector": (),
    "usage": Usage.__struct_fields__,
    "error": RowError.__struct_fields__,
}
"""What of a row is known before it is read, and the names inside."""

_OPEN = {
    "text": "text.<name> needs answers that are JSON objects",
    "parsed": "it needs an output_type, and a property of it",
    "source": "it has what keep_columns names",
    "response": "it has what the API answered",
}
"""What has an inside that only the rows show, and what belongs there."""

_ABSENT = object()
"""The name does not exist. A name whose value is null exists."""


@dataclass(frozen=True)
class Target:
    """Where rows go.

    :param table: ``table``, ``schema.table`` or ``catalog.schema.table``.
    :param columns: Column of the table to the path of a value in a row: ``key``, ``status``, ``text``,
        ``usage.output``, ``error.message``, ``source.day``, ``parsed.sentiment``. ``text.sentiment`` looks into an
        answer that is JSON without an output type.
    :param key_column: The column that gets the key.
    :param placeholder: The driver's own, such as ``%s``.
    """

    table: str
    columns: Mapping[str, str]
    key_column: str
    placeholder: str = "?"

    def __post_init__(self) -> None:
        for name in (ensure_table(self.table), *self.columns):
            _ensure_name(name)
        for path in self.columns.values():
            _ensure_known(path)
        if self.columns.get(self.key_column) != "key":
            raise _wrong(f"columns must map the key column {self.key_column!r} to 'key'")


def ensure_table(name: object) -> str:
    """The name of a table, if it is a plain one.

    :raises ConfigError: It is not.
    """
    return _ensure_name(name)


def ensure_statuses(given: object) -> list[str] | None:
    """The statuses of rows, as texts. None = all.

    :raises ConfigError: A status of that name does not exist.
    """
    if given is None:
        return None
    known = [status.value for status in RowStatus]
    statuses = None if isinstance(given, str) or not isinstance(given, Iterable) else [*given]
    if not statuses or not all(one in known for one in statuses):
        raise _wrong(f"only must be a list of {', '.join(known)}, or None for all, got {given!r}")
    return [str(RowStatus(one).value) for one in statuses]


def key_column_of(columns: Mapping[str, str]) -> str:
    """The column that gets the key.

    :raises ConfigError: There is none, or more than one, or a path is not in a result row.
    """
    for path in columns.values():
        _ensure_known(path)
    found = [name for name, path in columns.items() if path == "key"]
    if len(found) != 1:
        has = " and ".join(map(repr, found)) or "no column"
        raise _wrong(f"columns maps {has} to 'key'; map the table's key column to it, or say key_column")
    return found[0]


def _ensure_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong(f"{name!r} is not a plain name of a table or column")
    return name


def _ensure_known(path: object) -> None:
    if not isinstance(path, str):
        raise _wrong(f"{path!r} is not the path of a value in a result row")
    first, *inside = path.split(".")
    if first in _OPEN:
        return
    if first not in _PATHS:
        near = difflib.get_close_matches(first, [*_PATHS, *_OPEN], n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"A row has {', '.join(sorted({*_PATHS, *_OPEN}))}"
        raise _wrong(f"{path!r} is not in a result row. {hint}")
    if inside and (len(inside) > 1 or inside[0] not in _PATHS[first]):
        has = f"has {', '.join(_PATHS[first])}" if _PATHS[first] else "has nothing inside"
        raise _wrong(f"{path!r} is not in a result row. {first} {has}")


def load_rows(connection: Connection, target: Target, rows: Iterable[ResultRow]) -> int:
    """Put rows into a table in one transaction. Rows of the same keys are replaced. Streams.

    NUL in an answer becomes U+FFFD.

    :param connection: DB-API connection, not in autocommit mode. Not closed.
    :return: How many rows were loaded.
    :raises ConfigError: A path leads to nothing in any success: NULL would take the place of what is in the table.
    """
    marks = ", ".join([target.placeholder] * len(target.columns))
    insert = f"INSERT INTO {target.table} ({', '.join(target.columns)}) VALUES ({marks})"  # noqa: S608
    loaded, seen = 0, _Seen(target)
    cursor = connection.cursor()
    try:
        for block in _blocks(rows):
            keys = [row.key for row in block]
            these = ", ".join([target.placeholder] * len(keys))
            cursor.execute(f"DELETE FROM {target.table} WHERE {target.key_column} IN ({these})", keys)  # noqa: S608
            cursor.executemany(insert, [_values(row, target, seen) for row in block])
            loaded += len(block)
        seen.ensure_all()
        connection.commit()
    except BaseException:
        # A task that is stopped in here leaves no open transaction behind either.
        connection.rollback()
        raise
    finally:
        cursor.close()
    return loaded


def _blocks(rows: Iterable[ResultRow]) -> Iterator[list[ResultRow]]:
    left = iter(rows)
    while block := list(islice(left, BLOCK_ROWS)):
        yield block


class _Seen:
    """Which paths have led to something in a row with a usable answer."""

    def __init__(self, target: Target) -> None:
        # An answer that is no text, such as a function call, has none.
        self._missing = {p for p in target.columns.values() if p.split(".")[0] in _OPEN and p != "text"}
        self._successes = 0

    def add(self, row: ResultRow, values: Mapping[str, object]) -> None:
        """A row that is to be loaded, and what its paths have led to."""
        if row.status is not RowStatus.SUCCESS:
            return
        self._successes += 1
        if self._missing:
            self._missing = {
                path
                for path in self._missing
                if values[path] is _ABSENT or (values[path] is None and "." not in path)
            }

    def ensure_all(self) -> None:
        """Make sure that each has, if there was a success at all.

        :raises ConfigError: One has not.
        """
        if self._successes and self._missing:
            path = min(self._missing)
            first = path.split(".")[0]
            count = f"any of the {self._successes:,} successes" if self._successes > 1 else "the only success"
            raise _wrong(f"{path!r} is not in {count}; of {first}: {_OPEN[first]}")


def _values(row: ResultRow, target: Target, seen: _Seen) -> Sequence[object]:
    answer: object = None
    if any(path.startswith("text.") for path in target.columns.values()):
        answer = _answer(row.text)
    found = {path: _at(row, path.split("."), answer) for path in target.columns.values()}
    seen.add(row, found)
    return [None if found[path] is _ABSENT else _plain(found[path]) for path in target.columns.values()]


def _answer(text: str | None) -> object:
    """The answer as JSON, also from a code fence. None where it is none, as of rows without a usable answer."""
    for part in (text or "", *fenced_values(text or "")):
        try:
            return msgspec.json.decode(part)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            continue
    return None


def _at(row: ResultRow, path: list[str], answer: object) -> object:
    if path[0] == "text" and len(path) > 1:
        value = answer
    elif path[0] == "response":
        value = msgspec.json.decode(row.response)
    else:
        value = getattr(row, path[0])
    for name in path[1:]:
        if isinstance(value, Mapping):
            value = value.get(name, _ABSENT)
        else:
            value = getattr(value, name) if isinstance(value, Usage | RowError) else _ABSENT
    return value


def _plain(value: object) -> object:
    """A value that every driver takes. What has an inside becomes JSON text.

    Models write a NUL now and then, and PostgreSQL holds none. One answer would keep all others out of the table.
    """
    if hasattr(value, "value"):
        return value.value
    if isinstance(value, Mapping | list | Usage | msgspec.Struct):
        return _NUL_IN_JSON.sub(lambda found: found[1] or _INSTEAD, msgspec.json.encode(value).decode())
    return value.replace("\0", _INSTEAD) if isinstance(value, str) else value


def _wrong(what: str) -> ConfigError:
    return ConfigError(what, code="AGB-C12", remedy="Nothing was loaded. Correct the task's arguments.")
