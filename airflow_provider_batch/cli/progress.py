"""How far jobs are: a bar on a terminal, a line for each change elsewhere. On stderr, as it is no data."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from airflow_provider_batch.batch.state_words import of_job
from airflow_provider_batch.batch.wait.watch import duration
from airflow_provider_batch.cli import printing

if TYPE_CHECKING:
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
    """A bar if a person looks, lines if not."""
    return Bar() if sys.stderr.isatty() else Lines()


def rows_of(*jobs: JobSnapshot) -> str:
    """How many rows are done. The API counts at the end only, as far as was seen, so 0 says nothing."""
    done, failed, rows = _done(jobs), sum(job.failed for job in jobs), sum(job.requests for job in jobs)
    all_rows = printing.counted(rows, "row")
    if not done:
        return all_rows
    return f"{done:,} of {all_rows}{f', {failed:,} failed' if failed else ''}"


def percent_of(*jobs: JobSnapshot) -> int | None:
    """Share of the rows that are done, None if not known."""
    done, rows = _done(jobs), sum(job.requests for job in jobs)
    return 100 * done // rows if done and rows else None


def age_of(now: float, *jobs: JobSnapshot) -> str:
    """Since the first of them was created."""
    created = [job.created_at.timestamp() for job in jobs if job.created_at]
    return duration(now - min(created)) if created else ""


def _done(jobs: Iterable[JobSnapshot]) -> int:
    return sum(job.succeeded + job.failed for job in jobs)


class Lines(Board):
    """A line for each job when its state changes, and at each tenth of its rows."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, int, bool]] = {}

    def __exit__(self, *_: object) -> None:
        return None

    def saw(self, job: JobSnapshot, now: float) -> None:
        """Tell what is new."""
        percent = percent_of(job)
        news = (of_job(job), (percent or 0) // 10, job.failed > 0)
        if self._told.get(job.name) == news:
            return
        self._told[job.name] = news
        share = "" if percent is None else f"{percent} %, "
        age = age_of(now, job)
        printing.tell(f"{job.name} {of_job(job)}, {share}{rows_of(job)}{f', {age} old' if age else ''}")

    def tick(self, now: float) -> None:
        """Nothing moves on paper."""

    def note(self, text: str) -> None:
        """A line."""
        printing.tell(text)


class Bar(Board):
    """One line for all jobs: it stays whole, however many there are."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[percent]:>5}", markup=False),
            TextColumn("{task.fields[rows]}", markup=False),
            TextColumn("{task.fields[age]}", markup=False),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True, refresh_per_second=4)
        self._bar = self._progress.add_task("", total=None, visible=False, percent="", rows="", age="")
        self._jobs: dict[str, JobSnapshot] = {}

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def saw(self, job: JobSnapshot, now: float) -> None:
        """Move the bar."""
        self._jobs[job.name] = job
        self.tick(now)

    def tick(self, now: float) -> None:
        """Everything has grown older."""
        jobs = tuple(self._jobs.values())
        percent = percent_of(*jobs)
        self._progress.update(
            self._bar,
            description=printing.printable(_names(jobs)),
            visible=bool(jobs),
            # Without a total the bar only shows that something goes on.
            total=None if percent is None else 100,
            completed=percent or 0,
            percent="" if percent is None else f"{percent} %",
            rows=rows_of(*jobs),
            age=age_of(now, *jobs),
        )

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(printing.printable(text), markup=False, highlight=False, soft_wrap=True)


def _names(jobs: Sequence[JobSnapshot]) -> str:
    """``batches/a running``. For several jobs ``3 jobs, 1 running, 2 succeeded``."""
    if len(jobs) == 1:
        return f"{jobs[0].name} {of_job(jobs[0])}"
    states = Counter(map(of_job, jobs))
    return ", ".join([f"{len(jobs)} jobs", *(f"{number} {state}" for state, number in sorted(states.items()))])
