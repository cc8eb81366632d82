"""A corpus as vectors: each of 3,708 sentences gets one, in a Parquet file that a vector store loads as it is.

The vectors are lists of a fixed size of 32-bit floats, with the key and the kept columns beside them.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pendulum
from airflow.sdk import dag, task

from airflow_provider_batch import GeminiEmbeddingsBatchOperator, ResultOptions, to_arrow_batches

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
REVIEWS = Path(__file__).parent / "data" / "product_reviews.tsv"
RUN = "{{ run_id | replace(':', '') }}"
DIMENSIONS = 256


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_embeddings():
    @task
    def corpus(folder: str) -> str:
        """The sentences as a CSV file, as a stand-in for an export."""
        target = Path(folder) / "corpus.csv"
        target.parent.mkdir(parents=True, exist_ok=True)
        with REVIEWS.open(encoding="utf-8", newline="") as source, target.open("w", newline="") as out:
            table = csv.writer(out)
            table.writerow(["id", "text"])
            reviews = csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE)
            table.writerows((row["id"], row["text"]) for row in reviews)
        return str(target)

    @task
    def nearest(manifest: dict, to: str) -> list[str]:
        """The five sentences that are nearest to one: what an index would answer."""
        vectors = {}
        for batch in to_arrow_batches(manifest):
            vectors |= dict(zip(batch["key"].to_pylist(), batch["vector"].to_pylist(), strict=True))
        wanted = vectors.pop(to)
        near = {key: sum(map(float.__mul__, wanted, vector)) for key, vector in vectors.items()}
        return sorted(near, key=near.get, reverse=True)[:5]

    folder = f"{LAKE}/embeddings/{RUN}"
    embed = GeminiEmbeddingsBatchOperator(
        task_id="embed",
        model="gemini-embedding-001",
        requests=corpus(folder),
        key_column="id",
        prompt="{text}",
        task_type="SEMANTIC_SIMILARITY",
        output_dimensionality=DIMENSIONS,
        results=ResultOptions(keep_columns=["text"], output_format="parquet"),
        result_path=f"{folder}/vectors",
        deferrable=True,
        poll_interval=float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60")),
    )
    nearest(embed.output, "1_1")


DAG = gemini_batch_embeddings()
