"""What stands in a column as text and as JSON: one form for each type, the same from every source.

Nothing that Python, NumPy or pandas would shorten or decorate for display is ever used. What has no form here is
refused. The forms are listed in ``docs/columns.md``. Imports none of the libraries whose values it knows.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import PurePath
from typing import Any
from uuid import UUID

import msgspec

_NAMED = (
    UUID,
    PurePath,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
"""What Python writes as everybody does."""

_encode = msgspec.json.Encoder().encode


class NoTextError(Exception):
    """A value that has no form.

    :param what: Why, without the value.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


def is_missing(value: object) -> bool:
    """No value: NULL, or what data frames have in its place (NaN, NaT, NA)."""
    if value is None or isinstance(value, str):
        return value is None
    if isinstance(value, float):
        return value != value
    if isinstance(value, Decimal):
        return value.is_nan()
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    if library == "numpy":
        return kind.__name__ == "MaskedConstant" or (getattr(value, "ndim", 1) == 0 and bool(value != value))
    if library == "pyarrow":
        return getattr(value, "is_valid", True) is False
    return library == "pandas" and kind.__name__ in ("NAType", "NaTType")


def text_of(value: object) -> str:
    """A value as text.

    :raises NoTextError: It has none.
    """
    if type(value) is str:
        return value
    plain = plain_of(value, _digits)
    if isinstance(plain, str):
        return plain
    try:
        return _encode(plain).decode()
    except (ValueError, TypeError, RecursionError, UnicodeError) as error:
        raise NoTextError(f"what JSON cannot hold: {type(error).__name__}") from None


def plain_of(value: object, decimal: Callable[[Decimal], object] = str) -> object:
    """A value as one that JSON has: None, a truth value, a number, a text, a list or an object.

    :param decimal: What is made of a decimal number.
    :raises NoTextError: It has no form as text.
    """
    if value is None or type(value) in (str, bool) or is_missing(value):
        return None if is_missing(value) else value
    if isinstance(value, Enum):
        return plain_of(value.value, decimal)
    if type(value).__module__.partition(".")[0] in _LIBRARIES:
        value = _of_python(value)
    if isinstance(value, str | bytes | bytearray | memoryview):
        return str.__str__(value) if isinstance(value, str) else _decoded(value)
    if isinstance(value, numbers.Number):
        return _number(value, decimal)
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, _NAMED):
        return str(value)
    try:
        return _inside(value, decimal)
    except RecursionError:
        raise NoTextError("lists or objects that are nested too deep") from None


def _inside(value: object, decimal: Callable[[Decimal], object]) -> object:
    if isinstance(value, Mapping):
        return {text_of(name): plain_of(one, decimal) for name, one in value.items()}
    if isinstance(value, set | frozenset):
        # A set has no order of its own, and each try of a task must send the same.
        return sorted((plain_of(one, decimal) for one in value), key=_encode)
    # Arrow's intervals of months are tuples whose parts a reader would not understand.
    if isinstance(value, list | tuple) and type(value).__name__ != "MonthDayNano":
        return [plain_of(one, decimal) for one in value]
    raise NoTextError(f"a value of type {type(value).__name__}")


def _decoded(value: bytes | bytearray | memoryview) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as error:
        raise NoTextError(f"bytes that are not UTF-8, at byte {error.start + 1}") from None
    except (BufferError, ValueError, TypeError) as error:
        raise NoTextError(f"bytes that cannot be read ({type(error).__name__})") from None


def _number(value: object, decimal: Callable[[Decimal], object]) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _whole(int(value))
    if isinstance(value, float):
        value = float(value)
        if not math.isfinite(value):
            raise NoTextError("an infinite number")
        return _digits(Decimal(shown)) if decimal is _digits and "e" in (shown := repr(value)) else value
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise NoTextError("an infinite number")
        return decimal(value)
    raise NoTextError(f"a value of type {type(value).__name__}")


def _whole(value: int) -> int:
    try:
        str(value)
    except ValueError:
        raise NoTextError("a whole number of more than 4,300 digits") from None
    return value


def _digits(value: Decimal) -> object:
    """All digits of a number and no exponent, as JSON."""
    if value.adjusted() > 4_300 or value.as_tuple().exponent < -4_300:  # type: ignore[operator]
        raise NoTextError("a number of more than 4,300 digits")
    return msgspec.Raw(format(value, "f").encode())


def _duration(value: timedelta) -> str:
    """ISO 8601, such as ``P1DT2H0.5S``. Exact to the nanosecond where the value is."""
    micros = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
    nanos: int | None = getattr(value, "nanoseconds", None)
    return _iso(micros * 1_000 + (nanos or 0))


def _iso(nanos: int) -> str:
    sign, left = ("-", -nanos) if nanos < 0 else ("", nanos)
    seconds, fraction = divmod(left, 1_000_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    exact = f"{seconds}.{fraction:09d}".rstrip("0") if fraction else str(seconds)
    parts = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M")) if n)
    parts += f"{exact}S" if seconds or fraction else ""
    whole = f"{days}D" if days else ""
    return f"{sign}P{whole}{f'T{parts}' if parts else ''}" if whole or parts else "PT0S"


_LIBRARIES = frozenset({"numpy", "pandas", "polars", "pyarrow"})


def _of_python(value: Any) -> object:
    """A value of a library for data frames as one of Python's own. Its kind is told by its name."""
    library, kind = type(value).__module__.partition(".")[0], type(value).__name__
    if library == "numpy":
        return _of_numpy(value)
    if hasattr(value, "as_py"):
        return value.as_py()
    if kind in ("Series", "Index", "DatetimeIndex", "Array", "ChunkedArray"):
        return list(value)
    if isinstance(value, datetime | timedelta):
        return value
    raise NoTextError(f"a value of type {kind}")


def _of_numpy(value: object) -> object:
    import numpy

    if isinstance(value, numpy.ndarray):
        return value[()] if value.ndim == 0 else list(value)
    if isinstance(value, numpy.datetime64):
        return str(value)
    if isinstance(value, numpy.timedelta64):
        if numpy.datetime_data(value.dtype)[0] in ("Y", "M", "generic"):
            raise NoTextError("a duration of years, months or no unit")
        return _iso(int(value.astype("timedelta64[ns]").astype("int64")))
    if isinstance(value, numpy.void) and value.dtype.names:
        return {name: value[name] for name in value.dtype.names}
    if isinstance(value, numpy.bool_ | numpy.integer):
        return value.item()
    if isinstance(value, numpy.floating) and not isinstance(value, float):
        # A short number has fewer digits than the same one in 64 bits.
        return float(numpy.format_float_positional(value, unique=True))
    return value.tobytes() if isinstance(value, numpy.void) else value


def is_single(value: object) -> bool:
    """One thing, no list, object or array of them."""
    is_array = type(value).__module__.partition(".")[0] in _LIBRARIES and bool(getattr(value, "ndim", False))
    return not is_array and not isinstance(value, Mapping | list | tuple | set | frozenset)


def items_of(value: object) -> Iterable[object]:
    """The values in a column that may hold several: of a list, or the one that it is."""
    if type(value).__module__.partition(".")[0] in _LIBRARIES and not isinstance(value, str):
        value = _of_python(value)
    return value if isinstance(value, list | tuple) else [value]
