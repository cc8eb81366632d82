"""Results as Arrow batches and data frames."""

import json

import msgspec
import pytest

from airflow_provider_batch.errors import BatchError
from airflow_provider_batch.rows.dialect import ResultRow, RowStatus, Usage
from airflow_provider_batch.rows.frames import to_arrow_batches, to_pandas
from airflow_provider_batch.rows.manifest import Manifest
from airflow_provider_batch.rows.write.parquet import read_parquet, write_parquet


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
    return manifest


@pytest.mark.parametrize(
    "usage", [Usage(input=9, cached=1, output=2, thinking=3, audio=4), Usage(), None], ids=repr
)
def test_a_parquet_file_gives_back_tokens_of_every_kind_or_none(tmp_path, usage):
    with (tmp_path / "rows.jsonl").open("w+b") as lines, (tmp_path / "rows.parquet").open("w+b") as table:
        lines.write(msgspec.json.encode(ResultRow("a", RowStatus.SUCCESS, usage=usage)) + b"\n")
        write_parquet(lines, table, None)
        table.seek(0)
        assert [row.usage for row in read_parquet(table)] == [usage]


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


STARS = {"type": "object", "properties": {"stars": {"type": "integer"}}}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_answers_of_an_output_type_are_typed_columns_whatever_the_file(tmp_path, form):
    rows = [{"key": key, "status": "success", "parsed": {"stars": n}} for n, key in enumerate("abc")]
    lines = tmp_path / "results.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if form == "parquet":
        with lines.open("rb") as source, (tmp_path / "results.parquet").open("wb") as out:
            write_parquet(source, out, STARS)
    manifest = Manifest(
        job_name="batches/x",
        model="m",
        result_uri=str(tmp_path / f"results.{form}"),
        request_count=3,
        counts={"success": 3},
    )
    assert list(to_pandas(manifest, STARS)["parsed_stars"]) == [0, 1, 2]
    short = manifest.model_copy(update={"request_count": 4})
    with pytest.raises(BatchError, match="3 rows where the manifest says 4"):
        list(to_arrow_batches(short))
