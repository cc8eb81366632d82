"""A DAG that starts when a batch ends, wherever that was submitted: by a script, a notebook, another Airflow.

Its name begins with ``research.``, and the watcher fires for each such batch of the project.
"""

from __future__ import annotations

import os

import pendulum
from airflow.sdk import Asset, AssetWatcher, dag, task

from airflow_provider_batch.triggers.events import GeminiBatchEventTrigger

POLL_S = float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60"))

research = Asset(
    "gemini_research_batches",
    watchers=[AssetWatcher(name="ended", trigger=GeminiBatchEventTrigger("research.", poll_interval=POLL_S))],
)


@dag(schedule=[research], start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_event_driven():
    @task
    def note_it(triggering_asset_events: dict) -> list[str]:
        ended = [event.extra["payload"] for events in triggering_asset_events.values() for event in events]
        for batch in ended:
            print(f"{batch['display_name']} {batch['state']}: {batch['succeeded']} of {batch['requests']} rows")
        return [batch["job_name"] for batch in ended if batch["state"] == "succeeded"]

    note_it()


DAG = gemini_batch_event_driven()
