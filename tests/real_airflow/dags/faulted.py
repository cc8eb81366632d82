"""One batch, fed from the run's conf; whatever happens to it, three retries remain."""

from __future__ import annotations

import datetime

import pendulum
from airflow.sdk import DAG

from airflow_provider_batch.operators.gemini import GeminiBatchOperator

with DAG("faulted", schedule=None, start_date=pendulum.datetime(2026, 1, 1)):
    GeminiBatchOperator(
        task_id="batch",
        model="gemini-2.5-flash",
        requests="{{ dag_run.conf['inputs'][0]['requests'] }}",
        result_path="{{ dag_run.conf['inputs'][0]['result_path'] }}",
        gemini_conn_id="gemini_default",
        deferrable=True,
        poll_interval=1,
        timeout=3600,
        retries=3,
        retry_delay=datetime.timedelta(seconds=1),
    )
