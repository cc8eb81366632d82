"""Waiting for Airflow, which may be slow: long, and never silent."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

LONGEST_S = 1800.0
"""No wait for one thing is longer, seconds. A quick machine needs a few; one with a load of 20, some minutes."""

TELL_S = 30.0
"""So often a wait says what it is for, seconds."""


def wait_for(
    what: str,
    ask: Callable[[], T | None],
    *,
    logs: Path,
    longest_s: float = LONGEST_S,
    tell_s: float = TELL_S,
    pause_s: float = 0.5,
) -> T:
    """Ask until there is an answer, and return it. Now and then a line says what is waited for.

    :param what: What is waited for, to come after "waiting for".
    :param ask: None means: not yet.
    :param logs: Where to look, should it never come.
    :raises SystemExit: It did not come in time. The text says what, and where the logs are.
    """
    began = told = time.monotonic()
    while (answer := ask()) is None:
        now = time.monotonic()
        if now - began >= longest_s:
            raise SystemExit(f"\nGave up waiting for {what} after {now - began:.0f} s. Logs: {logs}")
        if now - told >= tell_s:
            told = now
            print(f"  {now - began:5.0f} s  still waiting for {what}", flush=True)
        time.sleep(pause_s)
    return answer
