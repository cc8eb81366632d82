"""The server's clock, as the Date header of its answers tells it.

Deadlines and expiries are the server's; a worker whose clock is ten minutes off must not see them early.
"""

from __future__ import annotations

import logging
import time
from email.utils import parsedate_to_datetime

log = logging.getLogger(__name__)

IGNORED_SKEW_S = 2.0
"""The header counts whole seconds and travels for a while: smaller differences mean nothing."""

TOLD_SKEW_S = 60.0
"""A difference that somebody should look into, seconds."""


class ServerClock:
    """Local time, corrected by what the last answer said."""

    def __init__(self) -> None:
        self._skew_s = 0.0
        self._told = False

    def note(self, date_header: str | None) -> None:
        """Take the ``Date`` header of an answer; one that cannot be read changes nothing."""
        try:
            server = parsedate_to_datetime(date_header or "").timestamp()
        except (TypeError, ValueError):
            return
        skew = server - time.time()
        self._skew_s = skew if abs(skew) > IGNORED_SKEW_S else 0.0
        if abs(skew) > TOLD_SKEW_S and not self._told:
            self._told = True
            log.warning("This machine's clock is %.0f s off the API's; the API's is used.", -skew)

    def now(self) -> float:
        """Unix time, seconds, by the server's clock; by the local one before the first answer."""
        return time.time() + self._skew_s
