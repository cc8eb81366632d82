"""What tokens cost. Pure: counts and prices in, USD out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from airflow_provider_batch.rows.dialect import Usage

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class Rates:
    """USD for 1,000,000 tokens.

    :param cached: Prompt tokens that came from a context cache.
    :param output: Answer and thinking tokens.
    :param audio: Prompt tokens of audio, None where the price list has none.
    """

    input: Decimal
    cached: Decimal
    output: Decimal
    audio: Decimal | None = None

    def usd(self, usage: Usage) -> Decimal | None:
        """The cost of tokens. None if there are some that have no price."""
        if usage.audio and self.audio is None:
            return None
        plain = usage.input - usage.cached - usage.audio
        parts = (
            max(plain, 0) * self.input,
            usage.cached * self.cached,
            usage.audio * (self.audio or Decimal(0)),
            (usage.output + usage.thinking) * self.output,
        )
        return sum(parts, Decimal(0)) / _MILLION


@dataclass(frozen=True)
class Price:
    """What a model costs on a day.

    :param batch: In batch mode.
    :param standard: In single calls.
    :param long_batch: For rows with a prompt that the vendor calls long, None = the same.
    :param long_standard: The same in single calls.
    """

    batch: Rates
    standard: Rates
    long_batch: Rates | None = None
    long_standard: Rates | None = None

    def batch_usd(self, usage: Usage, of_long: Usage) -> Decimal | None:
        """The cost in batch mode.

        :param usage: Tokens of all rows.
        :param of_long: Those of them that are of rows with long prompts.
        """
        return _sum(self.batch, self.long_batch, usage, of_long)

    def standard_usd(self, usage: Usage, of_long: Usage) -> Decimal | None:
        """What single calls would have cost."""
        return _sum(self.standard, self.long_standard, usage, of_long)


def _sum(rates: Rates, long: Rates | None, usage: Usage, of_long: Usage) -> Decimal | None:
    if long is None:
        return rates.usd(usage)
    usual, more = rates.usd(usage - of_long), long.usd(of_long)
    return None if usual is None or more is None else usual + more
