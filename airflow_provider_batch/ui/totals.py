"""Sums over all batches of some weeks: what they cost, how long they took. One query, remembered for a moment."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timezone
from typing import Any, NamedTuple

from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from airflow_provider_batch.engine.glance import KEY, LANDED_KEY
from airflow_provider_batch.ui.index import _SAME
from airflow_provider_batch.ui.views import OVER, Totals

BOUNDS_S = [300, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 12 * 3600, 24 * 3600, 48 * 3600]

MOST_BATCHES = 50_000

KEEP_S = 20.0


class Batch(NamedTuple):
    """What is added up of a batch."""

    dag_id: str
    ledger: str | None
    model: str | None
    connection: str | None
    rows: int | None
    submitted_at: int | None
    landed_at: int | None
    cost_usd: float | None
    standard_usd: float | None


_remembered: dict[int, tuple[float, list[Batch]]] = {}


def totals(session: Session, dags: Collection[str], days: int) -> Totals:
    """Add up what the user may see."""
    known = [batch for batch in _batches(session, days) if batch.dag_id in dags]
    return summed(known, days, _states(session, dags, days))


def summed(batches: Iterable[Batch], days: int, states: dict[str, int]) -> Totals:
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
        connections.add(batch.connection or "?")
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
    )


def _batches(session: Session, days: int) -> list[Batch]:
    known = _remembered.get(days)
    if known is not None and time.monotonic() < known[0]:
        return known[1]
    value = XComModel.value
    statement = (
        select(
            XComModel.dag_id,
            value["ledger"].as_string(),
            value["model"].as_string(),
            value["conn_id"].as_string(),
            value["rows"].as_integer(),
            value["submitted_at"].as_integer(),
            value["landed_at"].as_integer(),
            value["cost_usd"].as_float(),
            value["standard_usd"].as_float(),
        )
        .where(
            XComModel.key.in_((KEY, LANDED_KEY)),
            or_(value["landed_at"].as_integer() > _since(days), value["submitted_at"].as_integer() > _since(days)),
        )
        .order_by(XComModel.timestamp.desc())
        .limit(MOST_BATCHES)
    )
    found = [Batch(*values) for values in session.execute(statement)]
    _remembered[days] = time.monotonic() + KEEP_S, found
    return found


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
                XComModel.value["submitted_at"].as_integer() > _since(days),
            ),
        )
        .group_by(TaskInstance.state)
    )
    return {str(state): count for state, count in session.execute(statement)}


def _since(days: int) -> int:
    """The beginning of the first of so many days, today included."""
    now: Any = datetime.now(timezone.utc)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return int(midnight.timestamp()) - (days - 1) * 86_400
