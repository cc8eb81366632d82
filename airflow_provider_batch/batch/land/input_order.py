"""Result rows in the order of the input, with the columns of the source that are to stand beside them.

Results come in any order. They are put into a temporary file. A table on disk says where each key is, so memory
stays flat. The rows that were sent, kept beside the ledger, say the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, cast

import msgspec

from airflow_provider_batch.batch.ledger.digests import Hashing, differs
from airflow_provider_batch.batch.ledger.kept_rows import input_rows
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.errors import LedgerError
from airflow_provider_batch.rows.check.keys import KeyTable
from airflow_provider_batch.rows.dialect import LandedRow, RowDialect
from airflow_provider_batch.rows.read.lines import read_lines
from airflow_provider_batch.rows.storage import opened, spool


def in_input_order(
    ledger: Ledger, batch: BatchState, dialect: RowDialect, rows: Iterable[LandedRow]
) -> Iterator[LandedRow]:
    """Stream the rows as they stood in the input, kept columns in ``row.source``.

    :raises LedgerError: The rows that were sent, or their columns, are gone or are not what was planned.
    """
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(LandedRow).decode
    with ExitStack() as stack:
        places, file = stack.enter_context(KeyTable()), stack.enter_context(spool())
        for row in rows:
            places.add(row.key, file.tell())
            file.write(encode(row) + b"\n")
        columns = _columns(ledger, batch)
        for key, _ in input_rows(ledger, batch, dialect):
            place = places.line_of(key)
            if place is None:
                raise _lost(ledger, "a row that was sent has no result")
            file.seek(place)
            row = decode(file.readline())
            yield row if columns is None else msgspec.structs.replace(row, source=_next(columns, ledger))
        if columns is not None and next(columns, None) is not None:
            raise _lost(ledger, "the kept columns are more than the rows")


def _columns(ledger: Ledger, batch: BatchState) -> Iterator[bytes] | None:
    plan = batch.plan
    return None if plan.columns_file is None else _lines(ledger, plan.columns_file, plan.columns_sha256)


def _lines(ledger: Ledger, name: str, sha256: str) -> Iterator[bytes]:
    try:
        with opened(ledger.path(name)) as file:
            rows = Hashing(file)
            for _, data in read_lines(cast(BinaryIO, rows)):
                yield data or b""
    except FileNotFoundError:
        raise _lost(ledger, f"{name} is gone") from None
    if wrong := differs(sha256, rows.sha256):
        raise _lost(ledger, f"{name} has changed, {wrong}")


def _next(columns: Iterator[bytes], ledger: Ledger) -> dict[str, object]:
    try:
        return msgspec.json.decode(next(columns), type=dict[str, Any])
    except (StopIteration, msgspec.MsgspecError):
        raise _lost(ledger, "the kept columns are fewer than the rows, or damaged") from None


def _lost(ledger: Ledger, what: str) -> LedgerError:
    return LedgerError(
        f"The results cannot be put in order: {what}, in {ledger.folder}.",
        code="AGB-L02",
        remedy="Nothing was sent, and what has landed stays there. Restore the file.",
    )
