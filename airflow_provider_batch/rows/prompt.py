"""Columns to a key and a prompt.

A template is Python's ``str.format`` with the names of columns and nothing else: no attributes, no indexing. It is
never Jinja over the data, so what stands in a table cannot become code.
"""

from __future__ import annotations

import numbers
import string
from collections.abc import Callable, Mapping
from datetime import date, time
from decimal import Decimal

import msgspec

from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.read.values import NoTextError, is_missing, is_single, text_of
from airflow_provider_batch.rows.templates import check_template

Prompt = str | Callable[[Mapping[str, object]], object]
"""A template such as ``"Summarise: {text}"``, or a function of the row."""


def check_prompt(prompt: Prompt | None) -> None:
    """Make sure that a prompt is a function or a template.

    :raises ConfigError: It is neither, or a template that cannot be filled in.
    """
    if prompt is not None and not callable(prompt):
        check_template(prompt)


def columns_of(data: bytes | Mapping[str, object]) -> Mapping[str, object]:
    """The columns of a record. A line is read as one JSON object.

    :raises BadRowError: The line is not JSON, or not an object.
    """
    if not isinstance(data, bytes):
        return data
    try:
        row = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRowError("AGB-I06", f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise BadRowError("AGB-I12", f"a row must be an object, got {type(row).__name__}")
    return row


def key_of(row: Mapping[str, object], column: str) -> str:
    """The row's key as text.

    :raises BadRowError: The column is not there, empty, or neither text nor a whole number.
    """
    if column not in row:
        raise BadRowError("AGB-I25", f"no column {column!r} for the key (has {names_in(row)})")
    value = row[column]
    # UUIDs and dates have one text. A float does not.
    is_odd = isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral)
    if is_missing(value) or is_odd or type(value).__name__.startswith("bool") or not is_single(value):
        raise BadRowError(
            "AGB-I13", f"the key column {column!r} must be text or a whole number, not {_kind(value)}"
        )
    try:
        key = text_of(value)
    except NoTextError as error:
        raise BadRowError("AGB-I13", f"the key column {column!r} holds {error.what}") from None
    if not key:
        raise BadRowError("AGB-I13", f"the key column {column!r} is empty")
    return key


def with_text_key(row: dict[str, object]) -> dict[str, object]:
    """A row that is a request already, with its key as text, as results name it so.

    :raises BadRowError: It is no text, and nothing that has one.
    """
    if "key" in row and not isinstance(row["key"], str):
        row["key"] = key_of(row, "key")
    return row


def evaluated(prompt: Prompt, row: Mapping[str, object], key: str) -> object:
    """What the prompt makes of a row: a text, or the value of the function.

    :raises BadRowError: As :func:`render`, or the function failed.
    """
    try:
        return render(prompt, row) if isinstance(prompt, str) else prompt(row)
    except BadRowError as bad:
        bad.key = bad.key or key
        raise
    except Exception as error:
        # The user's own code. The text may hold the row, so the exception's type and place are all that is said.
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f" at line {trace.tb_lineno} of {trace.tb_frame.f_code.co_name}" if trace else ""
        raise BadRowError("AGB-I25", f"the prompt function raised {type(error).__name__}{where}", key) from error


def render(template: str, row: Mapping[str, object]) -> str:
    """Put the row's columns into the template.

    :raises BadRowError: A column is missing or has no value (None, NaN) or no text, or cannot be formatted so.
    """
    try:
        return _FORMATTER.vformat(template, (), row)
    except KeyError as error:
        raise BadRowError("AGB-I25", f"no column {error} for the prompt (has {names_in(row)})") from None
    except _NoValueError as error:
        raise BadRowError("AGB-I25", f"column {error} has no value (NULL, NaN or NaT)") from None
    except (ValueError, TypeError, OverflowError, ArithmeticError) as error:
        raise BadRowError(
            "AGB-I25", f"a column cannot be formatted as the prompt says ({type(error).__name__})"
        ) from None


def names_in(row: Mapping[str, object]) -> str:
    """The first names of columns, for a message."""
    names = [ascii(name)[:40] for name in list(row)[:8]]
    return ", ".join(names) + (" and more" if len(row) > 8 else "") or "none"


class _NoValueError(Exception):
    pass


class _Cell:
    """A column's value in a template: its text, or its number or date where the template says a format."""

    def __init__(self, name: str, value: object) -> None:
        self._name = name
        self._value = value

    def __str__(self) -> str:
        try:
            return text_of(self._value)
        except NoTextError as error:
            raise BadRowError("AGB-I25", f"column {self._name!r} has no text: it holds {error.what}") from None

    def __repr__(self) -> str:
        return repr(str(self))

    def __format__(self, spec: str) -> str:
        text = str(self)
        if not spec:
            return text
        has_format = isinstance(self._value, numbers.Number | Decimal | date | time)
        is_plain = has_format and not type(self._value).__name__.startswith("bool")
        return format(self._value if is_plain else text, spec)


class _Columns(string.Formatter):
    def get_value(self, key: int | str, args: object, kwargs: Mapping[str, object]) -> object:
        value = kwargs[str(key)]
        if is_missing(value):
            raise _NoValueError(repr(key))
        return _Cell(str(key), value)


_FORMATTER = _Columns()


def _kind(value: object) -> str:
    return "empty (NULL)" if is_missing(value) else type(value).__name__
