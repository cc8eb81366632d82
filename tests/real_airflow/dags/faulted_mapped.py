"""As many batches at once as the run's conf has inputs."""

from __future__ import annotations

import datetime

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_batch.operators.gemini import GeminiBatchOperator

with DAG("faulted_mapped", schedule=None, start_date=pendulum.datetime(2026, 1, 1)):

    @task
    def inputs(dag_run=None) -> list:
        """The arguments of each mapped task: ``requests`` and ``result_path``."""
        return dag_run.conf["inputs"]

    GeminiBatchOperator.partial(
        task_id="batch",
        model="gemini-2.5-flash",
        gemini_conn_id="gemini_default",
        deferrable=True,
        poll_interval=1,
        timeout=3600,
        retries=3,
        retry_delay=datetime.timedelta(seconds=1),
    ).expand_kwargs(inputs())
