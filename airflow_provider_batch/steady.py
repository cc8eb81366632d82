"""A clock that no one sets."""

from __future__ import annotations

import time


def steady_s() -> float:
    """Seconds that only go forward, and count while the machine is suspended, where the system can tell."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
