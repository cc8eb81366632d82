"""Sums over all batches of some weeks: what they cost, how long they took. One query, remembered for a moment."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timezone
from typing import Any, NamedTuple

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from airflow_provider_batch.batch.summary import KEY, LANDED_KEY, is_plausible
from airflow_provider_batch.web.index import _SAME, changed_since
from airflow_provider_batch.web.views import OVER, Totals

BOUNDS_S = [300, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600, 24 * 3600, 48 * 3600]

MOST_BATCHES = 50_000

KEEP_S = 20.0

MOST_REMEMBERED = 3
"""Answers for so many different numbers of days."""


class BatchFigures(NamedTuple):
    """What is added up of a batch. From ``ledger`` on as the note calls it."""

    dag_id: str
    ledger: str | None
    model: str | None
    conn_id: str | None
    rows: int | None
    submitted_at: int | None
    landed_at: int | None
    cost_usd: float | None
    standard_usd: float | None


class Notes(NamedTuple):
    """What was read.

    :param is_all: There are no more than :data:`MOST_BATCHES`.
    """

    batches: list[BatchFigures]
    is_all: bool


_remembered: dict[int, tuple[float, Notes]] = {}

_one_at_a_time = threading.Lock()


def totals(session: Session, dags: Collection[str], days: int) -> Totals:
    """Add up what the user may see."""
    notes = _notes(session, days)
    known = [batch for batch in notes.batches if batch.dag_id in dags]
    return summed(known, days, _states(session, dags, days), notes.is_all)


def summed(batches: Iterable[BatchFigures], days: int, states: dict[str, int], is_all: bool = True) -> Totals:
    """Add up. A batch that has landed counts once, whichever task landed it."""
    models: set[str] = set()
    connections: set[str] = set()
    per_day: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0, 0.0, 0])
    turnaround: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS_S) + 1))
    rows = 0
    seen: set[str] = set()
    for batch in batches:
        model = batch.model or "?"
        models.add(model)
        connections.add(batch.conn_id or "?")
        if batch.landed_at is None or batch.ledger is None or batch.ledger in seen:
            continue
        seen.add(batch.ledger)
        rows += batch.rows or 0
        day = datetime.fromtimestamp(batch.landed_at, timezone.utc).strftime("%Y-%m-%d")
        sums = per_day[day, model]
        sums[0] += 1
        sums[1] += batch.cost_usd or 0.0
        sums[2] += max(0.0, (batch.standard_usd or 0.0) - (batch.cost_usd or 0.0))
        sums[3] += batch.cost_usd is None
        if batch.submitted_at is not None:
            took = batch.landed_at - batch.submitted_at
            turnaround[model][sum(took > bound for bound in BOUNDS_S)] += 1
    return Totals(
        models=sorted(models),
        connections=sorted(connections),
        active=sum(count for state, count in states.items() if state not in OVER),
        landed=len(seen),
        failed=states.get("failed", 0) + states.get("upstream_failed", 0),
        rows=rows,
        cost_usd=round(sum(sums[1] for sums in per_day.values()), 6),
        saved_usd=round(sum(sums[2] for sums in per_day.values()), 6),
        unknown_costs=int(sum(sums[3] for sums in per_day.values())),
        days=days,
        per_day=[
            (day, model, int(sums[0]), round(sums[1], 6), round(sums[2], 6), int(sums[3]))
            for (day, model), sums in sorted(per_day.items())
        ],
        bounds_s=BOUNDS_S,
        turnaround=dict(sorted(turnaround.items())),
        is_all=is_all,
    )


def _notes(session: Session, days: int) -> Notes:
    """Of all users, newest note first. Read by one of those who ask at the same time."""
    with _one_at_a_time:
        now = time.monotonic()
        for outdated in [key for key, (until, _) in _remembered.items() if until <= now]:
            del _remembered[outdated]
        if days not in _remembered:
            found = _read(session, _since(days))
            while len(_remembered) >= MOST_REMEMBERED:
                del _remembered[next(iter(_remembered))]
            _remembered[days] = time.monotonic() + KEEP_S, found
        return _remembered[days][1]


def _read(session: Session, since: int) -> Notes:
    texts = (XComModel.value[name].as_string() for name in BatchFigures._fields[1:])
    statement = (
        select(XComModel.dag_id, *texts)
        .where(XComModel.key.in_((KEY, LANDED_KEY)), changed_since(since))
        .order_by(XComModel.timestamp.desc())
        .limit(MOST_BATCHES)
    )
    found = [noted(*values) for values in session.execute(statement)]
    recent = [batch for batch in found if max(batch.landed_at or 0, batch.submitted_at or 0) > since]
    return Notes(recent, len(found) < MOST_BATCHES)


def noted(dag_id: str, ledger: object, model: object, connection: object, *numbers: object) -> BatchFigures:
    """A batch as far as a note says something that can be so: any DAG can push one.

    :param numbers: As a text or a number, by database.
    """
    rows, submitted_at, landed_at, cost_usd, standard_usd = map(_number, numbers)
    return BatchFigures(
        dag_id,
        _text(ledger),
        _text(model),
        _text(connection),
        _whole(rows),
        _whole(submitted_at),
        _whole(landed_at),
        cost_usd,
        standard_usd,
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if is_plausible(number) else None


def _states(session: Session, dags: Collection[str], days: int) -> dict[str, int]:
    statement = (
        select(TaskInstance.state, func.count())
        .select_from(XComModel)
        .join(TaskInstance, _SAME)
        .where(
            XComModel.key == KEY,
            XComModel.dag_id.in_(dags),
            or_(
                TaskInstance.state.is_(None),
                TaskInstance.state.not_in(sorted(OVER)),
                changed_since(_since(days)),
            ),
        )
        .group_by(TaskInstance.state)
    )
    return {str(state): count for state, count in session.execute(statement)}


def _since(days: int) -> int:
    """The beginning of the first of so many days, today included."""
    now = datetime.now(timezone.utc)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return int(midnight.timestamp()) - (days - 1) * 86_400
