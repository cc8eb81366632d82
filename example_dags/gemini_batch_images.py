"""Photos are labelled: each file of a folder gets a caption, its kind and its tags, as columns of a Parquet file.

Small photos go with their row, larger ones are uploaded once each and deleted when the batch is complete. Video
clips, sound and PDFs work the same way. ``GEMINI_BATCH_EXAMPLE_PHOTOS`` may be a folder in object storage.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pendulum
from airflow.sdk import ObjectStoragePath, dag, task
from pydantic import BaseModel

from airflow_provider_batch import MediaOptions, ResultOptions, to_arrow_batches

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108
PHOTOS = os.environ.get("GEMINI_BATCH_EXAMPLE_PHOTOS", str(Path(__file__).parent / "data" / "photos"))
RUN = "{{ run_id | replace(':', '') }}"


class Photo(BaseModel):
    """What each answer must be."""

    caption: str
    kind: Literal["animal", "machine", "drawing", "other"]
    tags: list[str]


@dag(schedule=None, start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_images():
    @task.gemini_batch(
        model="gemini-2.5-flash",
        prompt="Describe the photo in one sentence, say what kind it is, and give up to five tags.",
        media=MediaOptions(path=PHOTOS, columns=["photo"]),
        output_type=Photo,
        results=ResultOptions(output_format="parquet"),
        result_path=f"{LAKE}/photos/{RUN}",
        deferrable=True,
        poll_interval=float(os.environ.get("GEMINI_BATCH_EXAMPLE_POLL_S", "60")),
    )
    def label():
        for photo in sorted(ObjectStoragePath(PHOTOS).iterdir(), key=str):
            yield {"key": photo.name, "photo": photo.name}

    @task
    def captions(manifest: dict) -> dict[str, str]:
        """What a shop would load into its catalogue."""
        found = {}
        for batch in to_arrow_batches(manifest):
            found |= dict(zip(batch["key"].to_pylist(), batch["parsed_caption"].to_pylist(), strict=True))
        return found

    captions(label())


DAG = gemini_batch_images()
