"""DAGs that start by themselves: when results have landed, and when a batch of the project has ended."""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, task
from cases import case

from airflow_provider_batch.rows.results import read_results
from airflow_provider_batch.triggers.events import GeminiBatchEventTrigger

LANDED = Asset("landed_labels")
ENDED = Asset(
    "ended_batches",
    watchers=[AssetWatcher(name="ended", trigger=GeminiBatchEventTrigger("agb1.", "gemini_watched", 1.0))],
)

producer = case("case_outlet", deferrable=True, outlets=[LANDED])


with DAG("on_landed", schedule=[LANDED], start_date=pendulum.datetime(2026, 1, 1), catchup=False):

    @task
    def read_landed(triggering_asset_events: dict) -> dict[str, str]:
        (event,) = [event for events in triggering_asset_events.values() for event in events]
        return {row.key: row.status.value for row in read_results(event.extra)}

    read_landed()


with DAG("on_ended", schedule=[ENDED], start_date=pendulum.datetime(2026, 1, 1), catchup=False):

    @task
    def note_ended(triggering_asset_events: dict) -> list[str]:
        events = [event for events in triggering_asset_events.values() for event in events]
        return [event.extra["payload"]["job_name"] for event in events]

    note_ended()
