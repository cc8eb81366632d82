"""``python -m benchmarks.deferred KIND``: a DAG run of deferred task instances, made with Airflow's own models.

Run in the environment of the Airflow that is measured, after ``airflow dags reserialize``. The rows are those that
the execution API writes when a worker defers (``ti_update_state`` in its ``routes/task_instances.py``); running a
worker for each of a thousand tasks would take longer than everything that is measured.

KIND: ``ours``, or ``airflow`` for triggers of Airflow's own that wait for a time years ahead.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, timezone

from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.triggers.base import BaseTrigger
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import select

from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

DAG_ID = "waiting"
INTERVAL_S = 60.0
DAY_S = 86400


def main() -> None:
    """Make the run and defer what it has."""
    trigger = {"ours": _ours, "airflow": _airflows}[sys.argv[1]]
    with create_session() as session:
        dag = SerializedDagModel.get_dag(DAG_ID, session=session)
        now = datetime.now(timezone.utc)
        dag.create_dagrun(
            run_id="waits",
            logical_date=now,
            data_interval=(now, now),
            run_after=now,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            start_date=now,
            session=session,
        )
        session.flush()
        for instance in session.scalars(select(TaskInstance).where(TaskInstance.dag_id == DAG_ID)):
            _defer(session, instance, trigger(instance))


def _ours(instance: TaskInstance) -> BaseTrigger:
    return GeminiBatchTrigger(
        conn_id="waits",
        deadline=time.time() + DAY_S,
        job_names=[f"batches/job{instance.map_index}"],
        poll_interval=INTERVAL_S,
        ledger=f"file:///data/labels/2026-11-24/{instance.map_index}/_ledger/0123456789abcdef",
        waiting_task={"dag_id": DAG_ID, "task_id": "wait", "run_id": "waits", "map_index": instance.map_index},
        cancel_note="cancel-1",
    )


def _airflows(instance: TaskInstance) -> BaseTrigger:
    return DateTimeTrigger(moment=datetime.now(timezone.utc) + timedelta(days=1000))


def _defer(session, instance: TaskInstance, trigger: BaseTrigger) -> None:
    row = Trigger.from_object(trigger)
    session.add(row)
    session.flush()
    instance.state = TaskInstanceState.DEFERRED
    instance.trigger_id = row.id
    instance.next_method = "execute_complete"
    instance.next_kwargs = {}


if __name__ == "__main__":
    main()
