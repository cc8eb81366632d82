"""The batches of this Airflow, from the notes that tasks leave in XCom.

There is no table of ours, no file, no call.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from airflow_provider_batch.batch.state_words import by_task
from airflow_provider_batch.batch.summary import KEY, LANDED_KEY, BatchSummary
from airflow_provider_batch.web.views import OVER, BatchesPage, Row, Task

MOST_ROWS = 200
"""On one page."""

UNLANDED_S = 5 * 86_400
"""How far back batches are looked at that never landed, seconds: their results are gone after that."""

MOST_UNLANDED = 500

_SAME = and_(
    XComModel.dag_id == TaskInstance.dag_id,
    XComModel.run_id == TaskInstance.run_id,
    XComModel.task_id == TaskInstance.task_id,
    XComModel.map_index == TaskInstance.map_index,
)

_COLUMNS = (
    XComModel.dag_id,
    XComModel.run_id,
    XComModel.task_id,
    XComModel.map_index,
    XComModel.value,
    XComModel.timestamp,
    TaskInstance.state,
    TaskInstance.try_number,
)


@dataclass(frozen=True)
class Filter:
    """What is asked for. What is empty or None does not matter.

    :param state: ``active``, ``done`` or ``failed``.
    :param text: Part of the name of a DAG, a task or a run.
    :param since: Unix seconds: something happened since.
    """

    dag: str = ""
    state: str = ""
    model: str = ""
    connection: str = ""
    text: str = ""
    since: int | None = None


def page(session: Session, dags: Collection[str], wanted: Filter, offset: int, limit: int) -> BatchesPage:
    """Some batches, those to which something happened last before the others.

    :param dags: What the user may see.
    """
    clauses = [XComModel.key == KEY, XComModel.dag_id.in_(dags), *_clauses(wanted)]
    total = session.scalar(select(func.count()).select_from(XComModel).join(TaskInstance, _SAME).where(*clauses))
    statement = (
        select(*_COLUMNS)
        .join(TaskInstance, _SAME)
        .where(*clauses)
        .order_by(XComModel.timestamp.desc(), XComModel.dag_run_id.desc(), XComModel.task_id, XComModel.map_index)
        .offset(offset)
        .limit(min(limit, MOST_ROWS))
    )
    rows = [_row(*values) for values in session.execute(statement)]
    return BatchesPage(rows=_with_landings(session, rows), total=total or 0, now=int(time.time()))


def one(session: Session, task: Task) -> Row | None:
    """The batch of a task instance: that which it submitted, else that which it landed."""
    where = (
        XComModel.key.in_((KEY, LANDED_KEY)),
        XComModel.dag_id == task.dag_id,
        XComModel.run_id == task.run_id,
        XComModel.task_id == task.task_id,
        XComModel.map_index == task.map_index,
    )
    # KEY sorts before LANDED_KEY.
    statement = select(*_COLUMNS).join(TaskInstance, _SAME).where(*where).order_by(XComModel.key)
    found = session.execute(statement).first()
    return _with_landings(session, [_row(*found)])[0] if found else None


def unlanded(session: Session, dags: Collection[str]) -> list[Row]:
    """Batches about which the API may have something to say, newest first."""
    statement = (
        select(*_COLUMNS)
        .join(TaskInstance, _SAME)
        .where(
            XComModel.key == KEY,
            XComModel.dag_id.in_(dags),
            changed_since(time.time() - UNLANDED_S),
            or_(TaskInstance.state.is_(None), TaskInstance.state.not_in(["skipped", "removed"])),
            XComModel.value["landed_at"].as_string().is_(None),
        )
        .order_by(XComModel.timestamp.desc())
        .limit(MOST_UNLANDED)
    )
    rows = _with_landings(session, [_row(*values) for values in session.execute(statement)])
    return [row for row in rows if row.landed_at is None and row.ledger]


def changed_since(moment: float) -> ColumnElement[bool]:
    """Notes written since. A column of Airflow's: what a note holds is not taken for a number by the database.

    One note with a text where a number belongs would end the query for everybody.

    :param moment: Unix seconds.
    """
    return XComModel.timestamp >= datetime.fromtimestamp(moment, timezone.utc)


def _clauses(wanted: Filter) -> Iterable[ColumnElement[bool]]:
    if wanted.dag:
        yield XComModel.dag_id == wanted.dag
    if wanted.model:
        yield XComModel.value["model"].as_string() == wanted.model
    if wanted.connection:
        yield XComModel.value["conn_id"].as_string() == wanted.connection
    if wanted.since is not None:
        yield changed_since(wanted.since)
    if wanted.text:
        names = (XComModel.dag_id, XComModel.task_id, XComModel.run_id)
        yield or_(*(name.icontains(wanted.text, autoescape=True) for name in names))
    if wanted.state == "active":
        yield or_(TaskInstance.state.is_(None), TaskInstance.state.not_in(sorted(OVER)))
    elif wanted.state == "done":
        yield TaskInstance.state == "success"
    elif wanted.state == "failed":
        yield TaskInstance.state.in_(["failed", "upstream_failed"])


def _row(
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    value: object,
    changed_at: datetime,
    state: str | None,
    try_number: int,
) -> Row:
    summary = _summary_of(value)
    values = {} if summary is None else summary.model_dump(mode="json", exclude={"version"})
    if summary is not None:
        values |= {"folder": summary.folder, "task_digest": summary.task_digest}
    return Row(
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        map_index=map_index,
        task_state=state,
        try_number=try_number,
        changed_at=int(changed_at.timestamp()),
        state=by_task(state, values.get("counts")).key,
        **values,
    )


def _summary_of(value: object) -> BatchSummary | None:
    """What a task noted. None if an XCom backend keeps it elsewhere."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return BatchSummary.load(value)


def _with_landings(session: Session, rows: list[Row]) -> list[Row]:
    """Add what other tasks of the same runs have landed."""
    open_rows = [row for row in rows if row.landed_at is None and row.ledger]
    if not open_rows:
        return rows
    statement = select(XComModel.dag_id, XComModel.run_id, XComModel.task_id, XComModel.value).where(
        XComModel.key == LANDED_KEY,
        XComModel.dag_id.in_({row.dag_id for row in open_rows}),
        XComModel.run_id.in_({row.run_id for row in open_rows}),
    )
    found = {
        (dag_id, run_id, summary.ledger): (task_id, summary)
        for dag_id, run_id, task_id, value in session.execute(statement)
        if (summary := _summary_of(value))
    }
    return [_landed(row, *found.get((row.dag_id, row.run_id, row.ledger), ("", None))) for row in rows]


def _landed(row: Row, task_id: str, summary: BatchSummary | None) -> Row:
    if summary is None:
        return row
    fields = ("counts", "tokens", "cost_usd", "standard_usd", "unmetered", "jobs", "rounds", "landed_at")
    values = summary.model_dump(mode="json", include=set(fields))
    return row.model_copy(
        update=values | {"landed_by": task_id, "state": by_task(row.task_state, values.get("counts")).key}
    )
