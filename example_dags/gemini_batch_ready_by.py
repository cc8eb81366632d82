"""The table must be there at seven: a batch that is tried before it is paid for and rescued before it is late.

Ten rows are answered first, so a bad prompt or a wrong model fails in minutes. If the jobs are late, the rows that
are left are answered by single calls, early enough for seven o'clock.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pendulum
from airflow.sdk import dag, task

from airflow_provider_batch import GeminiBatchOperator, SingleCalls, read_results

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
REVIEWS = Path(__file__).parent / "data" / "product_reviews.tsv"
SENTIMENT = {
    "type": "object",
    "properties": {"sentiment": {"type": "string", "enum": ["positive", "neutral", "negative"]}},
    "required": ["sentiment"],
}


@dag(schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_ready_by():
    @task
    def reviews() -> list[dict[str, str]]:
        """Stand-in for the day's rows: 200 of the reviews."""
        with REVIEWS.open(encoding="utf-8", newline="") as source:
            rows = list(csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE))
        return [{"key": row["id"], "text": row["text"]} for row in rows[:200]]

    label = GeminiBatchOperator(
        task_id="label",
        model="gemini-2.5-flash",
        requests=reviews(),
        prompt="What does this customer feel? {text}",
        output_type=SENTIMENT,
        request_params={"generationConfig": {"maxOutputTokens": 2000}},
        result_path=f"{LAKE}/ready_by/{{{{ run_id | replace(':', '') }}}}",
        trial_rows=10,
        ready_by=pendulum.duration(hours=7),  # after the end of the data interval, which is midnight
        single_calls=SingleCalls(tiers=("flex", "standard")),
        max_cost_usd=5,
        max_failed_fraction=0.02,
        deferrable=True,
        poll_interval=float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60")),
    )

    @task
    def count(manifest: dict) -> dict[str, int]:
        """How many customers feel what."""
        counts: dict[str, int] = {}
        for row in read_results(manifest):
            feeling = row.parsed["sentiment"] if row.parsed else row.status.value
            counts[feeling] = counts.get(feeling, 0) + 1
        return counts

    count(label.output)


DAG = gemini_batch_ready_by()
