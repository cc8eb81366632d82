"""Which of the jobs in a listing have ended since a watch began, each told once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airflow_provider_batch.contract import JobSnapshot

REMEMBERED = timedelta(days=3)
"""So long a job that was told is remembered, after the newest end. A job lives for 48 h at most, and a listing may
show its end late."""


@dataclass
class Endings:
    """What was told.

    :param since: Jobs that ended earlier are left out.
    :param told: When each job that was told had ended, by name.
    """

    since: datetime
    told: dict[str, datetime] = field(default_factory=dict)

    def fresh(self, jobs: Iterable[JobSnapshot]) -> list[JobSnapshot]:
        """Jobs that have ended and were not told. The jobs count as told from now on. Oldest end first."""
        ended = [(job.ended_at, job) for job in jobs if job.ended_at and (job.state.is_terminal or job.done)]
        new = [(at, job) for at, job in ended if at >= self.since and job.name not in self.told]
        self.told |= {job.name: at for at, job in new}
        self._forget()
        return [job for _, job in sorted(new, key=lambda one: one[0])]

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {"since": self.since.isoformat(), "told": {name: at.isoformat() for name, at in self.told.items()}}

    @classmethod
    def from_json(cls, stored: object, now: datetime) -> Endings:
        """What :meth:`to_json` gave. From now on, if the value cannot be read."""
        try:
            if not isinstance(stored, Mapping):
                raise TypeError(type(stored).__name__)
            told = {str(name): datetime.fromisoformat(at) for name, at in stored["told"].items()}
            return cls(datetime.fromisoformat(stored["since"]), told)
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls(now)

    def _forget(self) -> None:
        if not self.told:
            return
        self.since = max(self.since, max(self.told.values()) - REMEMBERED)
        self.told = {name: at for name, at in self.told.items() if at >= self.since}
