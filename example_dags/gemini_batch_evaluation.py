"""Which model is good enough? Several models label one test set and are scored against people.

One mapped task for each model, one table at the end: accuracy, unusable answers, tokens and cost. The test set is
real (ratings by people, see ``data/README.md``). To compare prompts in place of models, expand over ``prompt``.
"""

from __future__ import annotations

import csv
import os
from itertools import islice
from pathlib import Path
from typing import Literal

import pendulum
from airflow.sdk import dag, task
from pydantic import BaseModel

from airflow_provider_batch import GeminiBatchOperator, ResultOptions, read_results

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
REVIEWS = Path(__file__).parent / "data" / "product_reviews.tsv"
RUN = "{{ run_id | replace(':', '') }}"
MODELS = ["gemini-2.5-flash-lite", "gemini-2.5-flash", "gemini-2.5-pro"]
TEST_ROWS = 200


class Label(BaseModel):
    """What each answer must be."""

    sentiment: Literal["negative", "neutral", "positive"]


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_evaluation():
    @task
    def test_set(folder: str) -> str:
        """Sentences with what people said of them."""
        target = Path(folder) / "test_set.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        with REVIEWS.open(encoding="utf-8", newline="") as source, target.open("w", newline="") as out:
            reviews = csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE)
            table = csv.writer(out)
            table.writerow(["id", "text", "truth"])
            table.writerows(
                (row["id"], row["text"], _truth(float(row["human_rating"]))) for row in islice(reviews, TEST_ROWS)
            )
        return str(target)

    @task
    def compare(manifests: list[dict], folder: str) -> list[dict]:
        """A line for each model, the best first; also as a CSV file."""
        table = sorted(map(_score, manifests), key=lambda line: -line["accuracy"])
        with (Path(folder) / "comparison.csv").open("w", newline="") as out:
            writer = csv.DictWriter(out, table[0])
            writer.writeheader()
            writer.writerows(table)
        return table

    folder = f"{LAKE}/evaluation/{RUN}"
    label = GeminiBatchOperator.partial(
        task_id="label",
        requests=test_set(folder),
        key_column="id",
        prompt="What does the customer express? {text}",
        results=ResultOptions(keep_columns=["truth"]),
        output_type=Label,
        request_params={"generationConfig": {"maxOutputTokens": 2048}},
        result_path=f"{folder}/{{{{ ti.map_index }}}}",
        max_cost_usd=5,
        deferrable=True,
        poll_interval=float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60")),
    ).expand(model=MODELS)
    compare(label.output, folder)


def _truth(rating: float) -> str:
    return "neutral" if abs(rating) < 0.5 else "positive" if rating > 0 else "negative"


def _score(manifest: dict) -> dict:
    """A row without a usable answer is a wrong answer."""
    answers = (row for row in read_results(manifest) if row.status == "success")
    right = sum(row.parsed["sentiment"] == row.source["truth"] for row in answers)
    rows, tokens = manifest["request_count"], manifest["tokens"]
    return {
        "model": manifest["model"],
        "accuracy": round(right / rows, 4),
        "unusable": rows - manifest["counts"].get("success", 0),
        "output_tokens": tokens["output"] + tokens["thinking"],
        "cost_usd": manifest["cost_usd"],
    }


DAG = gemini_batch_evaluation()
