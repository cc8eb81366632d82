"""Prices of models by day, from ``prices.json`` or a file of the user's in the same form.

The figures are copied from price lists, not from bills. Standard prices are as of the file's date. Batch prices
are as the entry's ``batch_known_by`` says. There *halved* is arithmetic: by the API's documentation, half the
price. Promotions end on known days, so an entry may have ``from`` and ``until``. Sources conflict on cached tokens
in batch mode. The higher figure, the standard one, is taken. Models with image output are left out, as their price
depends on what they draw. A model that is not in the file has no price, which is never 0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.money import Price, Rates

FILE = Path(__file__).with_name("prices.json")


Entry = Mapping[str, Any]
"""A price as the file has it. What it says is checked when the file is read."""


@dataclass(frozen=True)
class PriceTable:
    """Prices by model and day."""

    entries: tuple[Entry, ...]

    @classmethod
    def read(cls, text: str, name: str) -> PriceTable:
        """Read and check a price file.

        :raises ConfigError: It cannot be used. Names the entry.
        """
        try:
            entries = json.loads(text)["models"]
        except (ValueError, KeyError, TypeError) as error:
            raise _unusable(
                name, f"it is not a JSON object with a list of models ({type(error).__name__})"
            ) from None
        for number, entry in enumerate(entries, 1):
            try:
                _price(entry)
                _days(entry)
                str(entry["model"])
            except (KeyError, TypeError, ValueError, AttributeError, InvalidOperation) as error:
                raise _unusable(name, f"entry {number} is wrong ({type(error).__name__}: {error})") from None
        return cls(tuple(entries))

    @classmethod
    def shipped(cls) -> PriceTable:
        """The file of this package."""
        return cls.read(FILE.read_text(encoding="utf-8"), FILE.name)

    def price(self, model: str, day: date) -> Price | None:
        """What a model costs on a day, None if that is not known."""
        wanted = model.removeprefix("models/")
        for entry in self.entries:
            first, last = _days(entry)
            if entry["model"] == wanted and first <= day <= last:
                return _price(entry)
        return None


def _days(entry: Entry) -> tuple[date, date]:
    first, last = entry.get("from"), entry.get("until")
    return date.fromisoformat(first) if first else date.min, date.fromisoformat(last) if last else date.max


def _price(entry: Entry) -> Price:
    batch, standard = _pair(entry)
    if "over_200k" not in entry:
        return Price(batch, standard)
    return Price(batch, standard, *_pair(entry["over_200k"]))


def _pair(entry: Entry) -> tuple[Rates, Rates]:
    standard = _rates(entry["standard"])
    return _rates({"cached": str(standard.cached), **entry["batch"]}), standard


def _rates(given: Entry) -> Rates:
    values = {name: Decimal(str(given[name])) for name in ("input", "cached", "output")}
    audio = Decimal(str(given["audio"])) if "audio" in given else None
    if any(not value.is_finite() or value < 0 for value in (*values.values(), audio or Decimal(0))):
        raise ValueError("a price below 0 or not a number")
    return Rates(**values, audio=audio)


def _unusable(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"The price file {name} cannot be used: {why}.",
        code="AGB-C09",
        remedy="Nothing was sent. Correct the file. The package's own prices.json shows the form.",
    )
