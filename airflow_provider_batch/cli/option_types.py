"""What options may be, for argparse. Imports nothing heavy, as the parsers do."""

from __future__ import annotations

import argparse
import math


def whole(text: str) -> int:
    """A whole number from 0, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def above_zero(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not whole(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def tiers(text: str) -> tuple[str, ...]:
    """Service tiers in the order in which they are used, for argparse."""
    names = tuple(name.strip() for name in text.split(","))
    if len(set(names)) < len(names) or not set(names) <= {"flex", "standard"}:
        raise argparse.ArgumentTypeError(f"{text!r} is not flex, standard or flex,standard")
    return names


def seconds(text: str) -> float:
    """A number of seconds above 0, for argparse."""
    value = _finite(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def hours(text: str) -> float:
    """A number of hours from 0, for argparse."""
    return _from_zero(text, "hours")


def days(text: str) -> float:
    """A number of days from 0, for argparse."""
    return _from_zero(text, "days")


def _from_zero(text: str, what: str) -> float:
    value = _finite(text)
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of {what} from 0")
    return value


def _finite(text: str) -> float:
    """A finite number, or NaN, which is neither above nor below anything."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
