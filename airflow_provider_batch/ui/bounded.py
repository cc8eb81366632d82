"""Slow things for many viewers: done once, in few threads, remembered for a moment, not waited for long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

T = TypeVar("T")

MOST_REMEMBERED = 200


class TookTooLongError(Exception):
    """It is not there yet. It is still being worked on, so the next one who asks may find it."""


class Bounded:
    """Answers that are worked out by few threads.

    :param threads: How many work at a time.
    :param keep_s: For how long an answer holds, seconds; a failure, too.
    :param patience_s: How long one viewer waits, seconds.
    """

    def __init__(self, threads: int, keep_s: float, patience_s: float) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="gemini-batches")
        self._keep_s = keep_s
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._known: dict[Hashable, tuple[float, Future[Any]]] = {}

    def get(self, key: Hashable, work: Callable[[], T]) -> T:
        """The answer, or what went wrong.

        :raises TookTooLongError: Not within the patience.
        """
        with self._lock:
            known = self._known.pop(key, None)
            if known is None or (known[1].done() and time.monotonic() > known[0]):
                known = time.monotonic() + self._keep_s, self._threads.submit(work)
            self._known[key] = known
            while len(self._known) > MOST_REMEMBERED:
                del self._known[next(iter(self._known))]
        try:
            answer: T = known[1].result(self._patience_s)
        except FutureTimeoutError:
            if known[1].done():
                raise
            raise TookTooLongError from None
        return answer

    def forget(self, key: Hashable) -> None:
        """Work it out anew the next time."""
        with self._lock:
            self._known.pop(key, None)
