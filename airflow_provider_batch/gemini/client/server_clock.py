"""The server's clock, as the Date header of its answers tells it.

Deadlines and expiries are the server's. A worker whose clock is hours off must not see them early. Between two
answers the time since the last one is measured. So a clock that is set meanwhile changes nothing.
"""

from __future__ import annotations

import logging
import time
from email.utils import parsedate_to_datetime

from airflow_provider_batch.steady import steady_s

log = logging.getLogger(__name__)

IGNORED_SKEW_S = 2.0
"""The header counts whole seconds and travels for a while: smaller differences mean nothing."""

TOLD_SKEW_S = 60.0
"""A difference that a person should look into, seconds."""


class ServerClock:
    """The time of the last answer, and what has gone by since.

    :ivar is_set: An answer has said what time it is.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._offset_s = 0.0
        self._told = False

    def note(self, date_header: str | None) -> None:
        """Take the ``Date`` header of an answer. One that cannot be read changes nothing."""
        try:
            server = parsedate_to_datetime(date_header or "").timestamp()
        except (TypeError, ValueError):
            return
        skew = server - time.time()
        self.is_set = True
        self._offset_s = (server if abs(skew) > IGNORED_SKEW_S else time.time()) - steady_s()
        if abs(skew) > TOLD_SKEW_S and not self._told:
            self._told = True
            log.warning("This machine's clock is %.0f s off the API's; the API's is used.", -skew)

    def now(self) -> float:
        """Unix time, seconds, by the server's clock. By the local one before the first answer."""
        return steady_s() + self._offset_s if self.is_set else time.time()
