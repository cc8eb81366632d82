"""How far jobs are: bars on a terminal, a line for each change elsewhere. On stderr, as it is no data."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from airflow_provider_batch.batch.wait.watch import duration
from airflow_provider_batch.cli import printing

if TYPE_CHECKING:
    from rich.progress import TaskID

    from airflow_provider_batch.contract import JobSnapshot


class Board(AbstractContextManager["Board"], Protocol):
    """Shows jobs while they are waited for."""

    def saw(self, job: JobSnapshot, now: float) -> None:
        """A look at a job."""

    def tick(self, now: float) -> None:
        """Time has passed."""

    def note(self, text: str) -> None:
        """Something that is worth a line."""


def board() -> Board:
    """Bars if somebody looks, lines if not."""
    return Bars() if sys.stderr.isatty() else Lines()


def state_of(job: JobSnapshot) -> str:
    """``running``, or the API's word if nobody here knows it."""
    return job.raw_state if job.state.value == "unknown" else job.state.value


def rows_of(job: JobSnapshot) -> str:
    """How many rows are done. The API counts at the end only, as far as was seen, so 0 says nothing."""
    done = job.succeeded + job.failed
    if not done:
        return f"{job.requests:,} rows"
    failed = f", {job.failed:,} failed" if job.failed else ""
    return f"{done:,} of {job.requests:,} rows{failed}"


def percent_of(job: JobSnapshot) -> int | None:
    """Share of the rows that are done, None if nobody knows."""
    done = job.succeeded + job.failed
    return 100 * done // job.requests if done and job.requests else None


def age_of(job: JobSnapshot, now: float) -> str:
    """Since it was created."""
    return duration(now - job.created_at.timestamp()) if job.created_at else ""


class Lines(Board):
    """A line for each job when its state changes, and at each tenth of its rows."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, int, bool]] = {}

    def __exit__(self, *_: object) -> None:
        return None

    def saw(self, job: JobSnapshot, now: float) -> None:
        """Tell what is new."""
        percent = percent_of(job)
        news = (state_of(job), (percent or 0) // 10, job.failed > 0)
        if self._told.get(job.name) == news:
            return
        self._told[job.name] = news
        share = "" if percent is None else f"{percent} %, "
        age = age_of(job, now)
        printing.tell(f"{job.name} {state_of(job)}, {share}{rows_of(job)}{f', {age} old' if age else ''}")

    def tick(self, now: float) -> None:
        """Nothing moves on paper."""

    def note(self, text: str) -> None:
        """A line."""
        printing.tell(text)


class Bars(Board):
    """A bar for each job."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[state]:<9}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[percent]:>5}", markup=False),
            TextColumn("{task.fields[rows]}", markup=False),
            TextColumn("{task.fields[age]}", markup=False),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)
        self._jobs: dict[str, tuple[TaskID, JobSnapshot]] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def saw(self, job: JobSnapshot, now: float) -> None:
        """Move its bar."""
        known = self._jobs.get(job.name)
        name = printing.printable(job.name)
        bar = (
            known[0] if known else self._progress.add_task(name, total=None, state="", percent="", rows="", age="")
        )
        self._jobs[job.name] = bar, job
        self._draw(bar, job, now)

    def tick(self, now: float) -> None:
        """Everything has grown older."""
        for bar, job in self._jobs.values():
            self._draw(bar, job, now)

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(printing.printable(text), markup=False, highlight=False)

    def _draw(self, bar: TaskID, job: JobSnapshot, now: float) -> None:
        percent = percent_of(job)
        self._progress.update(
            bar,
            # Without a total the bar only shows that something goes on.
            total=None if percent is None else 100,
            completed=percent or 0,
            state=state_of(job),
            percent="" if percent is None else f"{percent} %",
            rows=rows_of(job),
            age=age_of(job, now),
        )
