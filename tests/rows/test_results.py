"""Reading landed results in a downstream task."""

import msgspec
import pytest

from airflow_provider_batch.errors import BatchError, ConfigError
from airflow_provider_batch.rows.dialect import ResultRow, RowError, RowStatus, Usage
from airflow_provider_batch.rows.manifest import MAX_XCOM_BYTES, Manifest
from airflow_provider_batch.rows.results import read_results
from airflow_provider_batch.rows.write.parquet import write_parquet

ROWS = [
    ResultRow("a", RowStatus.SUCCESS, "hi", "STOP", Usage(1, 0, 2, 3), response=msgspec.Raw(b'{"x":[1]}')),
    ResultRow("b", RowStatus.MISSING, error=RowError(message="gone")),
]


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in ROWS))
    return Manifest(
        job_name="batches/a", model="m", result_uri=str(path), request_count=2, counts={"success": 1, "missing": 1}
    ).to_xcom()


def test_rows_come_back_typed_as_they_were_landed(manifest):
    first, second = read_results(manifest)
    assert (first.key, first.status, first.text, first.finish_reason) == ("a", RowStatus.SUCCESS, "hi", "STOP")
    assert first.usage == Usage(input=1, cached=0, output=2, thinking=3)
    assert msgspec.json.decode(first.response) == {"x": [1]}
    assert (second.status, second.error.message, second.text) == ("missing", "gone", None)


def test_a_row_with_a_text_of_fifty_megabytes_is_read_as_any_other(manifest, tmp_path):
    long = "x" * 50_000_000
    response = msgspec.Raw(msgspec.json.encode({"candidates": [{"content": {"parts": [{"text": long}]}}]}))
    rows = [ResultRow("a", RowStatus.SUCCESS, long, "STOP", response=response), ROWS[1]]
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    first, second = read_results(manifest)
    assert (first.text == long, second.key) == (True, "b")
    with path.open("rb") as lines, (tmp_path / "results.parquet").open("wb") as table:
        write_parquet(lines, table)
    first, second = read_results(manifest | {"result_uri": str(tmp_path / "results.parquet")})
    assert (first.text == long, second.key) == (True, "b")


def test_a_status_prints_as_its_word(manifest):
    status = next(read_results(manifest)).status
    assert (str(status), f"{status}", f"{status:>8}", f"{status!s}") == (
        "success",
        "success",
        " success",
        "success",
    )


def test_something_that_is_no_manifest_is_refused_before_a_row_is_read():
    with pytest.raises(ConfigError, match=r"not a manifest of a batch \(wrong: job_name"):
        read_results({"counts": {}})


def test_a_result_file_that_is_gone_is_named(manifest):
    with pytest.raises(BatchError, match=r"results\.jsonlx: the file of batches/\w+ is gone"):
        list(read_results(manifest | {"result_uri": manifest["result_uri"] + "x"}))


def test_a_result_file_with_fewer_rows_than_promised_is_noticed(manifest):
    with pytest.raises(BatchError, match="2 rows where the manifest says 3"):
        list(read_results(manifest | {"request_count": 3}))


def test_a_damaged_line_is_named(manifest, tmp_path):
    (tmp_path / "results.jsonl").write_bytes(b'{"key":"a","status":"success"}\nhalf')
    with pytest.raises(BatchError, match="line 2 is not a result row"):
        list(read_results(manifest))


def test_what_there_is_not_is_none_and_never_a_missing_name(manifest, tmp_path):
    (tmp_path / "manifest.json").write_bytes(Manifest.load(manifest).to_file())
    on_disk = msgspec.json.decode((tmp_path / "manifest.json").read_bytes())
    assert on_disk == manifest
    assert set(manifest) == set(Manifest.model_fields)
    names = ("cost_usd", "standard_usd", "failed_uri", "quarantine_uri", "landed_at")
    assert [manifest[name] for name in names] == [None] * 5


def test_a_manifest_with_every_status_and_a_long_path_fits_into_xcom():
    manifest = Manifest(
        job_name="batches/" + "a" * 36,
        model="gemini-2.5-flash-lite-preview",
        result_uri="s3://connection@bucket/" + "d" * 400 + "/results.jsonl",
        request_count=10**9,
        counts=dict.fromkeys(RowStatus, 10**9),
        quarantine_uri="s3://connection@bucket/" + "d" * 400 + "/quarantine.jsonl",
        quarantined=10**9,
        submitted_at="2026-11-23T00:00:00Z",
        landed_at="2026-11-24T00:00:00Z",
    )
    assert len(msgspec.json.encode(manifest.to_xcom())) < MAX_XCOM_BYTES


def test_a_store_that_airflow_does_not_know_is_named(manifest):
    from airflow.sdk import ObjectStoragePath

    elsewhere = manifest | {"result_uri": "memory://bucket/results.jsonl"}
    with pytest.raises(BatchError, match=r"AGB-R11 .*: they cannot be opened .*memory"):
        list(read_results(elsewhere, path_type=ObjectStoragePath))
