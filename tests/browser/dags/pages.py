"""DAGs whose batches are looked at with a browser."""

from __future__ import annotations

import datetime
import os

import pendulum
from airflow.sdk import DAG

from airflow_provider_batch.operators.gemini import GeminiBatchOperator

LAKE = os.environ["GEMINI_BATCH_EXAMPLE_DIR"]
ATTACK = "<img src=x onerror=\"document.title='owned'\">"
"""Of a key: what a page that takes text for markup would run."""


def rows(count: int, attack: bool = False) -> list[dict]:
    keys = [f"ticket-{number:04}" for number in range(count)]
    if attack:
        keys[3] = ATTACK
    return [{"key": k, "request": {"contents": [{"parts": [{"text": f"Label {k}: late parcel"}]}]}} for k in keys]


def batch(dag_id: str, task_id: str, requests: list[dict], **arguments) -> DAG:
    with DAG(dag_id, schedule=None, start_date=pendulum.datetime(2026, 1, 1), tags=["gemini"]) as dag:
        GeminiBatchOperator(
            task_id=task_id,
            requests=requests,
            result_path=f"{LAKE}/{dag_id}/" + "{{ run_id }}",
            deferrable=True,
            poll_interval=1,
            **({"model": "gemini-2.5-flash"} | arguments),
        )
    return dag


tickets = batch(
    "support_tickets", "label", rows(90, attack=True), max_rows_per_job=30, failures={"max_row_attempts": 2}
)
archive = batch(
    "product_archive", "caption", rows(200), max_rows_per_job=100, retries=2, retry_delay=datetime.timedelta(0)
)
nightly = batch("nightly_labels", "label", rows(12), trial_rows=4, timeout=40, failures={"at_timeout": "answer"})
