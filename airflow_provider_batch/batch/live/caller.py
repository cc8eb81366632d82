"""Calls for the rows of one shard: as many at a time as may be, noted as they are answered.

One visit has the lease of the shard (:mod:`notes`). Calls leave at the pace of the credential (:mod:`pace`), in
the tier that has capacity (:mod:`capacity`), and only within the limit on the cost (:mod:`purse`). Whatever ends
the visit, what is answered by then is noted, the end of the process by a signal included.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from airflow_provider_batch.batch.decide.call_rules import CALL_S, CallRules
from airflow_provider_batch.batch.live.capacity import Capacity
from airflow_provider_batch.batch.live.pace import Pace
from airflow_provider_batch.batch.live.purse import Purse
from airflow_provider_batch.batch.live.scribe import Scribe
from airflow_provider_batch.contract_calls import (
    CallingService,
    LostCall,
    NoCapacity,
    RowAnswer,
    Tier,
    TooManyCalls,
)
from airflow_provider_batch.errors import BatchError

log = logging.getLogger(__name__)

LONG_WAIT_S = 60.0
"""A longer wait is not waited here: the task is deferred and holds no worker slot. Seconds."""

MAX_LOST = 3
"""Calls for one row whose answers are lost, before the row is left as it is."""

IDLE_S = 1.0
"""Between looks at what may leave, while nothing may, seconds."""

SOON_S = 0.05
"""The same where it is a matter of a moment."""


class Row(NamedTuple):
    """A row to be called.

    :param line: As it stands in a batch.
    :param tokens: Of its input, roughly.
    :param most_usd: By tier, what one call costs at most. None = not known.
    """

    key: str
    line: bytes
    tokens: int
    most_usd: Callable[[Tier], float | None]
    lost: int = 0


class End(enum.Enum):
    """Why a visit stopped calling."""

    ALL_ANSWERED = "all rows are answered"
    TIME_UP = "the time was up"
    UNAFFORDABLE = "max_cost_usd would be exceeded"
    PAUSE = "the rows have to wait"
    UNWANTED = "the batch was asked to end"
    STOPPED = "the task is stopped"
    LEASE_LOST = "another worker goes on with them"


@dataclass(frozen=True)
class Called:
    """What a visit came to.

    :param until: Unix time, by the vendor's clock, at which a pause is over.
    :param cause: Of a pause, in words.
    """

    end: End
    until: float | None = None
    cause: str = ""

    @property
    def why(self) -> str:
        """Why no more is called, in words."""
        return self.cause or self.end.value


@dataclass
class Caller:
    """One visit's calls.

    :param rows: Those without an answer, in their order.
    :param rows_left: How many they are.
    :param is_stopped: The process is about to be ended.
    :param clock: Unix time, by the vendor's clock.
    :param ends_at: Unix time, by the vendor's clock, after which nothing is called.
    """

    model: str
    scribe: Scribe
    pace: Pace
    purse: Purse
    capacity: Capacity
    rules: CallRules
    ends_at: float
    clock: Callable[[], float]
    rows_left: int
    is_stopped: Callable[[], bool] = lambda: False
    rows: Iterator[Row] = field(default_factory=lambda: iter(()))
    _waiting: deque[Row] = field(default_factory=deque)
    _under_way: dict[asyncio.Task[None], float | None] = field(default_factory=dict)

    async def run(self, service: CallingService) -> Called:
        """Call until all rows are answered, or no more may be.

        :raises BatchError: What no row would fare better with. Answers that came before are noted.
        """
        self._service = service
        notes = asyncio.create_task(self.scribe.keep_noting())
        try:
            try:
                return await self._call_all(notes)
            except asyncio.CancelledError:
                log.warning("Stopping: the answers to %d calls under way are waited for.", len(self._under_way))
                raise
            finally:
                # They are paid for. Only the end of the process does not wait for them.
                await self._settle()
        finally:
            notes.cancel()
            for task, most_usd in self._under_way.items():
                task.cancel()
                self.scribe.lose(most_usd)
            self.scribe.close(self.capacity.refusals)

    async def _settle(self) -> None:
        """Wait for what is under way. An error of one is that of all, and was raised."""
        while open_calls := [task for task in self._under_way if not task.done()]:
            await asyncio.wait(open_calls)
        for task in [task for task in self._under_way if not task.cancelled()]:
            self._under_way.pop(task)
            task.exception()

    async def _call_all(self, notes: asyncio.Task[None]) -> Called:
        while True:
            if notes.done():
                notes.result()
            row = self._next()
            if row is not None:
                end = await self._lead(row)
            elif self._under_way:
                end = self._end()
                await self._wait(IDLE_S)
            else:
                end = Called(End.ALL_ANSWERED)
            if end is not None:
                return end

    def _next(self) -> Row | None:
        return self._waiting.popleft() if self._waiting else next(self.rows, None)

    def _end(self) -> Called | None:
        """Why nothing more may be called, if so."""
        if self.scribe.is_superseded:
            return Called(End.LEASE_LOST)
        if self.scribe.is_unwanted:
            return Called(End.UNWANTED)
        if self.is_stopped():
            log.warning("Stopping: the answers to %d calls under way are waited for.", len(self._under_way))
            # There may be little time left. What has come is noted before what may come.
            self.scribe.hurry()
            return Called(End.STOPPED)
        return Called(End.TIME_UP) if self.clock() >= self.ends_at else None

    async def _lead(self, row: Row) -> Called | None:
        """Call for a row as soon as it may be. Or say why the calls end here, and leave the row as it is."""
        while (end := self._end()) is None:
            now = self.clock()
            tier = self.capacity.tier(now, self.rows_left)
            if tier is None:
                end = await self._pause(self.capacity.opens_at(now) - now, "the API does not take calls now")
            elif not self.purse.admits(most_usd := row.most_usd(tier)):
                end = None if self._under_way else Called(End.UNAFFORDABLE)
                await self._wait(IDLE_S)
            elif len(self._under_way) >= self.rules.concurrency or not self.scribe.admits(most_usd):
                await self._wait(SOON_S)
            elif (wait_s := self.pace.wait_s()) > LONG_WAIT_S:
                end = await self._pause(wait_s, "the limit on calls or tokens a minute is reached")
            else:
                await asyncio.sleep(self.pace.reserve(row.tokens))
                # The machine may have been suspended meanwhile.
                if self.scribe.is_leased:
                    self._begin(row, tier, most_usd)
                    return None
                await self._wait(SOON_S)
            if end is not None:
                return end
        return end

    async def _pause(self, left_s: float, cause: str) -> Called | None:
        """Wait a little. Or end the visit, if it would be long and nothing is under way."""
        if left_s > LONG_WAIT_S and not self._under_way:
            return Called(End.PAUSE, self.clock() + left_s, cause)
        await self._wait(max(SOON_S, min(left_s, IDLE_S)))
        return None

    async def _wait(self, seconds: float) -> None:
        """Wait until a call has ended, or so many seconds.

        :raises BatchError: What a call has raised.
        """
        if not self._under_way:
            await asyncio.sleep(seconds)
            return
        done, _ = await asyncio.wait(self._under_way, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            self._under_way.pop(task)
            task.result()

    def _begin(self, row: Row, tier: Tier, most_usd: float | None) -> None:
        self.purse.reserve(most_usd)
        self.scribe.begin(most_usd)
        self._under_way[asyncio.create_task(self._call(row, tier, most_usd))] = most_usd

    async def _call(self, row: Row, tier: Tier, most_usd: float | None) -> None:
        began = self.clock()
        timeout_s = min(CALL_S[tier], max(1.0, self.ends_at - began))
        try:
            outcome = await self._service.answer(self.model, row.key, row.line, tier, timeout_s)
        except BatchError:
            self.purse.settle(most_usd, 0.0)
            self.scribe.forget(most_usd)
            raise
        if isinstance(outcome, RowAnswer):
            self.capacity.answer(tier)
            self.purse.settle(most_usd, self.scribe.take(outcome, most_usd))
            self.rows_left -= 1
        elif isinstance(outcome, LostCall) and outcome.may_be_billed:
            self.purse.settle(most_usd, None)
            self.scribe.lose(most_usd)
            self._lost(row, outcome)
        else:
            self.purse.settle(most_usd, 0.0)
            self.scribe.forget(most_usd)
            self._refused(outcome, tier, began)
            self._waiting.append(row)

    def _lost(self, row: Row, outcome: LostCall) -> None:
        log.warning("The answer to %s is lost and may be billed: %s", row.key, outcome.error)
        if row.lost + 1 < MAX_LOST:
            self._waiting.append(row._replace(lost=row.lost + 1))
        else:
            self.rows_left -= 1
            self.scribe.give_up(row.key, f"no answer came to {MAX_LOST} calls, and each may be billed")

    def _refused(self, outcome: NoCapacity | TooManyCalls | LostCall, tier: Tier, began: float) -> None:
        now = self.clock()
        if isinstance(outcome, NoCapacity):
            self.capacity.refuse(tier, began, now, outcome.wait_s)
            log.info("%s has no capacity for %s calls now: %s", self.model, tier, outcome.error)
        elif isinstance(outcome, TooManyCalls):
            self.pace.refuse(outcome.wait_s)
            log.info("The limit on calls is reached, so they leave more slowly: %s", outcome.error)
        else:
            self.capacity.unreachable(began, now)
            log.info("A call did not leave this machine: %s", outcome.error)
