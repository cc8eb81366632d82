"""DAGs for the tests: what the end of a batch says to tasks and DAGs after it."""

from __future__ import annotations

import datetime

import pendulum
from airflow.sdk import DAG, Asset, task

from airflow_provider_batch.operators.gemini import GeminiBatchOperator

WHEN = {"schedule": None, "start_date": pendulum.datetime(2026, 1, 1)}
GIVEN = {"requests": "{{ dag_run.conf['requests'] }}", "result_path": "{{ dag_run.conf['result_path'] }}"}

with DAG("on_referred", schedule=[Asset("referred_labels", uri="x://referred")], start_date=WHEN["start_date"]):

    @task
    def note() -> None:
        """Nothing."""

    note()


def ending(name: str, **arguments) -> DAG:
    """A DAG of one batch and what comes after it."""
    with DAG(f"endings_{name}", **WHEN) as made:
        batch = GeminiBatchOperator(
            task_id="batch",
            model="gemini-2.5-flash",
            poll_interval=1,
            retries=1,
            retry_delay=datetime.timedelta(seconds=1),
            outlets=[Asset.ref(name="referred_labels")],
            **{"deferrable": True} | GIVEN | arguments,
        )

        @task
        def after(manifest: dict) -> str:
            return manifest["result_uri"]

        @task(trigger_rule="all_done")
        def later() -> str:
            return "later"

        after(batch.output) >> later()
    return made


landed = ending("landed")
dry = ending("dry", dry_run=True)
submitted = ending("submitted", wait_for_completion=False)
silent = ending("silent", do_xcom_push=False)
