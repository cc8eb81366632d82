"""What is noted about the deliveries of webhooks on one side of a database, and read on the other side.

A note holds the jobs that something happened to within the last minute, each with the time of its delivery. The
note is a hint. A reader of the note asks for the jobs. A poller that misses the note goes on as if there were no
webhooks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

KEEP_S = 60.0
"""For how long a job stays in the note, seconds: several times as long as readers wait between readings."""

MOST = 50
"""Jobs that are named. If there are more, all are to be looked at."""

LONGEST_NAME = 100

ALL = ""
"""Stands for any job: the delivery named none, or there were too many."""


def key_of(conn_id: str) -> str:
    """Where the note for a connection is kept.

    Not by the connection's name. Airflow takes the values of names such as ``gemini_api_key`` for secrets. It
    would keep each of them for ever to hide it.
    """
    return f"gemini_batch_woken_{hashlib.sha256(conn_id.encode()).hexdigest()[:12]}"


def description_of(conn_id: str) -> str:
    """What people who find the note should know."""
    return (
        f"Jobs of the connection {conn_id} that a webhook told about within the last minute. "
        "Written by airflow-provider-batch; may be deleted."
    )


def noted(before: str | None, jobs: Iterable[str], now: float) -> str:
    """The note with these jobs in it.

    :param before: The note so far.
    :param now: Unix time, seconds.
    """
    recent = {job: at for job, at in _jobs(before).items() if now - KEEP_S < at <= now}
    recent |= {job if 0 < len(job) <= LONGEST_NAME else ALL: now for job in jobs}
    return json.dumps({"jobs": recent if len(recent) <= MOST else {ALL: now}})


@dataclass
class Reader:
    """Tells what is new in the note since the last reading."""

    _known: Mapping[str, float] = field(default_factory=dict)

    def news(self, note: str | None) -> list[str]:
        """The jobs that something happened to. :data:`ALL` may be among them."""
        before, self._known = self._known, _jobs(note)
        return [job for job, at in self._known.items() if before.get(job) != at]


def _jobs(note: str | None) -> dict[str, float]:
    """Any other content of the note is not this package's, and people can edit it."""
    try:
        jobs = json.loads(note or "{}")["jobs"]
    except (ValueError, KeyError, TypeError):
        return {}
    if not isinstance(jobs, dict):
        return {}
    return {job: float(at) for job, at in jobs.items() if isinstance(at, int | float)}
