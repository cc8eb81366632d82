"""A finished job becomes files: complete, once, wherever the folder is."""

from __future__ import annotations

import json
import time
from io import BytesIO

import pytest
from upath import UPath

from airflow_provider_batch.engine.claim import Claim
from airflow_provider_batch.engine.identity import Identity
from airflow_provider_batch.engine.land import land
from airflow_provider_batch.engine.submit import StagedRows, Submission, find_or_submit
from airflow_provider_batch.errors import BatchError, ConfigError
from airflow_provider_batch.gemini.auth import ApiKey
from airflow_provider_batch.gemini.client import GeminiClient
from airflow_provider_batch.gemini.rows import GeminiRows
from airflow_provider_batch.gemini.service import GeminiBatchService
from airflow_provider_batch.gemini.transport import Endpoint
from airflow_provider_batch.rows.keys import KeyTable
from airflow_provider_batch.rows.results import read_results
from airflow_provider_batch.rows.staging import stage

MODEL = "gemini-2.5-flash"


@pytest.fixture
def service(gemini_emulator):
    with GeminiClient(Endpoint(ApiKey("k"), base_url=gemini_emulator.base_url)) as client:
        yield GeminiBatchService(client)


@pytest.fixture(params=["local", "object storage"])
def folder(request, tmp_path):
    if request.param == "local":
        return UPath(tmp_path / "out")
    return UPath(f"memory://bucket{tmp_path}/out")


def submit(service, folder, *keys, run="run", task="label"):
    """Submit rows as a task instance would, wait for the job, and return the submission."""
    identity = Identity("dag", task, run)
    source = [{"key": key, "request": {"contents": [{"parts": [{"text": key}]}]}} for key in keys]
    with KeyTable() as table:
        file = BytesIO()
        staged = stage(source, GeminiRows(), file, table)
        rows = StagedRows(file, table, staged)
        job = find_or_submit(service, identity, MODEL, rows, Claim(folder, identity.mark))
    while not service.look(job.name).state.is_terminal:
        time.sleep(0.05)
    return Submission(
        job_name=job.name,
        model=MODEL,
        display_name=job.display_name,
        result_path=str(folder),
        request_count=staged.requests,
    )


def landed(service, folder, submission):
    return land(service, submission, GeminiRows(), folder)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def created(emulator):
    return [call["batch"] for call in emulator.journal() if call["call"] == "batches.create"]


def test_every_row_is_landed_and_read_back(service, folder):
    manifest = landed(service, folder, submit(service, folder, "a", "b", "c"))
    assert manifest.counts == {"success": 3}
    assert sorted((row.key, row.text) for row in read_results(manifest)) == [
        (key, f"Answer to: {key}") for key in "abc"
    ]


def test_landing_again_gives_the_same_rows_and_pays_nothing(service, folder, gemini_emulator):
    submission = submit(service, folder, "a", "b")
    landed(service, folder, submission)
    before = files(folder)["results.jsonl"]
    landed(service, folder, submission)
    assert files(folder)["results.jsonl"] == before
    assert len(created(gemini_emulator)) == 1


def test_a_download_that_breaks_off_publishes_nothing_and_the_next_try_lands_all(service, folder, gemini_emulator):
    submission = submit(service, folder, "a", "b")
    gemini_emulator.add_fault(call="files.download", action="status", status=403, message="no")
    with pytest.raises(BatchError, match="403"):
        landed(service, folder, submission)
    assert set(files(folder)) == {Claim.of_job(folder, submission.display_name).path.name}
    assert landed(service, folder, submission).counts == {"success": 2}


def test_results_of_before_stay_as_they_are_until_new_ones_are_complete(service, folder, gemini_emulator):
    submission = submit(service, folder, "a", "b")
    manifest = landed(service, folder, submission)
    before = files(folder)
    gemini_emulator.add_fault(call="files.download", action="status", status=403, message="no")
    with pytest.raises(BatchError, match="403"):
        landed(service, folder, submission)
    assert files(folder) == before
    assert len(list(read_results(manifest))) == 2


def test_a_reader_of_replaced_results_is_told_so(service, folder):
    monday = landed(service, folder, submit(service, folder, "a", run="monday"))
    tuesday = landed(service, folder, submit(service, folder, "b", run="tuesday"))
    assert [row.key for row in read_results(tuesday)] == ["b"]
    with pytest.raises(BatchError, match=f"replaced by those of {tuesday.job_name}"):
        list(read_results(monday))


def test_a_folder_that_awaits_others_is_refused_before_any_upload(service, folder, gemini_emulator):
    first = submit(service, folder, "a", task="first")
    calls = len(gemini_emulator.journal())
    with pytest.raises(ConfigError, match="AGB-C09"):
        submit(service, folder, "b", task="second")
    assert len(gemini_emulator.journal()) == calls
    assert landed(service, folder, first).counts == {"success": 1}


@pytest.mark.parametrize("call", ["files.upload.start", "batches.create"])
def test_a_submission_that_was_refused_leaves_nothing_in_the_folder(service, folder, gemini_emulator, call):
    gemini_emulator.add_fault(call=call, action="status", status=403, message="no", times=None)
    with pytest.raises(BatchError, match="403"):
        submit(service, folder, "a")
    assert files(folder) == {}


def test_a_job_whose_answer_was_lost_is_landed_from_its_keys(service, folder, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    submission = submit(service, folder, "a", "b")
    assert [submission.job_name] == created(gemini_emulator)
    assert landed(service, folder, submission).counts == {"success": 2}


def test_a_folder_that_was_emptied_is_filled_again_by_the_next_try(service, folder, gemini_emulator):
    landed(service, folder, submit(service, folder, "a", "b"))
    for path in list(folder.iterdir()):
        path.unlink()
    assert landed(service, folder, submit(service, folder, "a", "b")).counts == {"success": 2}
    assert len(created(gemini_emulator)) == 1


def test_rows_without_a_result_line_are_landed_as_missing(service, folder, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="drop", keys=["a", "c"])
    manifest = landed(service, folder, submit(service, folder, "a", "b", "c"))
    assert manifest.counts == {"success": 1, "missing": 2}
    assert {row.key: row.status for row in read_results(manifest)} == {
        "a": "missing",
        "b": "success",
        "c": "missing",
    }


def test_lines_for_no_row_go_to_quarantine_word_for_word(service, folder, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="duplicate", keys=["a"])
    manifest = landed(service, folder, submit(service, folder, "a", "b"))
    quarantined = [json.loads(line) for line in files(folder)["quarantine.jsonl"].splitlines()]
    assert (manifest.quarantined, [line["key"] for line in quarantined]) == (1, ["a"])
    assert manifest.counts == {"success": 2}


def test_a_file_that_cannot_be_deleted_does_not_hide_why_the_job_was_refused(service, folder, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="status", status=403, message="billing is off")
    gemini_emulator.add_fault(call="files.delete", action="status", status=500, times=None)
    with pytest.raises(BatchError, match="billing is off"):
        submit(service, folder, "a")
