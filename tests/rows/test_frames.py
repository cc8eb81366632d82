"""Results as Arrow batches and data frames."""

import json

import pytest
from upath import UPath

from airflow_provider_batch.rows.frames import to_arrow_batches, to_pandas
from airflow_provider_batch.rows.manifest import Manifest


@pytest.fixture
def manifest(tmp_path):
    """Three landed rows; only the last has a number in its kept column."""
    rows = [
        {"key": key, "status": "success", "text": key.upper(), "usage": {"input": 5}, "source": {"stars": stars}}
        for key, stars in (("a", None), ("b", None), ("c", 4.5))
    ]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = Manifest(
        job_name="batches/x",
        model="m",
        result_uri=str(tmp_path / "results.jsonl"),
        request_count=3,
        counts={"success": 3},
    )
    manifest.write(UPath(tmp_path))
    return manifest


def test_batches_hold_so_many_rows_and_share_one_schema(manifest):
    batches = list(to_arrow_batches(manifest, batch_rows=2))
    assert [batch.num_rows for batch in batches] == [2, 1]
    assert batches[0].schema == batches[1].schema
    assert str(batches[0].schema.field("source_stars").type) == "double"


def test_a_data_frame_holds_all_rows_with_their_columns(manifest):
    frame = to_pandas(manifest.to_xcom())
    assert list(frame["text"]) == ["A", "B", "C"]
    assert frame["source_stars"].sum() == 4.5
    assert frame["input_tokens"].sum() == 15
