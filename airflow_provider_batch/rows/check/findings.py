"""Bad rows: how an error names them, and how they are kept where the rest is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from airflow_provider_batch.errors import BadRow, InputError
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.read import Record, UnreadableRow
from airflow_provider_batch.rows.read.values import NoTextError, plain_of

MAX_FINDINGS = 20
"""Bad rows named in one error. The total is given as well."""

MAX_SHOWN_BYTES = 1024 * 1024
"""How much of a skipped line is kept, bytes."""

REMEDY = "Nothing was uploaded or spent. Correct the input and run the task again."


@dataclass
class Findings:
    """Bad rows: the first few in words, and how many there are."""

    source: str
    rows: list[BadRow] = field(default_factory=list)
    total: int = 0
    first: tuple[int, str] | None = None

    def add(self, record: Record, code: str, what: str, key: str | None) -> None:
        """Note a bad row."""
        self.total += 1
        self.first = self.first or (record.number, code)
        if len(self.rows) < MAX_FINDINGS:
            self.rows.append(BadRow(place_of(record), "" if key is None else _shown(key), code, what))

    def error(self) -> InputError:
        """All of them in one error."""
        count = "1 bad row" if self.total == 1 else f"{self.total} bad rows"
        line, code = self.first or (None, "")
        message = f"{self.source} has {count}:\n{indented(self.rows, self.total)}\n"
        return InputError(
            message,
            source=self.source,
            line=line,
            code=code,
            remedy=REMEDY,
            rows=tuple(self.rows),
            bad_rows=self.total,
        )


def indented(rows: Sequence[BadRow], total: int) -> str:
    """Bad rows in words, a line for each.

    :param total: How many there are, with those that are not named.
    """
    lines = [bad.in_words for bad in rows] + ([f"and {total - len(rows)} more."] if total > len(rows) else [])
    return "\n".join(f"  {line}" for line in lines)


def left_out(record: Record, bad: BadRowError) -> bytes:
    """A line of ``failed.jsonl`` for a row that was not sent: what is wrong with it, where, and the row."""
    error = {"code": bad.code, "message": bad.what, "place": place_of(record)}
    if isinstance(record.data, Mapping):
        row: object = {_safe(name): _shown_value(value) for name, value in record.data.items()}
    else:
        data = record.data.data if isinstance(record.data, UnreadableRow) else record.data or b""
        row = data[:MAX_SHOWN_BYTES].decode(errors="backslashreplace")
    return msgspec.json.encode({"key": None if bad.key is None else _safe(bad.key), "skipped": error, "row": row})


def _shown_value(value: object) -> object:
    """A value of a row that was left out. Where JSON has no form for the value, a word for what it is."""
    try:
        plain = plain_of(value)
        msgspec.json.encode(plain)
    except NoTextError as error:
        return f"({error.what})"
    except (ValueError, TypeError, RecursionError):
        return _safe(plain)
    return plain


def _safe(value: object) -> str:
    """A text that can be written as UTF-8."""
    return str(value)[:MAX_SHOWN_BYTES].encode(errors="backslashreplace").decode()


def place_of(record: Record) -> str:
    """Where a row stands, for messages."""
    return f"{f'{record.file} ' if record.file else ''}{record.unit} {record.number}"


def _shown(key: str) -> str:
    """A key for a message: escaped, at most 80 characters."""
    text = ascii(key)
    return text if len(text) <= 80 else f"{text[:76]}...'"
