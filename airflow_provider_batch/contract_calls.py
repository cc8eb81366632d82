"""What a vendor must offer for single calls, one row each: the other half of :mod:`contract`.

Outcomes are types of their own. A refusal is not billed, and a lost answer may be.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from airflow_provider_batch.errors import BatchError


class Tier(str, enum.Enum):
    """How soon a single call is answered, and at which price."""

    FLEX = "flex"
    """In minutes, at the price of batch mode, as long as the vendor has capacity."""
    STANDARD = "standard"
    """In seconds to minutes, at the list price."""

    def __str__(self) -> str:
        """The word alone."""
        return self.value


@dataclass(frozen=True)
class RowAnswer:
    """A row was answered, with a response or with an error of its own.

    :param line: As in the results of a job: the key, and the response or the error.
    :param tier: That served the row, and so decides its price.
    :param is_tier_said: The vendor named that tier. Else it is the one that was asked for.
    """

    line: bytes
    tier: Tier
    is_tier_said: bool = True


@dataclass(frozen=True)
class NoCapacity:
    """The vendor does not serve this tier now. Nothing is billed.

    :param wait_s: The vendor's hint, seconds, None if it gave none.
    """

    error: BatchError
    wait_s: float | None = None


@dataclass(frozen=True)
class TooManyCalls:
    """A limit of the project on calls or tokens is reached. Nothing is billed.

    :param wait_s: The vendor's hint, seconds, None if it gave none.
    """

    error: BatchError
    wait_s: float | None = None


@dataclass(frozen=True)
class LostCall:
    """No answer came.

    :param may_be_billed: The request may have left this machine.
    """

    error: BatchError
    may_be_billed: bool = True


CallOutcome = RowAnswer | NoCapacity | TooManyCalls | LostCall


class CallingService(Protocol):
    """Single calls: asynchronous, and every answer costs money. Called in tasks only."""

    async def answer(self, model: str, key: str, line: bytes, tier: Tier, timeout_s: float) -> CallOutcome:
        """Have one row answered, with exactly one request on the wire.

        :param line: The checked row, as it stands in a batch.
        :param timeout_s: After which the vendor is to give up.
        :raises ConfigError: The model is not served in this tier.
        :raises BatchError: What no other row would fare better with, such as a refused credential.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
