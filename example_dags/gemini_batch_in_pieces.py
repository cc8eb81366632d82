"""The same job in pieces, for those who compose: submit, wait with a sensor, fetch the results.

The rows are a short list in the DAG itself; it is neither rendered nor stored in Airflow's database.
"""

from __future__ import annotations

import os

import pendulum
from airflow.sdk import dag, task

from airflow_provider_batch import (
    GeminiBatchFetchResultsOperator,
    GeminiBatchOperator,
    GeminiBatchSensor,
    read_results,
)

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
CITIES = ["Lisbon", "Nairobi", "Osaka"]


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_in_pieces():
    submit = GeminiBatchOperator(
        task_id="submit",
        model="gemini-2.5-flash",
        requests=[
            {"key": city, "request": {"contents": [{"parts": [{"text": f"One sentence about {city}."}]}]}}
            for city in CITIES
        ],
        result_path=f"{LAKE}/cities/{{{{ run_id | replace(':', '') }}}}",
        wait_for_completion=False,
    )
    wait = GeminiBatchSensor(
        task_id="wait",
        submission=submit.output,
        deferrable=True,
        poke_interval=float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60")),
    )
    fetch = GeminiBatchFetchResultsOperator(task_id="fetch", submission=wait.output)

    @task
    def show(manifest: dict) -> dict[str, str | None]:
        return {row.key: row.text for row in read_results(manifest)}

    show(fetch.output)


DAG = gemini_batch_in_pieces()
