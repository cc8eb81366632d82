"""What was paid for and nobody took is found, and taken without spending anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import pytest
from upath import UPath

from airflow_provider_batch.batch.cost.lifetime import results_until
from airflow_provider_batch.batch.decide.actions import Wait
from airflow_provider_batch.batch.decide.call_rules import CallRules
from airflow_provider_batch.batch.ledger.documents import Layout
from airflow_provider_batch.batch.ledger.job_names import Identity, JobTag
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.batch.live.notes import NoteWriter, Window, read_notes
from airflow_provider_batch.batch.sweep import Kind, prune, reconcile, sweep
from airflow_provider_batch.contract import JobSnapshot, JobState
from airflow_provider_batch.errors import BatchError
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from faults.task import MODEL, Task, ask
from tests.batch.conftest import failed_keys, statuses


@pytest.fixture
def lake(tmp_path):
    """Above the result folders of several tasks."""
    return UPath(tmp_path / "lake")


@pytest.fixture
def nightly(gemini_emulator, lake):
    """Make a task whose results go to a folder of its own."""

    def make(run):
        return Task(gemini_emulator.base_url, lake / run, [ask(k) for k in "abc"], Identity("dag", "label", run))

    return make


def found(task, lake):
    with task.service() as service:
        return reconcile(service, [lake]).findings


def swept(task, lake, abandoned_s=-1.0):
    with task.service() as service:
        return sweep(service, [lake], GeminiRows(), abandoned_s=abandoned_s)


def until_done(task, job):
    with task.service() as service:
        while not service.look(job).state.is_terminal:
            pass


def test_where_every_batch_has_landed_there_is_nothing_to_say(nightly, lake):
    for run in ("monday", "tuesday"):
        nightly(run).finish()
    assert found(nightly("monday"), lake) == ()


def test_a_paid_job_that_nobody_landed_is_found_with_the_hours_that_are_left(nightly, lake, gemini_emulator):
    task = nightly("monday")
    assert isinstance(task.attempt(), Wait)
    until_done(task, task.jobs[0])
    gemini_emulator.advance_clock(30 * 3600)
    (finding,) = found(task, lake)
    assert (finding.kind, finding.job, finding.ledger) == (Kind.UNLANDED, task.jobs[0], str(task.ledger.folder))
    assert finding.hours_left == pytest.approx(18, abs=0.1)


@pytest.mark.parametrize(("state", "hours"), [(JobState.SUCCEEDED, 28), (JobState.RUNNING, None)])
def test_results_are_kept_from_the_end_of_a_job_not_from_its_submission(state, hours):
    submitted = datetime(2026, 5, 4, tzinfo=timezone.utc)
    job = JobSnapshot("batches/a", state, "", created_at=submitted, ended_at=submitted + timedelta(hours=20))
    now = submitted + timedelta(hours=40)
    until = results_until(job, life_s=48 * 3600.0)
    assert (None if until is None else (until - now.timestamp()) / 3600) == hours


def test_a_job_that_does_not_say_when_it_ended_is_counted_from_its_submission():
    submitted = datetime(2026, 5, 4, tzinfo=timezone.utc)
    job = JobSnapshot("batches/a", JobState.SUCCEEDED, "", created_at=submitted)
    assert results_until(job, life_s=48 * 3600.0) == submitted.timestamp() + 48 * 3600
    assert results_until(JobSnapshot("batches/a", JobState.SUCCEEDED, ""), life_s=48 * 3600.0) is None


def test_a_sweep_lands_it_and_sends_nothing(nightly, lake, created, gemini_emulator):
    task = nightly("monday")
    task.attempt()
    until_done(task, task.jobs[0])
    report = swept(task, lake)
    assert (report.landed, report.findings) == ((str(lake / "monday" / "results.jsonl"),), ())
    assert statuses(task) == dict.fromkeys("abc", "success")
    assert len(created()) == 1


def test_a_sweep_leaves_a_batch_to_its_task_for_a_while(nightly, lake):
    task = nightly("monday")
    task.attempt()
    until_done(task, task.jobs[0])
    report = swept(task, lake, abandoned_s=3600)
    assert (report.landed, [f.kind for f in report.findings]) == ((), [Kind.UNLANDED])


def test_a_sweep_does_not_touch_a_job_that_runs(nightly, lake, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK")
    task = nightly("monday")
    task.attempt()
    report = swept(task, lake)
    assert (report.landed, report.findings) == ((), ())


def test_a_sweep_notes_a_job_whose_answer_was_lost_and_lands_it(nightly, lake, gemini_emulator, created):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    gemini_emulator.add_fault(action="hide", seconds=0.4)
    task = nightly("monday")
    task.attempt()
    assert [f.kind for f in found(task, lake)] == [Kind.UNRESOLVED]
    gemini_emulator.advance_clock(60)
    until_done(task, created()[0])
    assert swept(task, lake).findings == ()
    assert statuses(task) == dict.fromkeys("abc", "success")


def test_rows_that_a_sweep_cannot_send_again_are_left_in_failed_rows(nightly, lake, gemini_emulator, created):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    task = nightly("monday")
    task.attempt()
    until_done(task, task.jobs[0])
    swept(task, lake)
    assert failed_keys(task) == ["b"]
    assert len(created()) == 1


def test_a_task_that_comes_back_after_a_sweep_goes_on_where_it_stopped(nightly, lake, gemini_emulator, created):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    task = nightly("monday")
    task.attempt()
    until_done(task, task.jobs[0])
    swept(task, lake)
    assert task.finish().counts == {"success": 3}
    assert len(created()) == 2


def test_two_jobs_for_the_same_rows_are_reported(nightly, lake, gemini_emulator):
    task = nightly("monday")
    task.finish()
    with task.service() as service:
        (job,) = service.find("agb1.").jobs
        twin = JobTag.read(job.display_name).new_display_name()
        content = json.dumps(ask("a")).encode() + b"\n"
        from io import BytesIO

        class NoSession:
            load, save = (lambda self: None), (lambda self, address: None)

        file = service.stage(BytesIO(content), len(content), twin, NoSession())
        service.submit(MODEL, file.name, twin)
    kinds = {finding.kind for finding in found(task, lake)}
    assert kinds == {Kind.DUPLICATE, Kind.ORPHAN}


def test_a_job_that_no_ledger_knows_is_reported_while_its_results_can_be_fetched(nightly, lake, gemini_emulator):
    task = nightly("monday")
    task.finish()
    elsewhere = lake / "tuesday"
    assert [f.kind for f in found(task, elsewhere)] == [Kind.ORPHAN]
    gemini_emulator.advance_clock(49 * 3600)
    assert found(task, elsewhere) == ()


def test_results_that_a_later_run_replaced_are_no_orphans(nightly, lake):
    monday = nightly("monday")
    monday.finish()
    monday.but(identity=Identity("dag", "label", "tuesday"), rows=[ask("d")]).finish()
    assert found(monday, lake) == ()


def test_a_job_that_the_server_does_not_know_any_more_is_reported(nightly, lake, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK")
    task = nightly("monday")
    task.attempt()
    gemini_emulator.force_job(task.jobs[0], state="FORGOTTEN")
    assert [f.kind for f in found(task, lake)] == [Kind.GONE]


def test_a_damaged_ledger_is_reported_and_the_others_are_still_read(nightly, lake):
    nightly("monday").finish()
    tuesday = nightly("tuesday")
    tuesday.finish()
    tuesday.ledger.path("plan.json").write_text("{")
    folder = lake / "tuesday" / "_ledger" / tuesday.identity.task_digest / "1"
    first, *_ = found(tuesday, lake)
    assert (first.kind, first.ledger) == (Kind.DAMAGED, str(folder))


def test_a_listing_that_breaks_off_says_nothing(nightly, lake, gemini_emulator):
    nightly("monday").finish()
    gemini_emulator.add_fault(call="batches.list", action="status", status=403, times=None)
    with pytest.raises(BatchError, match="403"):
        found(nightly("monday"), lake)


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "airflow_provider_batch.cli", *arguments],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=False,
    )


def test_the_command_tells_a_monitor_by_its_exit_status(nightly, lake, connection):
    task = nightly("monday")
    task.attempt()
    until_done(task, task.jobs[0])
    told = command("reconcile", str(lake))
    assert told.returncode == 1, told.stderr
    assert f"unlanded    {task.jobs[0]} is BATCH_STATE_SUCCEEDED and has not landed. 48 h" in told.stdout
    done = command("sweep", str(lake), "--older-than-hours", "0", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["landed"] == [str(lake / "monday" / "results.jsonl")]
    assert command("reconcile", str(lake), "--conn-id", "nowhere").returncode == 2


def test_a_sweep_leaves_remote_files_where_the_task_wants_them_kept(nightly, lake, gemini_emulator):
    task = nightly("monday").but(layout=Layout(keeps_remote_files=True))
    task.attempt()
    until_done(task, task.jobs[0])
    assert len(swept(task, lake).landed) == 1
    assert [call for call in gemini_emulator.journal() if call["call"] == "files.delete"] == []


def test_a_sweep_collects_no_evidence_against_a_job_that_its_credential_may_not_see(
    nightly, lake, gemini_emulator
):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    gemini_emulator.add_fault(action="hide", seconds=60)
    task = nightly("monday")
    task.attempt()
    gemini_emulator.advance_clock(30)
    before = task.ledger.names()
    swept(task, lake)
    assert task.ledger.names() == before


def test_jobs_that_other_rows_have_superseded_are_known(nightly, lake, gemini_emulator):
    task = nightly("monday")
    task.finish()
    task.but(rows=[ask("z")], on_content_change="cancel_and_resubmit").finish()
    assert found(task, lake) == ()


def test_a_ledger_of_another_credential_is_named_and_passed_over(nightly, lake, gemini_emulator):
    ours, theirs = nightly("monday"), nightly("tuesday").but(account="of another project")
    ours.attempt()
    theirs.attempt()
    # The jobs of another project are in no listing of this one.
    gemini_emulator.force_job(theirs.jobs[0], state="FORGOTTEN")
    with ours.service() as service:
        report = reconcile(service, [lake], account="account")
        swept_ = sweep(service, [lake], GeminiRows(), account="account", abandoned_s=-1.0)
    assert report.passed_over == swept_.passed_over == (str(theirs.ledger.folder),)
    assert report.ledgers == 1
    assert [finding.kind for finding in report.findings if finding.ledger] == []


def test_a_job_that_only_the_listing_does_not_show_is_not_called_gone(nightly, lake, gemini_emulator):
    gemini_emulator.add_fault(action="hide", seconds=3_600)
    task = nightly("monday")
    task.attempt()
    assert found(task, lake) == ()


def test_a_job_that_is_gone_is_no_reason_to_delete_its_ledger(nightly, lake, gemini_emulator):
    task = nightly("monday")
    task.attempt()
    gemini_emulator.force_job(task.jobs[0], state="FORGOTTEN")
    (finding,) = found(task, lake)
    assert finding.kind is Kind.GONE
    assert "Keep its ledger" in finding.text


def test_what_a_killed_visit_left_is_deleted_by_the_sweep(nightly, lake):
    task = nightly("monday")
    task.finish()
    ledger = task.ledger
    ledger.path("r1.tidied.json").unlink()
    ledger.path("r1.s1.results.jsonl").write_text("a copy")
    assert swept(task, lake).landed == ()
    assert "r1.tidied.json" in task.ledger.names()
    assert [name for name in task.ledger.names() if name.endswith(".jsonl")] == []


def test_old_ledgers_are_pruned_and_what_was_paid_for_is_remembered(nightly, lake, created):
    old, running = nightly("monday"), nightly("tuesday")
    manifest = old.finish()
    running.attempt()
    home = str(old.ledger.folder.parent)
    now = datetime.now(timezone.utc)
    assert prune([lake], now - timedelta(days=1)) == []
    assert prune([lake], now + timedelta(seconds=1), is_tried=True) == [home]
    assert prune([lake], now + timedelta(seconds=1)) == [home]
    assert not UPath(home).exists()
    assert statuses(old) == dict.fromkeys("abc", "success")
    with pytest.raises(BatchError, match="AGB-S09"):
        old.attempt()
    assert len(created()) == 2
    assert old.but(on_content_change="cancel_and_resubmit").finish().counts == manifest.counts
    assert running.finish().counts == {"success": 3}


@pytest.fixture
def rescued(nightly, gemini_emulator):
    """A task whose only job does not end when it is asked to: single calls answer its rows."""
    gemini_emulator.add_fault(call="batches.cancel", action="status", status=200, body={}, times=None)
    calls = CallRules(requests_per_minute=60_000, tokens_per_minute=10_000_000)
    task = nightly("monday").but(calls=calls, timeout_s=3600.0, at_timeout="answer")
    task.attempt()
    gemini_emulator.force_job(task.jobs[0], state="STUCK")
    gemini_emulator.advance_clock(3605)
    task.attempt()
    gemini_emulator.advance_clock(901)
    assert task.finish().jobs_left_running == 1
    return task


def test_a_job_that_runs_on_beside_its_called_rows_is_found_while_it_can_be_ended(rescued, lake):
    (finding,) = found(rescued, lake)
    assert (finding.kind, finding.job, finding.hours_left) == (Kind.RAN_ON, rescued.jobs[0], None)
    assert f"airflow-batch cancel {rescued.jobs[0]}" in finding.text


def test_what_such_a_job_has_finished_is_billed_twice_and_can_be_looked_at(rescued, lake, gemini_emulator):
    gemini_emulator.force_job(rescued.jobs[0], state="SUCCEEDED")
    (finding,) = found(rescued, lake)
    assert (finding.kind, round(finding.hours_left)) == (Kind.RAN_ON, 48)
    assert "It has finished 3 of them: these are billed twice." in finding.text
    gemini_emulator.advance_clock(49 * 3600)
    assert found(rescued, lake) == ()


def test_such_a_job_that_ended_with_nothing_is_no_finding(rescued, lake, gemini_emulator):
    gemini_emulator.force_job(rescued.jobs[0], state="CANCELLED")
    assert found(rescued, lake) == ()


def test_lost_calls_and_answers_to_answered_rows_are_counted_for_two_days(nightly, lake, gemini_emulator):
    calls = CallRules(requests_per_minute=60_000, tokens_per_minute=10_000_000)
    task = nightly("monday").but(calls=calls, trial_rows=3, may_call=True)
    task.finish()
    assert found(task, lake) == ()
    path = task.ledger.path("r0.s1.landed.json")
    said = json.loads(path.read_text()) | {"lost_calls": 2, "lost_usd": 0.5, "called_again": 1}
    path.write_text(json.dumps(said))
    lost, again = found(task, lake)
    assert (lost.kind, again.kind) == (Kind.LOST, Kind.AGAIN)
    assert lost.text.startswith("2 single calls of the trial may have been billed without an answer, USD 0.5000")
    assert again.text.startswith("1 answer of the trial came to rows that had one.")
    gemini_emulator.advance_clock(49 * 3600)
    assert found(task, lake) == ()


QUICKLY = CallRules(requests_per_minute=60_000, tokens_per_minute=10_000_000)
CALL = "models.generateContent"


@pytest.fixture
def cut_off(gemini_emulator):
    """End a visit of a task after one answer, with its round open."""

    def cut(task):
        gemini_emulator.add_fault(call=CALL, action="status", status=401, after=1, times=None)
        with pytest.raises(BatchError, match="401"):
            task.finish()
        gemini_emulator.clear_faults()
        return task

    return cut


@pytest.fixture
def half_rescued(nightly, gemini_emulator, cut_off):
    """A task whose rescue broke off after one answer. Its calls may go on for a while."""
    task = nightly("monday").but(calls=QUICKLY, timeout_s=3600.0, at_timeout="answer")
    task.attempt()
    gemini_emulator.force_job(task.jobs[0], state="STUCK")
    gemini_emulator.advance_clock(3605)
    return cut_off(task)


@pytest.fixture
def half_tried(nightly, cut_off):
    """A task whose trial broke off after one answer."""
    return cut_off(nightly("monday").but(calls=QUICKLY, trial_rows=2))


def leased(task, shard, gemini_emulator):
    """Let a worker take the lease of a shard and be gone."""
    with task.service() as service:
        service.ask_time()
        writer = NoteWriter(
            task.ledger,
            shard,
            read_notes(task.ledger, shard),
            lambda: datetime.fromtimestamp(service.now(), timezone.utc),
            lease_s=180,
        )
        assert writer.take(Window(2))


def test_a_rescue_that_pauses_is_left_to_its_task(half_rescued, lake, gemini_emulator):
    report = swept(half_rescued, lake)
    assert (report.landed, report.findings) == ((), ())
    assert half_rescued.finish().counts == {"success": 3}
    assert len(gemini_emulator.billed_calls()) == 3


def test_a_rescue_whose_task_is_gone_is_found_and_its_answers_are_landed(half_rescued, lake, gemini_emulator):
    gemini_emulator.advance_clock(3600)
    (finding,) = found(half_rescued, lake)
    assert (finding.kind, finding.ledger) == (Kind.UNLANDED, str(half_rescued.ledger.folder))
    assert finding.text.startswith("Not landed: 1 answer of the rescue, noted by a worker that is gone. Run")
    report = swept(half_rescued, lake)
    assert (report.landed, report.findings) == ((str(lake / "monday" / "results.jsonl"),), ())
    assert sorted(statuses(half_rescued).values()) == ["expired", "expired", "success"]
    assert len(gemini_emulator.billed_calls()) == 1


def test_a_worker_that_is_gone_in_a_rescue_is_found_when_its_lease_is_over(half_rescued, lake, gemini_emulator):
    (shard,) = read_batch(half_rescued.ledger).round.shards
    leased(half_rescued, shard, gemini_emulator)
    assert found(half_rescued, lake) == ()
    gemini_emulator.advance_clock(181)
    (finding,) = found(half_rescued, lake)
    assert "2 more calls may have been billed, at most." in finding.text
    gemini_emulator.advance_clock(3600)
    assert [one.kind for one in swept(half_rescued, lake).findings] == [Kind.LOST]


def test_a_trial_that_broke_off_is_landed_and_its_task_goes_on_from_there(
    half_tried, lake, gemini_emulator, created
):
    assert found(half_tried, lake) == ()
    gemini_emulator.advance_clock(61)
    (finding,) = found(half_tried, lake)
    assert "1 answer of the trial, noted by a worker that is gone. No batch was sent." in finding.text
    report = swept(half_tried, lake)
    assert (report.landed, report.kept, report.findings) == ((), (str(half_tried.ledger.folder),), ())
    assert swept(half_tried, lake).kept == ()
    assert half_tried.finish().counts == {"success": 3}
    assert (len(gemini_emulator.billed_calls()), len(created())) == (1, 2)


def test_a_trial_of_all_rows_that_broke_off_is_published(nightly, cut_off, lake, gemini_emulator, created):
    task = cut_off(nightly("monday").but(calls=QUICKLY, trial_rows=3))
    gemini_emulator.advance_clock(61)
    assert swept(task, lake).landed == (str(lake / "monday" / "results.jsonl"),)
    assert sorted(statuses(task).values()) == ["expired", "expired", "success"]
    assert created() == []


def test_notes_of_single_calls_that_are_damaged_are_reported(half_tried, lake, gemini_emulator):
    half_tried.ledger.path("r0.s1.note1.jsonl").write_text("{")
    assert [one.kind for one in swept(half_tried, lake).findings] == [Kind.DAMAGED]
