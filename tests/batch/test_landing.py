"""Finished jobs become files: complete, once, wherever the folder is."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from upath import UPath

from airflow_provider_batch.batch.decide.actions import Wait
from airflow_provider_batch.batch.land.publish import publish
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.kept_rows import results_of
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.batch.run import Run
from airflow_provider_batch.batch.work import Work
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.emulator import running_emulator
from airflow_provider_batch.errors import (
    BatchError,
    JobCancelledError,
    JobExpiredError,
    JobFailedError,
    LedgerError,
    ResultsNotReadyError,
    StorageError,
)
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.rows.manifest import Manifest
from airflow_provider_batch.rows.storage import ready
from faults.task import Task, ask
from tests.batch.conftest import failed_keys, read, statuses


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_every_row_is_landed_and_read_back(task):
    manifest = task.finish()
    assert manifest.counts == {"success": 3}
    assert sorted((row.key, row.text) for row in read(task, manifest)) == [
        (key, f"Answer to: hello {key}") for key in "abc"
    ]


def test_a_finished_task_that_runs_again_gives_the_same_manifest_and_asks_for_nothing(task, gemini_emulator):
    manifest = task.finish()
    calls = len(gemini_emulator.requests())
    assert task.finish() == manifest
    assert len(gemini_emulator.requests()) == calls


def test_a_visit_that_publishes_after_another_one_leaves_what_is_there(task):
    """Two workers of a task: the second has read the ledger before the first published and tidied up."""
    manifest = task.finish()
    before = files(task.folder)
    batch = read_batch(task.ledger)
    stale = replace(batch, rounds=(*batch.rounds[:-1], replace(batch.round, published=None)))
    assert publish(task.ledger, stale, task.folder, GeminiRows()) is None
    assert Manifest.read(task.folder) == manifest
    assert files(task.folder) == before


def test_landed_rows_that_are_gone_leave_what_is_published(task):
    task.finish()
    before = files(task.folder)
    batch = read_batch(task.ledger)
    with pytest.raises(LedgerError, match="AGB-L02 The landed rows"):
        publish(task.ledger, batch, task.folder, GeminiRows())
    assert files(task.folder) == before


@pytest.mark.parametrize("folder", ["local"], indirect=True)
def test_landed_rows_that_are_held_can_be_published_when_they_are_tidied_away(task):
    task.finish()
    shard = read_batch(task.ledger).round.shards[0]
    kept = task.ledger.path(shard.document(names.RESULTS))
    kept.write_bytes((task.folder / "results.jsonl").read_bytes())
    again = task.folder / "again.jsonl"
    with results_of(task.ledger, shard) as (file, path), ready(file, again, path) as put_in_place:
        kept.unlink()
        put_in_place()
    assert (task.folder / "again.jsonl").read_bytes() == (task.folder / "results.jsonl").read_bytes()


def test_a_download_that_breaks_off_publishes_nothing_and_the_next_try_lands_all(task, gemini_emulator, created):
    gemini_emulator.add_fault(call="files.download", action="status", status=403, message="no")
    with pytest.raises(BatchError, match="403"):
        task.finish()
    assert files(task.folder) == {}
    assert task.finish().counts == {"success": 3}
    assert len(created()) == 1


def test_rows_of_the_last_run_stay_until_those_of_the_next_are_complete(task, gemini_emulator):
    manifest = task.finish()
    before = files(task.folder)
    tuesday = another_run(task)
    gemini_emulator.add_fault(call="files.download", action="status", status=403, message="no")
    with pytest.raises(BatchError, match="403"):
        tuesday.finish()
    assert files(task.folder) == before
    assert len(list(read(task, manifest))) == 3


def another_run(task):
    from airflow_provider_batch.batch.ledger.job_names import Identity

    return task.but(identity=Identity("dag", "label", "tuesday"), rows=[ask("d")])


def test_a_reader_of_replaced_results_is_told_so(task):
    monday = task.finish()
    tuesday = another_run(task).finish()
    assert [row.key for row in read(task, tuesday)] == ["d"]
    with pytest.raises(BatchError, match=f"replaced by those of {tuesday.job_name}"):
        list(read(task, monday))


def test_the_ledger_of_replaced_results_goes_with_them(task):
    task.finish()
    before = task.ledger
    another_run(task).finish()
    assert before.names() == set()


def test_rows_without_a_result_line_are_landed_as_missing(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="drop", keys=["a", "c"], times=None)
    manifest = task.but(max_row_attempts=1).finish()
    assert manifest.counts == {"success": 1, "missing": 2}
    assert statuses(task) == {"a": "missing", "b": "success", "c": "missing"}
    assert failed_keys(task) == ["a", "c"]


def test_lines_for_no_row_go_to_quarantine_word_for_word(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="duplicate", keys=["a"])
    manifest = task.finish()
    quarantined = [json.loads(line) for line in files(task.folder)["quarantine.jsonl"].splitlines()]
    assert (manifest.quarantined, [line["key"] for line in quarantined]) == (1, ["a"])
    assert manifest.counts == {"success": 3}


@pytest.mark.parametrize(
    ("state", "error", "status"),
    [
        ("FAILED", JobFailedError, "error"),
        ("EXPIRED", JobExpiredError, "expired"),
        ("CANCELLED", JobCancelledError, "cancelled"),
    ],
)
def test_a_job_without_results_still_gives_every_row_a_status(task, gemini_emulator, state, error, status):
    gemini_emulator.add_fault(action="job", state=state, times=None)
    with pytest.raises(error, match="The batch job batches/"):
        task.but(max_row_attempts=1).finish()
    assert statuses(task) == dict.fromkeys("abc", status)
    assert failed_keys(task) == ["a", "b", "c"]


def test_what_a_cancelled_job_finished_is_landed_because_it_was_paid_for(tmp_path):
    rows = [ask(f"k{number}") for number in range(50)]
    with running_emulator(tmp_path / "emulator", job_seconds=3) as emulator:
        task = Task(emulator.base_url, UPath(tmp_path / "out"), rows)
        assert isinstance(task.attempt(), Wait)
        emulator.advance_clock(2)
        with task.service() as service:
            service.cancel(task.jobs[0])
        with pytest.raises(JobCancelledError, match="What finished is landed"):
            task.finish()
        (bill,) = emulator.bills().values()
    counts = Counter(statuses(task).values())
    assert set(counts) == {"success", "cancelled"}
    assert counts.total() == 50
    assert Manifest.read(task.folder).tokens.input == bill["input"]
    assert len(failed_keys(task)) == counts["cancelled"]


def test_failed_rows_can_be_fed_back_as_they_are(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], times=None)
    manifest = task.but(max_row_attempts=1).finish()
    gemini_emulator.clear_faults()
    assert manifest.failed_uri == str(task.folder / "failed.jsonl")
    again = another_run(task).but(rows=task.folder / "failed.jsonl", folder=task.folder / "again")
    assert again.finish().counts == {"success": 1}
    assert statuses(again) == {"b": "success"}


def test_a_complete_batch_without_failures_has_no_failed_file(task):
    manifest = task.finish()
    assert manifest.failed_uri is None
    assert set(files(task.folder)) == {"jobs.jsonl", "manifest.json", "results.jsonl"}


def test_copies_of_the_rows_are_gone_when_the_batch_is_complete(task):
    task.finish()
    assert not [name for name in task.ledger.names() if name.endswith(".jsonl")]


def test_uploads_are_deleted_after_landing_unless_they_are_to_stay(task, gemini_emulator):
    task.finish()
    deleted = [call for call in gemini_emulator.journal() if call["call"] == "files.delete"]
    assert len(deleted) == 1


def test_results_that_somebody_deleted_are_not_paid_for_again_unasked(task, created):
    task.finish()
    (task.folder / "manifest.json").unlink()
    with pytest.raises(BatchError, match=r"AGB-R11 .*says that the results are in"):
        task.finish()
    assert len(created()) == 1


def test_results_that_come_after_the_success_are_waited_for_without_holding_a_worker(task, gemini_emulator):
    gemini_emulator.add_fault(action="late_output", seconds=60)
    task.attempt()
    until_succeeded(task)
    result = task.resume()
    assert (result.jobs, result.names) == ((), ())
    gemini_emulator.advance_clock(60)
    assert task.finish().counts == {"success": 3}


def test_results_that_never_come_are_an_error_at_the_deadline_and_nothing_is_sent_again(
    task, gemini_emulator, created
):
    gemini_emulator.add_fault(action="late_output", seconds=100_000)
    task.attempt()
    until_succeeded(task)
    gemini_emulator.advance_clock(601)
    assert isinstance(task.resume(), Wait)
    gemini_emulator.advance_clock(86_400)
    with pytest.raises(ResultsNotReadyError, match="AGB-A05"):
        task.finish()
    assert len(created()) == 1


class Cancelled:
    """The service, as if jobs that succeed had been cancelled after their last row."""

    def __init__(self, service):
        self._service = service

    def __getattr__(self, name):
        return getattr(self._service, name)

    def look(self, name):
        job = self._service.look(name)
        return replace(job, state=JobState.CANCELLED, raw_state="BATCH_STATE_CANCELLED") if job.done else job


def test_what_a_cancelled_job_finished_is_waited_for_if_it_is_named_later(task, gemini_emulator, created):
    gemini_emulator.add_fault(action="late_output", seconds=60)
    task = task.but(wrap=Cancelled)
    task.attempt()
    until_succeeded(task)
    result = task.resume()
    assert (result.jobs, result.until is None) == ((), False)
    gemini_emulator.advance_clock(60)
    assert task.finish().counts == {"success": 3}
    assert len(created()) == 1


def test_a_cancelled_job_whose_results_never_come_is_landed_without_them(task, gemini_emulator):
    gemini_emulator.add_fault(action="late_output", seconds=40_000)
    task = task.but(wrap=Cancelled)
    task.attempt()
    until_succeeded(task)
    gemini_emulator.advance_clock(601)
    assert task.resume().manifest.counts == {"cancelled": 3}


def until_succeeded(task):
    with task.service() as service:
        while not service.look(task.jobs[0]).state.is_terminal:
            pass


def test_landed_rows_that_were_cut_off_are_not_published(gemini_emulator, tmp_path):
    folder = UPath(tmp_path / "out")
    task = Task(gemini_emulator.base_url, folder, [ask(key) for key in "abc"])
    (folder / "results.jsonl" / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError, match=r"AGB-L05 .*results\.jsonl"):
        task.finish()
    rows = task.ledger.path("r1.s1.results.jsonl")
    rows.write_bytes(rows.read_bytes()[:-10])
    (folder / "results.jsonl" / "in the way").rmdir()
    (folder / "results.jsonl").rmdir()
    with pytest.raises(
        LedgerError, match=r"AGB-L02 .* bytes instead of \d+\. Nothing was sent\. Delete r1\.s1\.landed\.json"
    ):
        task.finish()
    task.ledger.path("r1.s1.landed.json").unlink()
    assert task.finish().counts == {"success": 3}


def test_results_whose_transfer_breaks_off_again_and_again_are_landed_once(gemini_emulator, tmp_path):
    task = Task(gemini_emulator.base_url, UPath(tmp_path / "out"), [ask(f"k{number}") for number in range(2000)])
    gemini_emulator.add_fault(call="files.download", action="cut", bytes=100_003, times=3)
    manifest = task.finish()
    assert (manifest.counts, manifest.quarantined, manifest.rounds) == ({"success": 2000}, 0, 1)
    assert len(statuses(task)) == 2000


class Interrupted(GeminiRows):
    """Something else happens while the rows of a batch, which have landed, are put together."""

    def __init__(self, act, rows=3):
        super().__init__()
        self.act = act
        self.until = rows + 1

    def read_key(self, line):
        self.until -= 1
        if self.until == 0:
            self.act()
        return super().read_key(line)


def test_of_two_visits_that_publish_at_once_the_slower_one_leaves_what_is_there(task, gemini_emulator):
    """The other one has tidied up before this one has read everything."""
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], error={"code": 3, "message": "bad"})
    gemini_emulator.add_fault(action="rows", mutation="duplicate", keys=["a"])
    task.attempt()
    until_succeeded(task)
    slow, land_only = Interrupted(task.resume), replace(task.policy, is_new_try=False)
    with task.service() as service:
        manifest = Run(Work(service, task.ledger, task.folder, slow, land_only)).go().manifest
    assert manifest == Manifest.read(task.folder)
    assert [name for name in task.ledger.names() if name.endswith(".jsonl")] == []
    assert (manifest.counts, manifest.quarantined) == ({"success": 2, "error": 1}, 1)
    assert (task.folder / "quarantine.jsonl").exists()
    assert task.finish() == manifest


def test_a_batch_whose_landed_rows_are_not_all_its_rows_leaves_what_is_published(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    before = task.but(max_row_attempts=1).finish()
    batch = read_batch(task.ledger)
    more = replace(batch, plan=batch.plan.model_copy(update={"rows": 4}))
    with pytest.raises(LedgerError, match=r"AGB-L02 The landed rows in .* are 3 of 4"):
        publish(task.ledger, more, task.folder, GeminiRows())
    assert Manifest.read(task.folder) == before
    assert statuses(task)["b"] == "error"


def test_results_whose_file_is_gone_are_said_to_be_gone(task, created):
    task.finish()
    (task.folder / "results.jsonl").unlink()
    with pytest.raises(BatchError, match="AGB-R11"):
        task.finish()
    assert len(created()) == 1
