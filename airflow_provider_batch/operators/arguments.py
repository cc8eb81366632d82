"""Checks of the operators' arguments, made where the DAG is read. Imports nothing heavy: DAGs are parsed often."""

from __future__ import annotations

import os
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from airflow_provider_batch.errors import ConfigError

Word = TypeVar("Word", bound=str)


def output_spec(value: Any) -> Any:
    """What :class:`~airflow_provider_batch.rows.structured.OutputType` may be made of, unopened."""
    if value is None or isinstance(value, str | dict | type):
        return value
    raise _wrong("output_type", "a pydantic model, where to import it from, or a JSON Schema", value)


def path_text(value: Any) -> Any:
    """A ``pathlib`` path as text; a path of Airflow's object storage, and everything else, stays what it is."""
    return os.fspath(value) if isinstance(value, os.PathLike) and not hasattr(value, "protocol") else value


def is_rendered(requests: object) -> bool:
    """Whether Airflow renders it: paths, queries and what upstream tasks return; never rows."""
    from airflow.sdk import XComArg

    return isinstance(requests, str | XComArg) or hasattr(requests, "template_fields")


def seconds(name: str, value: float, least: float, most: float) -> float:
    """A number of seconds within bounds.

    :raises ConfigError: As all of these, where it is something else.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        raise _wrong(name, f"a number of seconds from {least:,.0f} to {most:,.0f}", value)
    return float(value)


def usd(value: float | str) -> Decimal:
    """A sum of money above 0."""
    try:
        given = Decimal(str(value))
    except InvalidOperation:
        given = Decimal(0)
    if given.is_finite() and given > 0 and not isinstance(value, bool):
        return given
    raise _wrong("max_cost_usd", "a sum in USD above 0", value)


def most_failed(share: float | None, fails_on_any: bool) -> float | None:
    """The share of the rows that may fail, 0 to 1; None = any but all."""
    if fails_on_any:
        return 0.0
    if share is None:
        return None
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise _wrong("max_failed_fraction", "a share from 0 to 1, such as 0.05 for 5 %", share)
    return float(share)


def count(name: str, value: int, most: int) -> int:
    """A whole number from 0."""
    return value if value == 0 and not isinstance(value, bool) else whole(name, value, most)


def whole(name: str, value: int, most: int | None) -> int:
    """A whole number from 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (most is not None and value > most):
        raise _wrong(name, f"a whole number from 1{f' to {most}' if most else ''}", value)
    return value


def one_of(name: str, value: Word, values: tuple[Word, ...]) -> Word:
    """One of these words."""
    if value not in values:
        raise _wrong(name, f"one of {', '.join(values)}", value)
    return value


def _wrong(name: str, wanted: str, value: object) -> ConfigError:
    return ConfigError(
        f"{name} must be {wanted}, got {value!r}.", code="AGB-C06", remedy="Correct the operator's argument."
    )
