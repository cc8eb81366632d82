"""The decision after each look at a job: go on, finished, or give up. Pure: values and a clock in, a value out.

The trigger, the sensor and the synchronous loop all ask here, so they cannot disagree. A failed look is never
a reason to cancel or to send anything again, and the deadline is judged only after a look that worked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_batch.contract import JobSnapshot
from airflow_provider_batch.errors import ApiError, AuthError, BatchError, ConfigError, NotFoundError

MAX_NOT_FOUND = 3
"""A job that was there and now answers 404 may be a listing or routing fault: it is believed the third time."""

MAX_ERROR_WAIT_S = 300.0
"""Longest wait after failed looks, seconds."""


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


@dataclass
class Watch:
    """What waiting remembers between looks.

    :param job_name: The job.
    :param deadline: Unix time, seconds. Absolute, so that a restart does not start it again.
    :param poll_interval_s: Seconds between looks.
    """

    job_name: str
    deadline: float
    poll_interval_s: float
    _errors: int = field(default=0, init=False)
    _not_found: int = field(default=0, init=False)
    _shown: str = field(default="", init=False)

    def saw(self, job: JobSnapshot, now: float) -> Verdict:
        """A look that worked."""
        self._errors = self._not_found = 0
        if job.state.is_terminal:
            return Finished(job)
        if job.done:
            return GiveUp("unknown_state", f"{self.job_name} ended in a state unknown here: {job.raw_state}.")
        if now >= self.deadline:
            return GiveUp("timeout", f"{self.job_name} is still {job.raw_state} at the deadline.")
        return GoOn(self._wait(self.poll_interval_s, now), self._news(_describe(job)))

    def failed(self, error: BatchError, now: float) -> Verdict:
        """A look that did not work."""
        self._errors += 1
        if isinstance(error, NotFoundError):
            self._not_found += 1
        if isinstance(error, AuthError | ConfigError) or self._not_found >= MAX_NOT_FOUND:
            return GiveUp("unreadable", f"{self.job_name} cannot be asked about: {error}")
        hint = error.retry_after_s if isinstance(error, ApiError) else None
        backoff = min(MAX_ERROR_WAIT_S, self.poll_interval_s * 2 ** min(self._errors - 1, 10))
        wait = max(backoff, hint or 0.0, self.poll_interval_s)
        if now >= self.deadline + MAX_ERROR_WAIT_S:
            return GiveUp("timeout", f"{self.job_name} could not be asked about by the deadline: {error}")
        return GoOn(wait, self._news(f"{self.job_name}: looking failed, waiting on. {error}"))

    def _wait(self, wanted: float, now: float) -> float:
        """Not past the deadline, so that it is noticed when it comes."""
        return max(1.0, min(wanted, self.deadline - now))

    def _news(self, text: str) -> str:
        news = text if text != self._shown else ""
        self._shown = text
        return news


def _describe(job: JobSnapshot) -> str:
    done = job.succeeded + job.failed
    # The API counts rows at the end only, as far as was seen: "0 done" for hours would say what nobody knows.
    rows = f", {done} of {job.requests} rows done, {job.failed} failed" if done else ""
    return f"{job.name} is {job.raw_state}{rows}"
