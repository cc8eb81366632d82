"""A DAG that lands each batch that ends, wherever that was submitted: by a script, a notebook, another Airflow.

Its name begins with ``research.``, and the watcher fires for each such batch of the project. A run by hand lands
the jobs that its parameter names.
"""

from __future__ import annotations

import os

import pendulum
from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_batch import GeminiBatchEventTrigger, GeminiBatchFetchResultsOperator, read_results

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
POLL_S = float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60"))

research = Asset(
    "gemini_research_batches",
    watchers=[AssetWatcher(name="ended", trigger=GeminiBatchEventTrigger("research.", poll_interval=POLL_S))],
)


@dag(
    schedule=[research],
    start_date=pendulum.datetime(2026, 1, 1),
    catchup=False,
    params={"job_names": []},
    tags=["gemini", "example"],
)
def gemini_batch_event_driven():
    @task
    def ended(params: dict, triggering_asset_events: dict) -> list[str]:
        told = [event.extra["payload"] for events in triggering_asset_events.values() for event in events]
        for batch in told:
            print(f"{batch['display_name']} {batch['state']}: {batch['succeeded']} of {batch['requests']} rows")
        return params["job_names"] + [batch["job_name"] for batch in told if batch["state"] == "succeeded"]

    land = GeminiBatchFetchResultsOperator.partial(
        task_id="land",
        # A folder for each job, so that an event that is told twice lands nothing twice.
        result_path=f"{LAKE}/research/{{{{ task.job_name.removeprefix('batches/') }}}}",
    ).expand(job_name=ended())

    @task
    def count(manifest: dict) -> int:
        return sum(1 for row in read_results(manifest) if row.status.value == "success")

    count.expand(manifest=land.output)


DAG = gemini_batch_event_driven()
