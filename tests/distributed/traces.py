"""What the workers and the triggerers did, read from their own logs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from tests.real_airflow.case import TASK, Run
from tests.real_airflow.stack import Airflow

_BEGUN = re.compile(
    r"^(?P<at>\S+) .*\[(?P<message>[0-9a-f-]{36})\] Executing workload in Celery:"
    r".* log_path='(?P<log>[^']+)' ti=TaskInstanceDTO\(id=UUID\('(?P<ti>[^']+)'\)"
)
_ENDED = re.compile(r"^(?P<at>\S+) .*Workload finished .* final_state=(?P<state>\S+) .*workload_id=(?P<ti>\S+)")


@dataclass(frozen=True)
class Execution:
    """A time during which a task held a slot of a worker.

    :param message: The id of Celery's message that brought it.
    :param log: The task's log, relative to Airflow's folder of logs.
    :param state: What became of the task; None = the worker was killed, or told that the task is not its to run.
    :param is_repeated: The message had been delivered before.
    :param before_s: Until the operator began: fork, parsing of the DAG, rendering.
    :param acting_s: In the operator's own code.
    :param after_s: From there until the slot was free: outcome reported, process ended, its end noticed.
    """

    worker: str
    message: str
    log: str
    begun_at: datetime
    ended_at: datetime | None = None
    state: str | None = None
    is_repeated: bool = False
    before_s: float = 0.0
    acting_s: float = 0.0
    after_s: float = 0.0

    @property
    def slot_s(self) -> float:
        """Seconds for which the slot was held; 0 if that is not known."""
        return (self.ended_at - self.begun_at).total_seconds() if self.ended_at else 0.0


def executions(airflow: Airflow, runs: Iterable[Run], workers: Iterable[str]) -> list[Execution]:
    """Every time that a batch of these runs held a slot, the earliest first."""
    wanted = tuple(f"dag_id={run.dag_id}/run_id={run.run_id}/task_id={TASK}/" for run in runs)
    held = (each for worker in workers for each in _held(worker, airflow.folder / f"{worker}.log"))
    found = sorted((each for each in held if each.log.startswith(wanted)), key=lambda each: each.begun_at)
    seen: set[str] = set()
    timed = []
    for each in found:
        parts = _events(airflow.folder / "home" / "logs" / each.log)
        timed.append(replace(_timed(each, list(parts)), is_repeated=each.message in seen))
        seen.add(each.message)
    return timed


def _held(worker: str, log: Path) -> Iterator[Execution]:
    running: dict[str, Execution] = {}
    for line in log.read_text(errors="replace").splitlines():
        if begun := _BEGUN.match(line):
            if before := running.pop(begun["ti"], None):
                yield before
            running[begun["ti"]] = Execution(worker, begun["message"], begun["log"], _time(begun["at"]))
        elif (ended := _ENDED.match(line)) and (execution := running.pop(ended["ti"], None)):
            yield replace(execution, ended_at=_time(ended["at"]), state=ended["state"])
    yield from running.values()


def _timed(execution: Execution, events: Sequence[tuple[datetime, str]]) -> Execution:
    """With its three parts, by what Airflow writes to the task's log before and after the operator's code."""
    begun_at, ended_at = execution.begun_at, execution.ended_at
    if ended_at is None:
        return execution
    own = [(at, event) for at, event in events if begun_at <= at <= ended_at]
    entered = next((at for at, event in own if event == "::endgroup::"), begun_at)
    left = next((at for at, event in own if event == "::group::Post Execute"), ended_at)
    return replace(
        execution,
        before_s=(entered - begun_at).total_seconds(),
        acting_s=(left - entered).total_seconds(),
        after_s=(ended_at - left).total_seconds(),
    )


def wakes(airflow: Airflow, runs: Iterable[Run]) -> Counter[str]:
    """How many waits of these runs each triggerer ended."""
    jobs = airflow.get("/jobs", limit="100", job_type="TriggererJob")["jobs"]
    names = {str(job["id"]): job["unixname"] for job in jobs}
    ended: Counter[str] = Counter()
    for run in runs:
        folder = airflow.folder / "home" / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
        for log in folder.glob(f"task_id={TASK}/map_index=*/*.trigger.*.log"):
            fired = sum(1 for _, event in _events(log) if event == "Trigger fired event")
            ended[names[log.name.split(".trigger.")[1].removesuffix(".log")]] += fired
    return ended


def _events(log: Path) -> Iterator[tuple[datetime, str]]:
    for line in log.read_text().splitlines() if log.exists() else ():
        # The process that wrote it may have been killed in the middle of a line.
        if line.endswith("}"):
            entry = json.loads(line)
            yield _time(entry["timestamp"]), entry["event"]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
