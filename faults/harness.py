"""What the cases of the fault matrix work with: a bench with one task instance, and workers that die at points."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from airflow_provider_batch.emulator.process import Emulator
from faults.crash import DONE, FAILED, Child, Points, fork
from faults.task import Task

WITHIN_S = 40.0


class CaseError(AssertionError):
    """A case did not go as it says that it goes."""


@dataclass(frozen=True)
class Bench:
    """What a case works with.

    :param plant: Puts a bug into the worker processes, None = none.
    """

    emulator: Emulator
    task: Task
    rng: random.Random
    plant: Callable[[], None] | None = None

    def worker(
        self, task: Task | None = None, points: Points | None = None, *, attempt_only: bool = False
    ) -> Child:
        """A worker process with one try of the task."""
        one = task or self.task

        def work() -> str:
            logging.disable()
            if self.plant:
                self.plant()
            own = one
            if points is not None:
                points.watch_files()
                own = replace(one, wrap=lambda service: points.around(one.wrap(service)))
            if attempt_only:
                own.attempt()
            else:
                own.finish(WITHIN_S)
            return json.dumps(points.seen if points else [])

        return fork(work)

    def until_done(self, task: Task | None = None, tries: int = 8) -> float:
        """Try as Airflow would, until a try succeeds; return the seconds that it took."""
        began = time.monotonic()
        for _ in range(tries):
            status, report = self.worker(task).wait(WITHIN_S)
            if status == DONE:
                return time.monotonic() - began
        raise CaseError(f"still failing after {tries} tries: {report}")


@dataclass(frozen=True)
class Case:
    """One fault.

    :param numbers: In the matrix.
    :param run: Does it; returns the seconds from the end of the fault to the end of the batch.
    :param tolerates: Duplicates that may happen, because they can only be detected.
    :param resends: Rows that are meant to be sent again, None = it varies.
    :param tells_all: The manifest tells every billed token; no result line was spoiled.
    :param calls_again: A row may be called again without a call that is told as lost: its worker woke up late.
    :param weight: Runs in relation to the others.
    :param job_seconds: How long the emulator's jobs take.
    :param shape: Changes the task.
    """

    numbers: str
    name: str
    run: Callable[[Bench], float]
    tolerates: int = 0
    resends: int | None = 0
    tells_all: bool = True
    calls_again: bool = False
    weight: float = 1.0
    job_seconds: float = 0.05
    shape: Callable[[Task], Task] = lambda task: task


def trace(bench: Bench, task: Task | None = None) -> list[str]:
    """The points of a run in which nothing is killed, with another task instance."""
    calm = _another(bench, task or bench.task)
    status, report = bench.worker(calm, Points(str(calm.folder))).wait(WITHIN_S)
    if status != DONE:
        raise CaseError(f"a run without a fault failed: {report}")
    return list(json.loads(report))


def _another(bench: Bench, task: Task) -> Task:
    run_id = f"{bench.task.identity.run_id} calm"
    folder = bench.task.folder.parent / f"{bench.task.folder.name}-calm"
    return replace(task, identity=replace(bench.task.identity, run_id=run_id), folder=folder)


def index(labels: Sequence[str], wanted: str, start: int) -> int:
    """1-based place of the first label that ends so."""
    for place, label in enumerate(labels, 1):
        if place > start and label.endswith(wanted):
            return place
    raise CaseError(f"no point {wanted!r} in {labels}")


def kill_at(bench: Bench, at: int) -> None:
    """Run a try that kills itself at a point."""
    status, report = bench.worker(points=Points(str(bench.task.folder), at)).wait(WITHIN_S)
    if status == FAILED:
        raise CaseError(report)
