"""A nightly batch: last night's requests in, labels out, the task waits without holding a worker slot.

Something upstream drops one JSON Lines file a day; here the first task does, so that the DAG runs by itself.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pendulum
from airflow.sdk import dag, task

from airflow_provider_batch import GeminiBatchOperator, read_results

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
REVIEWS = Path(__file__).parent / "data" / "product_reviews.tsv"
DAY = "{{ dag_run.run_after | ds }}"
RUN = "{{ run_id | replace(':', '') }}"


@dag(schedule="@daily", start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_nightly():
    @task
    def write_requests(day: str, folder: str) -> str:
        """Stand-in for whatever writes the day's requests: 100 of the reviews, others each day."""
        target = Path(folder) / "requests.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        with REVIEWS.open(encoding="utf-8", newline="") as source, target.open("w", encoding="utf-8") as out:
            reviews = list(csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE))
            first = pendulum.parse(day).day_of_year * 100 % (len(reviews) - 100)
            for review in reviews[first : first + 100]:
                question = f"Summarise this customer's remark in five words: {review['text']}"
                request = {"contents": [{"role": "user", "parts": [{"text": question}]}]}
                out.write(json.dumps({"key": review["id"], "request": request}) + "\n")
        return str(target)

    # A run by hand has a folder of its own.
    folder = f"{LAKE}/nightly/{DAY}/{RUN}"
    summarise = GeminiBatchOperator(
        task_id="summarise",
        model="gemini-2.5-flash",
        requests=write_requests(DAY, folder),
        result_path=f"{folder}/summaries",
        deferrable=True,
        poll_interval=float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60")),
    )

    @task
    def report(manifest: dict) -> dict[str, int]:
        """Count the answers by status and show the first three."""
        counts: dict[str, int] = {}
        for row in read_results(manifest):
            counts[row.status.value] = counts.get(row.status.value, 0) + 1
            if sum(counts.values()) <= 3:
                print(f"{row.key}: {row.text}")
        return counts

    report(summarise.output)


DAG = gemini_batch_nightly()
