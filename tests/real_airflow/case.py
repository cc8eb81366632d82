"""One fault: the runs that it hits, and what it cost by the emulator's journal and the landed results."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_batch.emulator import Emulator
from airflow_provider_batch.rows.results import read_results
from tests.real_airflow.processes import Process, until
from tests.real_airflow.stack import Airflow, Worker

TASK = "batch"
ROWS = 40
ENDED = pytest.StashKey[bool]()
"""Of a test's item: its steps came to their end."""


@dataclass(frozen=True)
class Figures:
    """What a fault cost.

    :param ended: Its test came to its end; else jobs that are not there yet, or not ended, count for nothing.
    :param runs: Task instances, each of which wants one job.
    :param creates: Jobs that were accepted.
    :param lost: Input keys without a landed row; None = the task was not to land anything.
    :param unlanded: Jobs that were billed and whose results no task instance landed.
    :param cancels: Calls that cancel a job.
    :param recovery_s: Seconds from the end of the fault, or of the job if that is later, to the task's success.
    """

    title: str
    runs: int
    creates: int
    lost: int | None
    unlanded: int
    cancels: int
    recovery_s: float | None
    ended: bool = True

    @property
    def duplicates(self) -> int:
        """Jobs that nobody wanted."""
        return self.creates - self.runs

    def cells(self) -> tuple[str, ...]:
        """One row of :func:`table`."""
        if not self.ended:
            return (f"{self.title} (not ended)", *"-" * (len(HEADS) - 1))
        lost = "-" if self.lost is None else str(self.lost)
        recovery = "-" if self.recovery_s is None else f"{self.recovery_s:.1f}"
        numbers = (self.runs, self.creates, self.duplicates, lost, self.unlanded, self.cancels, recovery)
        return (self.title, *map(str, numbers))


HEADS = ("fault", "runs", "creates", "duplicates", "lost rows", "paid, not landed", "cancels", "recovery s")


def table(figures: Iterable[Figures]) -> str:
    """The figures of all faults in columns; a fault that was tried more than once has one line."""
    titles: dict[str, list[Figures]] = {}
    for each in figures:
        titles.setdefault(each.title, []).append(each)
    return aligned([HEADS, *(_merged(tries).cells() for tries in titles.values())])


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells in columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines)
    return "\n".join("  ".join(cells) for cells in padded)


def _merged(tries: list[Figures]) -> Figures:
    """The sums of all tries, and the longest recovery."""
    lost = [f.lost for f in tries if f.lost is not None]
    recoveries = [f.recovery_s for f in tries if f.recovery_s is not None]
    return Figures(
        title=tries[0].title,
        runs=sum(f.runs for f in tries),
        creates=sum(f.creates for f in tries),
        lost=sum(lost) if lost else None,
        unlanded=sum(f.unlanded for f in tries),
        cancels=sum(f.cancels for f in tries),
        recovery_s=max(recoveries, default=None),
        ended=all(f.ended for f in tries),
    )


@dataclass
class Run:
    """A DAG run of one or more batches."""

    airflow: Airflow
    dag_id: str
    run_id: str
    keys: list[list[str]]

    @property
    def path(self) -> str:
        """Its address in the REST API."""
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"

    def instances(self) -> list[dict[str, Any]]:
        """The task instances of the operator, by map index."""
        listed = self.airflow.get(f"{self.path}/taskInstances", limit="100")["task_instances"]
        return sorted((i for i in listed if i["task_id"] == TASK), key=lambda i: i["map_index"])

    def instance(self) -> dict[str, Any]:
        """The only task instance of the operator."""
        (instance,) = self.instances()
        return instance

    def until(self, state: str, count: int | None = None) -> list[dict[str, Any]]:
        """Wait until so many of its batches (None = all) are in a state; return those."""
        wanted = len(self.keys) if count is None else count

        def look() -> list[dict[str, Any]] | None:
            there = [i for i in self.instances() if i["state"] == state]
            failed = [i for i in self.instances() if i["state"] in ("failed", "upstream_failed") != state]
            assert state == "failed" or not failed, f"{self.run_id} has failed"
            return there if len(there) >= wanted else None

        return until(f"{wanted} of {self.run_id} {state}", look)

    def until_running(self) -> Worker:
        """Wait until a worker has the only task instance."""
        return until(f"{self.run_id} is running", lambda: self.airflow.worker_of(self.instance()), every_s=0.02)

    def until_assigned(self, other_than: Process | None = None) -> Process:
        """Wait until a triggerer has the trigger of one of its task instances."""

        def look() -> Process | None:
            holders = filter(None, map(self.airflow.triggerer_of, self.instances()))
            return next((holder for holder in holders if holder is not other_than), None)

        return until(f"a triggerer has {self.run_id}", look)

    def mark(self, state: str) -> None:
        """Mark the only task instance, as a user does."""
        self.airflow.call("PATCH", f"{self.path}/taskInstances/{TASK}", json={"new_state": state})

    def clear(self) -> None:
        """Clear the only task instance, as a user does."""
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": [TASK], "only_failed": False}
        self.airflow.call("POST", f"/dags/{self.dag_id}/clearTaskInstances", json=body)

    def landed_keys(self, index: int, instance: dict[str, Any]) -> list[str]:
        """The keys of the rows that a batch landed, as a downstream task reads them."""
        path = f"{self.path}/taskInstances/{TASK}/xcomEntries/return_value"
        try:
            manifest = self.airflow.get(path, map_index=str(instance["map_index"]), deserialize="true")["value"]
        except httpx.HTTPStatusError:
            return []
        return [row.key for row in read_results(manifest)]


