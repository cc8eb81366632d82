"""Jobs that another program has submitted, landed by their names."""

from __future__ import annotations

import io
import json

import httpx
import pytest

from airflow_provider_batch.errors import ConfigError, JobError
from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.operators.fetch import GeminiBatchFetchResultsOperator
from airflow_provider_batch.rows.results import read_results
from tests.airflow.conftest import ask
from tests.airflow.tries import run_try

MODEL = "gemini-2.5-flash"


@pytest.fixture
def client(connection, gemini_emulator):
    with GeminiBatchHook().get_conn() as client:
        yield client


@pytest.fixture
def inline(client):
    """Submit rows with these keys within the call, as a script does."""

    def submit(*keys):
        rows = [InlineRequest(request=ask(str(key)), key=key) for key in keys]
        return client.create_batch(MODEL, "research.one", requests=rows).name

    return submit


@pytest.fixture
def uploaded(client):
    def submit(*keys):
        lines = "".join(json.dumps({"key": key, "request": ask(key)}) + "\n" for key in keys).encode()
        file = client.upload_file(io.BytesIO(lines), len(lines), "research")
        return client.create_batch(MODEL, "research.two", file_name=file.name).name

    return submit


def landing(job, folder, **arguments):
    return GeminiBatchFetchResultsOperator(
        task_id="land", job_name=job, result_path=str(folder / "out"), **arguments
    )


def land(job, folder, **arguments):
    return run_try(landing(job, folder, **arguments), until_ready=True)


def calls(emulator, name):
    return [entry for entry in emulator.journal() if entry["call"] == name]


@pytest.mark.parametrize("how", ["inline", "uploaded"])
def test_the_results_of_another_program_land_as_those_of_our_own(request, how, tmp_path, gemini_emulator):
    job = request.getfixturevalue(how)("a", "b")
    manifest = land(job, tmp_path)
    assert (manifest["job_name"], manifest["model"], manifest["counts"]) == (job, MODEL, {"success": 2})
    assert (manifest["request_count"], manifest["failed_uri"]) == (2, None)
    assert manifest["cost_usd"] > 0
    assert {row.key: "hello" in row.text for row in read_results(manifest)} == {"a": True, "b": True}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    assert calls(gemini_emulator, "files.delete") == []


def test_landing_twice_changes_nothing_and_fetches_nothing(inline, tmp_path, gemini_emulator):
    job = inline("a", "b")
    first = land(job, tmp_path)
    written = (tmp_path / "out" / "results.jsonl").stat().st_mtime_ns
    assert land(job, tmp_path) == first
    assert (tmp_path / "out" / "results.jsonl").stat().st_mtime_ns == written
    assert len(calls(gemini_emulator, "batches.create")) == 1


def test_rows_without_a_key_get_their_number(connection, tmp_path, gemini_emulator):
    rows = {"requests": {"requests": [{"request": ask(word)} for word in ("one", "two", "three")]}}
    created = httpx.post(
        f"{gemini_emulator.base_url}/v1beta/models/{MODEL}:batchGenerateContent",
        headers={"x-goog-api-key": "test-key"},
        json={"batch": {"displayName": "of the SDK", "inputConfig": rows}},
    )
    manifest = land(created.json()["name"], tmp_path)
    assert {row.key for row in read_results(manifest)} == {"1", "2", "3"}


def test_answers_are_checked_for_the_output_type_that_is_given(inline, tmp_path):
    schema = {"type": "object", "properties": {"stars": {"type": "integer"}}, "required": ["stars"]}
    with pytest.raises(Exception, match="AGB-R02"):
        land(inline("a"), tmp_path, output_type=schema)
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [row["status"] for row in rows] == ["invalid_output"]


def test_a_row_that_failed_there_is_an_error_here(inline, tmp_path, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], times=None)
    manifest = land(inline("a", "b"), tmp_path)
    assert manifest["counts"] == {"success": 1, "error": 1}
    assert (tmp_path / "out" / "failed.jsonl").read_text() == '{"key":"b"}\n'


def test_a_job_that_runs_is_not_landed(inline, tmp_path, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK")
    with pytest.raises(JobError, match="AGB-J04"):
        run_try(landing(inline("a"), tmp_path))
    assert not (tmp_path / "out").exists()


def test_a_job_that_failed_without_results_fails_the_task_with_its_reason(inline, tmp_path, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK")
    job = inline("a")
    gemini_emulator.force_job(job, state="BATCH_STATE_FAILED", error={"code": 13, "message": "broke"})
    with pytest.raises(JobError, match=r"AGB-J01.*broke"):
        run_try(landing(job, tmp_path))
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_another_job_of_a_cleared_task_takes_the_place_of_the_first(inline, tmp_path):
    land(inline("a"), tmp_path)
    manifest = land(inline("c", "d"), tmp_path)
    assert {row.key for row in read_results(manifest)} == {"c", "d"}


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({}, "AGB-C06 Give submission or job_name"),
        ({"job_name": "batches/a", "result_path": "/o", "submission": {"job_name": "batches/a"}}, "not both"),
        ({"job_name": "batches/a"}, "job_name needs result_path"),
        ({"submission": {}, "result_path": "/o"}, "job_name needs result_path"),
        ({"job_name": "a", "result_path": "/o"}, "AGB-C08 job_name must be the name of a job"),
        ({"job_name": "batches/a", "result_path": "out"}, "AGB-C08 result_path 'out' must be an absolute path"),
        ({"job_name": "batches/a", "result_path": "/o", "output_format": "csv"}, "output_format must be one of"),
        ({"submission": 3}, "AGB-C06 submission must be a dict, got 3"),
    ],
)
def test_arguments_that_cannot_be_meant_are_an_import_error_of_the_dag(arguments, what):
    with pytest.raises(ConfigError) as caught:
        GeminiBatchFetchResultsOperator(task_id="land", **arguments)
    assert what in str(caught.value)
