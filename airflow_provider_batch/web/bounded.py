"""Slow things for many viewers: done once, in few threads, remembered for a moment, not waited for long."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MOST_REMEMBERED = 200


class TookTooLongError(Exception):
    """It is not there yet. It is still being worked on, so the next one who asks may find it."""


class PendingAnswer(Generic[T]):
    """An answer that is there or is being worked out."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._future: Future[T] = Future()
        self.ended_at = math.inf

    def work_out(self) -> None:
        """Do what there is to do, in the thread that calls this."""
        try:
            found = self._work()
        except BaseException as error:  # noqa: BLE001
            # All who wait are told.
            self.ended_at = time.monotonic()
            self._future.set_exception(error)
        else:
            self.ended_at = time.monotonic()
            self._future.set_result(found)

    def wait(self, until: float) -> T:
        """The answer, or what went wrong.

        :param until: By the clock of :func:`time.monotonic`.
        :raises TookTooLongError: Not by then.
        """
        try:
            return self._future.result(max(0.0, until - time.monotonic()))
        except FutureTimeoutError:
            if self._future.done():
                raise
            raise TookTooLongError from None


class Bounded:
    """Answers that are worked out by few threads. They keep no process from ending.

    :param threads: How many work at a time.
    :param keep_s: For how long an answer holds once it is there, seconds. A failure holds as long.
    :param patience_s: How long one viewer waits, seconds.
    :param each: Answers that are worked out for one reader at a time. The others' threads stay free.
    """

    def __init__(self, threads: int, keep_s: float, patience_s: float, each: int = 1) -> None:
        self._threads = threads
        self._keep_s = keep_s
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._known: dict[Hashable, PendingAnswer[Any]] = {}
        self._todo: queue.SimpleQueue[PendingAnswer[Any]] = queue.SimpleQueue()
        self._started = 0
        self._each = each
        self._readers: Counter[str] = Counter()

    def get(self, key: Hashable, work: Callable[[], T], reader: str = "") -> T:
        """The answer, or what went wrong.

        :param reader: Who asks. Empty = no reader in particular.
        :raises TookTooLongError: Not within the patience, or enough is worked out for the reader already.
        """
        return self.begin(key, work, reader).wait(self.patience())

    def patience(self) -> float:
        """Until when a reader waits who asks now, for any number of answers."""
        return time.monotonic() + self._patience_s

    def begin(self, key: Hashable, work: Callable[[], T], reader: str = "") -> PendingAnswer[T]:
        """Have it worked out if it is not known. Waits for nothing."""
        with self._lock:
            known = self._known.pop(key, None)
            if known is None or time.monotonic() > known.ended_at + self._keep_s:
                if reader and self._readers[reader] >= self._each:
                    raise TookTooLongError
                known = PendingAnswer(self._counted(work, reader) if reader else work)
                self._hand_out(known)
            self._known[key] = known
            for other in [key for key, answer in self._known.items() if answer.ended_at < math.inf]:
                if len(self._known) <= MOST_REMEMBERED:
                    break
                del self._known[other]
            return known

    def _counted(self, work: Callable[[], T], reader: str) -> Callable[[], T]:
        self._readers[reader] += 1

        def counted() -> T:
            try:
                return work()
            finally:
                with self._lock:
                    self._readers[reader] -= 1
                    self._readers += Counter()

        return counted

    def forget(self, key: Hashable) -> None:
        """Work it out anew the next time."""
        with self._lock:
            self._known.pop(key, None)

    def _hand_out(self, answer: PendingAnswer[Any]) -> None:
        self._todo.put(answer)
        if self._started < self._threads:
            self._started += 1
            # Those of a ThreadPoolExecutor would be waited for when the API server ends, also if they hang.
            threading.Thread(target=self._labour, name="gemini-batches", daemon=True).start()

    def _labour(self) -> None:
        while True:
            self._todo.get().work_out()
