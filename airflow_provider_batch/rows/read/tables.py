"""Tables: the rows of a SQL query, of a pandas, Polars or Arrow table, as columns."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_batch.errors import InputError
from airflow_provider_batch.rows.read import Record, same_names
from airflow_provider_batch.rows.read.arrow import rows_of

if TYPE_CHECKING:
    import pyarrow

    from airflow_provider_batch.rows.dbapi import Connection, Cursor

FETCH_ROWS = 1_000
"""Rows that a query gives at a time."""

FRAME_ROWS = 4_096
"""Rows of a data frame that are turned into Python values at a time."""


class SqlQuery:
    """Rows of a query, for the ``requests`` of an operator.

    The query is streamed. PostgreSQL has a server-side cursor, other drivers do what they offer. Those of MySQL
    bring the whole result to the worker unless the connection asks for another cursor. Give the query an
    ``ORDER BY`` and a fixed window (``WHERE day = '{{ ds }}'``). Then each try of a task reads the same rows.

    :param sql: One SELECT. Templated.
    :param conn_id: Airflow connection of a database whose hook is a ``DbApiHook``. Templated.
    :param parameters: Values for the query's placeholders, in the driver's own style. Templated.
    """

    template_fields: Sequence[str] = ("sql", "conn_id", "parameters")

    def __init__(
        self, sql: str, conn_id: str, parameters: Sequence[object] | Mapping[str, object] | None = None
    ) -> None:
        self.sql = sql
        self.conn_id = conn_id
        self.parameters = parameters

    def __repr__(self) -> str:
        """Without the parameters, which may be data."""
        return f"SqlQuery({self.sql!r}, {self.conn_id!r})"


@dataclass(frozen=True)
class QueryRows:
    """The rows of a query.

    :param connect: Opens a DB-API connection.
    """

    connect: Callable[[], Connection]
    sql: str
    parameters: Sequence[object] | Mapping[str, object] | None = None
    name: str = "the query"

    def __iter__(self) -> Iterator[Record]:
        """Run the query and fetch its rows block by block.

        :raises InputError: Two of its columns have one name.
        """
        with closing(self.connect()) as connection, closing(_cursor(connection)) as cursor:
            cursor.execute(self.sql, *([] if self.parameters is None else [self.parameters]))
            number = 0
            while block := cursor.fetchmany(FETCH_ROWS):
                columns = _distinct(self.name, [column[0] for column in cursor.description])
                for values in block:
                    number += 1
                    yield Record(number, dict(zip(columns, values, strict=True)))


def _cursor(connection: Connection) -> Cursor:
    """A cursor that does not bring the whole result to this machine, where the driver has one."""
    if type(connection).__module__.split(".")[0] in ("psycopg", "psycopg2"):
        cursor = connection.cursor(name=f"airflow_provider_batch_{secrets.token_hex(4)}")
        with suppress(AttributeError):
            cursor.itersize = FETCH_ROWS  # type: ignore[attr-defined]  # of these drivers alone
        return cursor
    return connection.cursor()


@dataclass(frozen=True)
class Frame:
    """The rows of a pandas or Polars data frame or an Arrow table. Only blocks of it become Python values."""

    frame: Any
    name: str = "the data frame"

    def __iter__(self) -> Iterator[Record]:
        """Number the rows from 1. Missing values are None.

        :raises InputError: Two columns have one name.
        """
        for number, row in enumerate(self._rows(), 1):
            yield Record(number, row)

    def _rows(self) -> Iterator[Mapping[str, object]]:
        kind = type(self.frame).__module__.split(".")[0]
        _distinct(self.name, list(self.frame.column_names if kind == "pyarrow" else self.frame.columns))
        if kind == "polars":
            yield from self.frame.iter_rows(named=True, buffer_size=FRAME_ROWS)
        elif kind == "pyarrow":
            for batch in self.frame.to_batches(max_chunksize=FRAME_ROWS):
                yield from self._arrow(batch)
        else:
            for start in range(0, len(self.frame), FRAME_ROWS):
                block = self.frame.iloc[start : start + FRAME_ROWS]
                yield from block.astype(object).where(block.notna(), None).to_dict(orient="records")

    def _arrow(self, batch: pyarrow.RecordBatch) -> list[dict[str, object]]:
        try:
            return rows_of(batch)
        except KeyError as error:
            raise InputError(
                f"{self.name} has a map with one key twice ({type(error).__name__}).",
                source=self.name,
                code="AGB-I26",
                remedy="Nothing was uploaded or spent. Give each key of a map once.",
            ) from None


def _distinct(name: str, columns: list[str]) -> list[str]:
    if (what := same_names(columns)) is not None:
        raise InputError(
            f"{name} {what}.",
            source=name,
            code="AGB-I26",
            remedy="Nothing was uploaded or spent. Give each column a name of its own.",
        )
    return columns


def is_frame(value: object) -> bool:
    """A pandas or Polars data frame or an Arrow table. Imports none of them."""
    return (type(value).__module__.split(".")[0], type(value).__name__) in (
        ("pandas", "DataFrame"),
        ("polars", "DataFrame"),
        ("pyarrow", "Table"),
    )
