"""The decision after each look at a job: go on, finished, or give up. Pure: values and a clock in, a value out.

A failed look is never a reason to cancel or to send anything again. The deadline is judged by the server's clock,
and only after a look that worked.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from airflow_provider_batch.contract import JobSnapshot
from airflow_provider_batch.errors import ApiError, AuthError, BatchError, ConfigError, NotFoundError

MAX_NOT_FOUND = 3
"""A job that was there and now answers 404 may be a listing or routing fault. It is believed the third time."""

MAX_ERROR_WAIT_S = 300.0
"""Longest wait after failed looks, seconds. Without one that works a wait ends so long after its deadline."""

SHORTEST_WAIT_S = 5.0
"""Between looks at a young job, seconds, unless the user wants to look more often."""

SHARE_OF_AGE = 0.1
"""A job is looked at again after this share of its age.

So a small job that is done in a minute is seen at once.
"""

TELL_EVERY_S = 900.0
"""Between log lines while nothing changes, seconds."""


@dataclass(frozen=True)
class GoOn:
    """Look again after so many seconds. ``note`` is worth a line in the log, if not empty."""

    wait_s: float
    note: str = ""


@dataclass(frozen=True)
class Finished:
    """The job will not change any more."""

    job: JobSnapshot


@dataclass(frozen=True)
class GiveUp:
    """Waiting longer is of no use. The job was not touched and may still run.

    :param reason: ``timeout``, ``unreadable`` (credential or name does not work any more) or ``unknown_state``.
    """

    reason: str
    message: str


Verdict = GoOn | Finished | GiveUp


@dataclass(slots=True)
class Watch:
    """What waiting remembers between looks.

    :param job_name: The job.
    :param deadline: Unix time, seconds. Absolute, so that a restart does not start it again.
    :param poll_interval_s: Longest time between looks that work, seconds.
    :param asked_at: Unix time at which the wait was begun, by the clock that set its deadline. None = the clock of
        this machine will do.
    :param since: The same moment, or a later one, on the clock of the event loop, seconds.
    """

    job_name: str
    deadline: float
    poll_interval_s: float
    asked_at: float | None = None
    since: float = 0.0
    _errors: int = field(default=0, init=False)
    _not_found: int = field(default=0, init=False)
    _progress: tuple[str, int, bool] | None = field(default=None, init=False)
    _tell_at: float = field(default=0.0, init=False)
    _tell_error_at: float = field(default=0.0, init=False)

    @property
    def overdue_at(self) -> float:
        """When waiting ends even though no look has worked since the deadline, Unix time."""
        return self.deadline + MAX_ERROR_WAIT_S

    def time(self, now: float | None, at: float) -> float:
        """Unix time by which the deadline may be judged.

        :param now: By the server's clock, None while no answer has said what time it is.
        :param at: On the clock of the event loop.
        """
        if now is not None:
            return now
        return time.time() if self.asked_at is None else self.asked_at + at - self.since

    def saw(self, job: JobSnapshot, now: float) -> Verdict:
        """A look that worked."""
        self._errors = self._not_found = 0
        if job.state.is_terminal:
            return Finished(job)
        if job.done:
            return GiveUp(
                "unknown_state",
                f"{self.job_name} ended in a state that this package does not know: {job.raw_state}.",
            )
        if now >= self.deadline:
            return GiveUp("timeout", f"{self.job_name} is still {job.raw_state} at the deadline.")
        return GoOn(self._wait(job, now), self._news(job, now))

    def failed(self, error: BatchError, now: float) -> Verdict:
        """A look that did not work."""
        self._errors += 1
        if isinstance(error, NotFoundError):
            self._not_found += 1
        if isinstance(error, AuthError | ConfigError) or self._not_found >= MAX_NOT_FOUND:
            return GiveUp("unreadable", f"{self.job_name} cannot be asked about: {error}")
        hint = error.retry_after_s if isinstance(error, ApiError) else None
        backoff = min(MAX_ERROR_WAIT_S, self.poll_interval_s * 2 ** min(self._errors - 1, 10))
        if now >= self.overdue_at:
            return GiveUp("timeout", f"{self.job_name} could not be asked about by the deadline: {error}")
        note = ""
        if now >= self._tell_error_at:
            self._tell_error_at = now + TELL_EVERY_S
            note = f"{self.job_name}: looking failed, waiting on. {error}"
        return GoOn(max(backoff, hint or 0.0, self.poll_interval_s), note)

    def _wait(self, job: JobSnapshot, now: float) -> float:
        """Short while the job is young, and not past the deadline, so that it is noticed when it comes."""
        wanted = self.poll_interval_s
        if job.created_at is not None:
            wanted = min(wanted, max(SHORTEST_WAIT_S, SHARE_OF_AGE * (now - job.created_at.timestamp())))
        return max(1.0, min(wanted, self.deadline - now))

    def _news(self, job: JobSnapshot, now: float) -> str:
        """A line when the state changes, at each tenth of the rows, at the first failed row, and now and then."""
        tenth = 10 * (job.succeeded + job.failed) // job.requests if job.requests else 0
        # One string for all jobs that are in this state.
        progress = (sys.intern(job.raw_state), tenth, job.failed > 0)
        if progress == self._progress and now < self._tell_at:
            return ""
        self._progress, self._tell_at = progress, now + TELL_EVERY_S
        return _describe(job, self.deadline, now)


def _describe(job: JobSnapshot, deadline: float, now: float) -> str:
    done = job.succeeded + job.failed
    parts = [f"{job.name} is {job.raw_state}"]
    # As far as was seen, the API counts rows at the end only. "0 done" for hours would claim what is not known.
    if done and job.requests:
        percent = 100 * done // job.requests
        parts.append(f"{percent} % done: {done} of {job.requests} rows, {job.failed} failed")
    if job.created_at is not None:
        parts.append(f"{duration(now - job.created_at.timestamp())} old")
    return f"{', '.join(parts)}, {duration(deadline - now)} to the deadline"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 5 min``, ``2 d 1 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
