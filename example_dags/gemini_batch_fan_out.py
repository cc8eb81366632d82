"""A task instance for each partition, by dynamic task mapping, and one summary of all of them.

Each partition has a result folder of its own, retries alone, and fails alone: the summary runs whatever became of
the others and says what is missing. One large input needs no mapping: the operator cuts it into jobs by itself.
"""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from pathlib import Path

import pendulum
from airflow.sdk import dag, task

from airflow_provider_batch import GeminiBatchOperator

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
REVIEWS = Path(__file__).parent / "data" / "product_reviews.tsv"
RUN = "{{ run_id | replace(':', '') }}"
REVIEWS_IN_A_PARTITION = 100


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_fan_out():
    @task
    def partitions(folder: str) -> list[str]:
        """A file for each hundred reviews, as a stand-in for a partitioned table."""
        parts = defaultdict(list)
        with REVIEWS.open(encoding="utf-8", newline="") as source:
            for row in csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE):
                parts[int(row["id"].split("_")[0]) // REVIEWS_IN_A_PARTITION].append((row["id"], row["text"]))
        Path(folder).mkdir(parents=True, exist_ok=True)
        return [_written(Path(folder) / f"part-{number}.csv", rows) for number, rows in sorted(parts.items())]

    @task(trigger_rule="all_done")
    def summary(files: list[str], manifests: list[dict]) -> dict:
        """Rows, tokens and cost of all partitions, and how many of them are missing."""
        landed = [manifest for manifest in manifests if manifest]
        counts, costs = Counter(), [manifest["cost_usd"] for manifest in landed]
        for manifest in landed:
            counts.update(manifest["counts"])
        return {
            "partitions": len(files),
            "missing": len(files) - len(landed),
            "rows": dict(counts),
            "jobs": sum(manifest["job_count"] for manifest in landed),
            # An unknown cost is not 0.
            "cost_usd": None if None in costs else round(sum(costs), 6),
        }

    folder = f"{LAKE}/fan_out/{RUN}"
    files = partitions(folder)
    label = GeminiBatchOperator.partial(
        task_id="label",
        model="gemini-2.5-flash",
        key_column="id",
        prompt="Is this sentence about the price? Answer yes or no. {text}",
        result_path=f"{folder}/{{{{ ti.map_index }}}}",
        deferrable=True,
        poll_interval=float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60")),
        max_active_tis_per_dagrun=10,
    ).expand(requests=files)
    summary(files, label.output)


def _written(target: Path, rows: list[tuple[str, str]]) -> str:
    with target.open("w", newline="") as out:
        csv.writer(out).writerows([("id", "text"), *rows])
    return str(target)


DAG = gemini_batch_fan_out()
