"""Batches written straight into Airflow's database, as tasks would have left them."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import delete, func, insert, select

from airflow_provider_batch.batch.summary import KEY

MODELS = ("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro", "gemini-embedding-001")


@dataclass
class Written:
    """A batch of a task instance."""

    dag_id: str
    run_id: str
    task_id: str = "batch"
    map_index: int = -1
    state: str | None = "success"
    at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    value: Any = None
    key: str = KEY


def noted(**said: Any) -> dict[str, Any]:
    """A note with what a test does not care about filled in."""
    now = int(datetime.now(timezone.utc).timestamp())
    return {
        "version": 1,
        "ledger": f"/nowhere/_ledger/{uuid.uuid4().hex[:24]}/1",
        "conn_id": "gemini_default",
        "model": MODELS[0],
        "rows": 100,
        "submitted_at": now - 3600,
        "deadline": now + 80_000,
    } | said


def landed(**said: Any) -> dict[str, Any]:
    """The note of a batch that has landed."""
    now = int(datetime.now(timezone.utc).timestamp())
    done = {"counts": {"success": 100}, "landed_at": now - 600, "cost_usd": 0.5, "standard_usd": 1.0}
    tokens = {"input": 9000, "cached": 0, "output": 1000, "thinking": 50, "audio": 0}
    return noted(**(done | {"tokens": tokens, "jobs": 1, "rounds": 1} | said))


def write(*batches: Written) -> None:
    """Write runs, task instances and notes."""
    with create_session(scoped=False) as session:
        known = {(dag_id, run_id) for dag_id, run_id in session.execute(select(DagRun.dag_id, DagRun.run_id))}
        runs = {(b.dag_id, b.run_id): b for b in batches if (b.dag_id, b.run_id) not in known}
        first = (session.scalar(select(func.max(DagRun.id))) or 0) + 1
        if runs:
            session.execute(insert(DagRun), [_run(first + n, b) for n, b in enumerate(runs.values())])
        found = session.execute(select(DagRun.dag_id, DagRun.run_id, DagRun.id))
        ids = {(dag_id, run_id): number for dag_id, run_id, number in found}
        with_task = [b for b in batches if b.key == KEY or not _has_task(session, b)]
        session.execute(insert(TaskInstance), [_task(b) for b in with_task])
        session.execute(insert(XComModel), [_note(b, ids[b.dag_id, b.run_id]) for b in batches])


def clear() -> None:
    """Remove all that was written."""
    with create_session(scoped=False) as session:
        for table in (XComModel, TaskInstance, DagRun):
            session.execute(delete(table))


def many(count: int, dags: tuple[str, ...], seed: int = 1) -> list[Written]:
    """Batches of some weeks: most have landed, some failed, a few wait."""
    draw = random.Random(seed)
    now = datetime.now(timezone.utc).replace(microsecond=0)
    return [_drawn(draw, number, now, dags) for number in range(count)]


def _drawn(draw: random.Random, number: int, now: datetime, dags: tuple[str, ...]) -> Written:
    model = draw.choices(MODELS, (6, 3, 2, 1))[0]
    took = min(46 * 3600, int(draw.lognormvariate(8.6 + MODELS.index(model) * 0.2, 0.9)))
    state = draw.choices(("success", "failed", "deferred"), (92, 5, 3))[0]
    age = draw.randrange(200, took) if state == "deferred" else draw.randrange(took, 28 * 86_400 + took)
    submitted = int(now.timestamp()) - age
    rows = draw.randrange(200, 50_000)
    said = noted(model=model, rows=rows, submitted_at=submitted, deadline=submitted + 86_400)
    said["conn_id"] = draw.choices(("gemini_default", "gemini_research"), (4, 1))[0]
    price = (0.6, 0.2, 4.0, 0.08)[MODELS.index(model)] / 1000
    said |= {"least_usd": round(rows * price * 0.4, 4), "most_usd": round(rows * price * 2, 4)}
    at = now - timedelta(seconds=age)
    if state == "success":
        bad = draw.choice((0, 0, 0, rows // 50, rows // 300))
        counts = {"success": rows - bad} | ({"error": bad} if bad else {})
        cost = round(rows * price * draw.uniform(0.7, 1.3), 4)
        said |= landed(
            **said, counts=counts, landed_at=submitted + took, cost_usd=cost, standard_usd=round(cost * 2, 4)
        )
        said["tokens"] = {
            "input": rows * 240,
            "cached": 0,
            "output": rows * draw.randrange(20, 90),
            "thinking": 0,
            "audio": 0,
        }
        at += timedelta(seconds=took)
    run_id = f"scheduled__{(now - timedelta(seconds=age)).isoformat()}_{number}"
    return Written(draw.choice(dags), run_id, draw.choice(("batch", "label", "embed")), -1, state, at, said)


def _run(number: int, batch: Written) -> dict[str, Any]:
    return {
        "id": number,
        "dag_id": batch.dag_id,
        "run_id": batch.run_id,
        "run_type": "manual",
        "run_after": batch.at,
        # The attribute, not the column: else the scheduler would find a run to begin.
        "_state": "success",
        "logical_date": None,
        "queued_at": batch.at,
        "start_date": batch.at,
        "log_template_id": 1,
    }


def _task(batch: Written) -> dict[str, Any]:
    return {
        # A text before Airflow 3.2.
        "id": TaskInstance.id.type.python_type(str(uuid.uuid4())),
        "dag_id": batch.dag_id,
        "run_id": batch.run_id,
        "task_id": batch.task_id,
        "map_index": batch.map_index,
        "state": batch.state,
        "try_number": 1,
        "max_tries": 1,
        "pool": "default_pool",
        "pool_slots": 1,
        "queue": "default",
        "priority_weight": 1,
        "start_date": batch.at,
        "executor_config": {},
        "operator": "GeminiBatchOperator",
    }


def _note(batch: Written, run: int) -> dict[str, Any]:
    return {
        "dag_run_id": run,
        "dag_id": batch.dag_id,
        "run_id": batch.run_id,
        "task_id": batch.task_id,
        "map_index": batch.map_index,
        "key": batch.key,
        "value": batch.value,
        "timestamp": batch.at,
    }


def _has_task(session: Any, batch: Written) -> bool:
    where = TaskInstance.dag_id == batch.dag_id, TaskInstance.run_id == batch.run_id
    return bool(session.scalar(select(func.count()).where(*where, TaskInstance.task_id == batch.task_id)))
