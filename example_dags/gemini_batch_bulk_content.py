"""Bulk content with a fixed form: a title, a summary and lists of good and bad points for each of 300 reviews.

The form is a pydantic model. It goes with every row, and an answer of another form is asked for again before the
task ends, so what is downstream may rely on it. ``max_cost_usd`` stops the night on which somebody feeds in the
whole archive.
"""

from __future__ import annotations

import csv
import os
from itertools import groupby
from pathlib import Path

import pendulum
from airflow.sdk import dag, task
from pydantic import BaseModel, Field

from airflow_provider_batch import read_results

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
REVIEWS = Path(__file__).parent / "data" / "product_reviews.tsv"
RUN = "{{ run_id | replace(':', '') }}"


class Digest(BaseModel):
    """What each answer must be."""

    title: str = Field(description="At most eight words.")
    summary: str = Field(description="Two sentences, in the third person.")
    good: list[str]
    bad: list[str]


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_bulk_content():
    @task.gemini_batch(
        model="gemini-2.5-flash",
        prompt="Write a digest of this customer review.\n\n{review}",
        system_prompt="You edit the review pages of a shop. Say nothing that the customer did not say.",
        request_params={"generationConfig": {"maxOutputTokens": 2048, "thinkingConfig": {"thinkingBudget": 0}}},
        output_type=Digest,
        max_cost_usd=5,
        result_path=f"{LAKE}/digests/{RUN}",
        deferrable=True,
        poll_interval=float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60")),
    )
    def digest():
        with REVIEWS.open(encoding="utf-8", newline="") as source:
            sentences = csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE)
            for review, group in groupby(sentences, key=lambda row: row["id"].split("_")[0]):
                yield {"key": review, "review": " ".join(row["text"] for row in group)}

    @task
    def write_pages(manifest: dict, folder: str) -> int:
        """A page for each review. Rows without a usable answer keep the page that they had."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        pages = 0
        for row in read_results(manifest, Digest):
            if row.status == "success":
                (target / f"{row.key}.md").write_text(_page(row.parsed), encoding="utf-8")
                pages += 1
        return pages

    write_pages(digest(), f"{LAKE}/pages")


def _page(digest: Digest) -> str:
    points = [f"+ {point}" for point in digest.good] + [f"- {point}" for point in digest.bad]
    return "\n".join([f"# {digest.title}", "", digest.summary, "", *points, ""])


DAG = gemini_batch_bulk_content()
