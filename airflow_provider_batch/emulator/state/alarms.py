"""Waiting for times on the emulator's clock, which tests move forward."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from airflow_provider_batch.emulator.state.clock import Clock


class Alarms:
    """Wakes the earliest first, also when the clock jumps over many times at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def until(self, at: float) -> None:
        """Wait.

        :param at: a time on the emulator's clock. One that has passed costs no wait.
        """
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (at, next(self._numbers), woken))
        self.clock_moved()
        await woken

    def waiting(self) -> int:
        """Return how many wait."""
        return sum(not woken.done() for _, _, woken in self._waiting)

    def clock_moved(self) -> None:
        """Wake all calls whose time has come, and look again at the next time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock.now()
        while self._waiting and self._waiting[0][0] <= now:
            woken = heapq.heappop(self._waiting)[2]
            if not woken.done():
                woken.set_result(None)
        if self._waiting:
            pause_s = self._clock.real_seconds(self._waiting[0][0] - now)
            self._timer = asyncio.get_running_loop().call_later(pause_s, self.clock_moved)
