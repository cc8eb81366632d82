"""Many partitions at once, each a batch; one DAG for each queue, whose machines do all of its work."""

from __future__ import annotations

import datetime

import pendulum
from airflow.sdk import DAG, task

from airflow_provider_batch.operators.gemini import GeminiBatchOperator

for dag_id, queue in {"partitions": "all", "partitions_north": "north", "partitions_south": "south"}.items():
    with DAG(
        dag_id,
        schedule=None,
        start_date=pendulum.datetime(2026, 1, 1),
        default_args={"queue": queue},
        max_active_tasks=64,
    ):

        @task
        def requests(dag_run=None) -> list:
            """The input file of each partition."""
            return [each["requests"] for each in dag_run.conf["inputs"]]

        GeminiBatchOperator.partial(
            task_id="batch",
            model="gemini-2.5-flash",
            result_path="{{ dag_run.conf['folder'] }}/results-{{ ti.map_index }}",
            gemini_conn_id="gemini_default",
            deferrable=True,
            poll_interval=5,
            retries=3,
            retry_delay=datetime.timedelta(seconds=1),
        ).expand(requests=requests())
