"""Writes down what a visit's calls bring, every few seconds, and keeps the lease of their shard alive."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping

import msgspec

from airflow_provider_batch.batch.decide.call_rules import Keeping
from airflow_provider_batch.batch.live.notes import News, NoteWriter, Window
from airflow_provider_batch.batch.live.purse import usd_of
from airflow_provider_batch.batch.live.totals import added, of_row
from airflow_provider_batch.contract_calls import RowAnswer, Tier
from airflow_provider_batch.errors import BatchError
from airflow_provider_batch.rows.dialect import RowDialect
from airflow_provider_batch.rows.money import Price
from airflow_provider_batch.steady import steady_s

SAFE_SHARE = 5 / 6
"""Of its lease, after which a visit begins no more calls."""

LOOK_S = 0.1
"""Between looks whether a note is due, seconds."""

DEAR_CALLS = 20
"""Where money is limited, a note leaves room for so many of the dearest calls. Then the next note is due."""

WRITE_WAITS_S = (1.0, 3.0, 6.0, 10.0)
"""Seconds between tries to write a note."""

GIVEN_UP = 4
"""google.rpc code DEADLINE_EXCEEDED."""


class Scribe:
    """The book of one visit to a shard.

    :param look: Says whether the calls are wanted on, every minute. Raises :class:`SupersededError` if another try
        of the task has taken over.
    :param window_rows: Calls that may be begun and not noted, at most.
    :param is_limited: Money is limited, so notes bound it too.
    :ivar is_superseded: Another visit has the lease. Nothing more may be called.
    :ivar is_unwanted: A person has ended the batch.
    :ivar leased_at: When the lease was last renewed, by the steady clock.
    """

    def __init__(
        self,
        writer: NoteWriter,
        dialect: RowDialect,
        price: Price | None,
        look: Callable[[], bool],
        keeping: Keeping,
        *,
        long_prompt_tokens: int,
        window_rows: int,
        is_limited: bool,
    ) -> None:
        self._writer = writer
        self._dialect = dialect
        self._price = price
        self._look = look
        self._long = long_prompt_tokens
        self._window = window_rows
        self._keeping = keeping
        self._is_limited = is_limited
        self._fresh, self._in_writing = News(), News()
        self._under_way = 0
        self._under_way_usd = 0.0
        self._dearest_usd = 0.0
        self._allowed_usd = 0.0
        self._noted_at = self._looked_at = self.leased_at = steady_s()
        self._is_due = False
        self._lock = threading.Lock()
        self.is_superseded = False
        self.is_unwanted = False

    def take_lease(self) -> bool:
        """Lease the shard. False if another visit was quicker."""
        self.leased_at = steady_s()
        return self._writer.take(Window(self._window))

    @property
    def is_leased(self) -> bool:
        """The lease holds for a while yet."""
        return not self.is_superseded and steady_s() - self.leased_at < SAFE_SHARE * self._keeping.lease_s

    def admits(self, most_usd: float | None) -> bool:
        """One more call may be begun before the next note."""
        self._dearest_usd = max(self._dearest_usd, most_usd or 0.0)
        is_admitted = self._open_calls < self._window and (
            not self._is_limited or self._open_usd + (most_usd or 0.0) <= self._allowed_usd
        )
        self._is_due = self._is_due or not is_admitted
        return is_admitted

    def begin(self, most_usd: float | None) -> None:
        """A call leaves."""
        self._under_way += 1
        self._under_way_usd += most_usd or 0.0

    def take(self, answer: RowAnswer, most_usd: float | None) -> float | None:
        """A row was answered.

        :return: What it cost, USD. None where that is not known.
        """
        row = self._dialect.read_result(answer.line)
        totals = of_row(row, answer.tier, is_tier_said=answer.is_tier_said, long_prompt_tokens=self._long)
        self._end(most_usd)
        self._fresh.lines.append(answer.line)
        self._fresh.billed = added(self._fresh.billed, [totals])
        if totals.unmetered:
            # It is billed, and the bill is not known.
            self._fresh.lost_usd += most_usd or 0.0
            return None
        return usd_of(totals, self._price)

    def lose(self, most_usd: float | None) -> None:
        """A call may be billed, and its answer will not come."""
        self._end(most_usd)
        self._fresh.lost += 1
        self._fresh.lost_usd += most_usd or 0.0

    def forget(self, most_usd: float | None) -> None:
        """A call was refused. Nothing is billed."""
        self._under_way -= 1
        self._under_way_usd -= most_usd or 0.0

    def give_up(self, key: str, why: str) -> None:
        """A row is left as it is."""
        self._fresh.lines.append(msgspec.json.encode({"key": key, "error": {"code": GIVEN_UP, "message": why}}))

    def hurry(self) -> None:
        """Note what is new at once."""
        self._is_due = True

    async def keep_noting(self) -> None:
        """Note what is new when it is time, for as long as the calls go on.

        :raises BatchError: A note cannot be written, or another try has taken over.
        """
        while not self.is_superseded:
            if steady_s() - self._looked_at >= self._keeping.lease_s / 3:
                self._looked_at = steady_s()
                self.is_unwanted = not await asyncio.to_thread(self._look)
            if self._is_time():
                self._collect()
                await asyncio.to_thread(self._note_alone)
            await asyncio.sleep(LOOK_S)

    def close(self, refusals: Mapping[Tier, int]) -> None:
        """Note what is left, and give the lease back."""
        with self._lock:
            self._collect()
            self._note(refusals, gives_back=True)

    def _note_alone(self) -> None:
        """Write a note in a thread. The end of the visit waits for it."""
        with self._lock:
            self._note()

    @property
    def _open_calls(self) -> int:
        """Calls that no note tells of."""
        return self._under_way + self._fresh.calls + self._in_writing.calls

    @property
    def _open_usd(self) -> float:
        return self._under_way_usd + self._fresh.most_usd + self._in_writing.most_usd

    def _end(self, most_usd: float | None) -> None:
        self.forget(most_usd)
        self._fresh.calls += 1
        self._fresh.most_usd += most_usd or 0.0

    def _is_time(self) -> bool:
        since_s = steady_s() - self._noted_at
        keeping, news = self._keeping, self._fresh
        is_time = since_s >= (keeping.note_s if news.calls else keeping.lease_s / 3)
        return self._is_due or is_time or len(news.lines) >= keeping.note_rows

    def _collect(self) -> None:
        """What is new becomes what is written. Not while a note is being written."""
        self._in_writing.add(self._fresh)
        self._fresh = News()
        self._is_due = False

    def _note(self, refusals: Mapping[Tier, int] | None = None, *, gives_back: bool = False) -> None:
        """Write what was collected. What could not be written is in the next note: it is paid for."""
        for wait_s in (*WRITE_WAITS_S[: 1 if gives_back else None], None):
            try:
                self._write(refusals, gives_back=gives_back)
            except BatchError:
                if wait_s is None:
                    raise
                time.sleep(wait_s)
            else:
                self._in_writing = News()
                return

    def _write(self, refusals: Mapping[Tier, int] | None, *, gives_back: bool) -> None:
        began = steady_s()
        allowed_usd = self._open_usd + DEAR_CALLS * self._dearest_usd if self._is_limited else 0.0
        window = Window() if gives_back else Window(self._window, allowed_usd)
        is_ours = self._writer.write(self._in_writing, window, refusals, gives_back=gives_back)
        self._allowed_usd = allowed_usd
        self._noted_at = self.leased_at = began
        self.is_superseded = self.is_superseded or not is_ours