@dataclass
class Case:
    """A fault that is being tried.

    :param title: What happens, in words.
    :param folder: For input files and results.
    """

    title: str
    airflow: Airflow
    emulator: Emulator
    folder: Path
    runs: list[Run] = field(default_factory=list)
    lands: bool = True

    def __post_init__(self) -> None:
        self._before = len(self.emulator.journal())
        self._since = datetime.now(timezone.utc)

    def start(self, dag_id: str = "faulted", batches: int = 1) -> Run:
        """Start a DAG run with so many batches of :data:`ROWS` rows."""
        run_id = f"fault-{uuid.uuid4().hex[:12]}"
        folder = self.folder / run_id
        folder.mkdir(parents=True)
        keys = [[f"b{batch}-r{n}" for n in range(ROWS)] for batch in range(batches)]
        inputs = [
            {"requests": _written(folder / f"{n}.jsonl", batch), "result_path": str(folder / f"results-{n}")}
            for n, batch in enumerate(keys)
        ]
        body = {"dag_run_id": run_id, "logical_date": None, "conf": {"inputs": inputs, "folder": str(folder)}}
        self.airflow.call("POST", f"/dags/{dag_id}/dagRuns", json=body)
        self.runs.append(Run(self.airflow, dag_id, run_id, keys))
        return self.runs[-1]

    def start_waiting(self) -> Run:
        """Start a DAG run of one batch and wait until a triggerer looks at its job."""
        run = self.start()
        run.until("deferred")
        run.until_assigned()
        seen = len(self.emulator.requests())
        until("a triggerer looks at the job", lambda: len(self.emulator.requests()) > seen)
        return run

    def until_created(self, count: int = 1) -> list[str]:
        """Wait until the emulator has accepted so many jobs; return their names."""
        look = lambda: names if len(names := self.created()) >= count else None  # noqa: E731
        return until(f"{count} jobs are there", look, every_s=0.02)

    def until_struck(self) -> None:
        """Wait until the emulator's faults have met the calls that they were meant for.

        A fault strikes when the call comes in, before the emulator does or answers anything.
        """
        address = f"{self.emulator.base_url}/emulator/faults"
        look = lambda: not httpx.get(address, trust_env=False).json()["faults"]  # noqa: E731
        until("the fault has struck", look, every_s=0.02)

    def finish_jobs(self) -> None:
        """Let every job of this fault be done now."""
        for name in self.created():
            self.emulator.force_job(name, state="SUCCEEDED")
        self.cleared()

    def cleared(self) -> None:
        """Note that the fault is over: recovery is counted from here."""
        self._since = datetime.now(timezone.utc)

    def await_calm(self) -> None:
        """Wait until each triggerer has gone round often enough to do what it would still do."""
        for component in self.airflow.triggerers:
            if component.is_running:
                self.airflow.await_heartbeats(component)

    def succeeds(self) -> Figures:
        """Wait for the success of every run, and see that it cost what it should: one job a batch."""
        for run in self.runs:
            run.until("success")
        for run in self.runs:
            for index, instance in enumerate(run.instances()):
                assert sorted(run.landed_keys(index, instance)) == sorted(run.keys[index])
        figures = self.figures()
        costs = (figures.duplicates, figures.lost, figures.unlanded, figures.cancels)
        assert costs == (0, 0, 0, 0), f"\n{table([figures])}"
        return figures

    def created(self) -> list[str]:
        """The names of the jobs that were accepted since the fault began."""
        return [str(entry["batch"]) for entry in self._journal("batches.create")]

    def cancelled(self) -> list[str]:
        """The names of the jobs that were cancelled since the fault began, one for each call."""
        return [str(entry["batch"]) for entry in self._journal("batches.cancel")]

    def figures(self, *, ended: bool = True) -> Figures:
        """What the fault has cost until now."""
        ended = [(run, n, i) for run in self.runs for n, i in enumerate(run.instances())]
        landed = [(run.keys[n], run.landed_keys(n, i)) for run, n, i in ended if i["state"] == "success"]
        there = sum((Counter(keys) for _, keys in landed), Counter[str]())
        wanted = sum((Counter(keys) for run in self.runs for keys in run.keys), Counter[str]())
        billed = [name for name in self.created() if name in self.emulator.bills()]
        ends = [i["end_date"] for _, _, i in ended if i["state"] == "success" and i["end_date"]]
        last = max((datetime.fromisoformat(end.replace("Z", "+00:00")) for end in ends), default=None)
        return Figures(
            title=self.title,
            runs=sum(len(run.keys) for run in self.runs),
            creates=len(self.created()),
            lost=(wanted - there).total() if self.lands else None,
            unlanded=max(0, len(billed) - sum(1 for _, keys in landed if keys)),
            cancels=len(self.cancelled()),
            recovery_s=(last - self._since).total_seconds() if last and self.lands else None,
            ended=ended,
        )

    def _journal(self, call: str) -> list[dict[str, Any]]:
        return [entry for entry in self.emulator.journal()[self._before :] if entry["call"] == call]


def _written(path: Path, keys: list[str]) -> str:
    rows = ({"key": key, "request": {"contents": [{"parts": [{"text": f"hello {key}"}]}]}} for key in keys)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)
