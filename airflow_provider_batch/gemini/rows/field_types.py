"""The types of fields: what a value must be, and numbers as the protocol's JSON writes them."""

from __future__ import annotations

import math
import re

from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.read.strict_json import json_type

_TYPES = {"string": str, "boolean": bool, "object": dict, "list": list}

_NUMERAL = re.compile(r"-?\d{1,400}(?:\.\d{1,400})?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_INT32 = range(-(2**31), 2**31)


def check_type(kind: str, value: object, path: str) -> None:
    """A value of the right type. Numbers may come as strings, and whole numbers as floats.

    :param kind: As in :mod:`~airflow_provider_batch.gemini.rows.fields`.
    :raises BadRowError: It is of another.
    """
    if kind == "int32":
        number = number_of(value)
        if number is None or number != int(number):
            raise wrong_type(path, "a whole number", value)
        if int(number) not in _INT32:
            raise BadRowError("AGB-I09", f"{path}={str(value)[:40]} exceeds int32")
        return
    if kind == "number":
        if number_of(value) is None:
            raise wrong_type(path, "a number", value)
    elif not isinstance(value, _TYPES[kind]):
        raise wrong_type(path, f"{'an' if kind == 'object' else 'a'} {kind}", value)


def number_of(value: object) -> int | float | None:
    """A number, also one that is written as text. None for what is none, or not finite."""
    number = float(value) if isinstance(value, str) and _NUMERAL.fullmatch(value) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return number if abs(number) != math.inf and number == number else None


def whole(value: object) -> int | None:
    """A whole number that was checked to be one, None if it is not given."""
    number = number_of(value)
    return None if number is None else int(number)


def check_range(value: object, lowest: float, highest: float | None, path: str) -> None:
    """A number within bounds, or nothing.

    :raises BadRowError: It is outside.
    """
    number = number_of(value)
    if number is not None and (number < lowest or (highest is not None and number > highest)):
        wanted = f"{lowest} to {highest}" if highest is not None else f"at least {lowest}"
        raise BadRowError("AGB-I15", f"{path} must be {wanted}, got {number}")


def wrong_type(path: str, wanted: str, value: object) -> BadRowError:
    """What to raise for a value of another type."""
    return BadRowError("AGB-I15", f"{path} must be {wanted}, got {json_type(value)}")
