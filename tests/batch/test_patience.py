"""What may pass defers a task, whatever it is doing; what does not pass fails it at once."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from airflow_provider_batch.batch.decide.actions import Wait
from airflow_provider_batch.errors import BatchError, JobTimeoutError, SubmitRefusedError
from faults.task import ask

DOWN = {"action": "status", "status": 503}


@pytest.mark.parametrize("call", ["files.upload.start", "files.upload.chunk", "files.get"])
def test_an_upload_that_fails_for_now_is_finished_by_a_later_visit(task, gemini_emulator, created, call):
    if call == "files.get":
        gemini_emulator.add_fault(action="processing", seconds=1)
    gemini_emulator.add_fault(call=call, **DOWN, times=6)
    result = task.attempt()
    assert isinstance(result, Wait)
    assert result.until is not None
    assert created() == []
    assert task.finish().counts == {"success": 3}
    assert len(created()) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_results_that_cannot_be_fetched_for_now_are_fetched_by_a_later_visit(
    task, gemini_emulator, created, status
):
    gemini_emulator.add_fault(call="files.download", action="status", status=status, times=9)
    task.attempt()
    assert task.finish().counts == {"success": 3}
    assert len(created()) == 1


@pytest.mark.parametrize("call", ["files.upload.start", "files.download"])
def test_a_rejected_credential_fails_the_try_at_once(task, gemini_emulator, call):
    gemini_emulator.add_fault(call=call, action="status", status=401, times=None)
    with pytest.raises(BatchError, match="401"):
        task.finish()


def test_an_upload_that_never_works_fails_the_task_at_its_deadline(task, gemini_emulator, created):
    gemini_emulator.add_fault(call="files.upload.start", **DOWN, times=None)
    assert isinstance(task.attempt(), Wait)
    gemini_emulator.advance_clock(86_401)
    with pytest.raises(JobTimeoutError, match=r"AGB-P05 Nothing could be submitted before the deadline"):
        task.finish()
    assert created() == []


def test_one_part_that_cannot_be_uploaded_keeps_no_other_from_being_sent(task, gemini_emulator, created):
    from airflow_provider_batch.rows.check.shards import ShardLimits

    parts = task.but(rows=[ask(key) for key in "abc"], limits=ShardLimits(rows=1))
    gemini_emulator.add_fault(call="files.upload.start", **DOWN, times=4)
    assert isinstance(parts.attempt(), Wait)
    assert len(created()) == 2
    assert parts.finish().counts == {"success": 3}
    assert len(created()) == 3


@pytest.mark.parametrize("shift_s", [7_200, -7_200])
def test_no_young_job_is_given_up_by_a_clock_that_is_hours_off(
    task, gemini_emulator, cancelled, monkeypatch, shift_s
):
    hasty = task.but(timeout_s=1_800.0, at_timeout="cancel")
    hasty.attempt()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift_s)
    gemini_emulator.add_fault(call="batches.get", **DOWN, times=4)
    gemini_emulator.add_fault(call="models.list", **DOWN, times=4)
    assert isinstance(hasty.resume(), Wait)
    assert cancelled() == []
    assert hasty.finish().counts == {"success": 3}
    assert cancelled() == []


@pytest.mark.parametrize("shift_s", [7_200, -7_200])
def test_a_wait_after_a_full_queue_is_judged_by_the_api_clock(
    task, gemini_emulator, created, monkeypatch, shift_s
):
    gemini_emulator.add_fault(call="batches.create", action="status", status=429, retry_delay=60)
    task.attempt()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + shift_s)
    wait = task.resume()
    assert isinstance(wait, Wait)
    assert created() == []
    gemini_emulator.advance_clock(61)
    assert task.finish().counts == {"success": 3}


@pytest.mark.parametrize("status", [400, 403, 404, 429])
def test_a_job_that_a_gateway_refused_after_it_was_made_is_found_before_the_next(
    task, gemini_emulator, created, status
):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_status", status=status, retry_delay=1)
    with suppress(SubmitRefusedError):
        task.attempt()
    gemini_emulator.advance_clock(2)
    assert task.finish().counts == {"success": 3}
    assert len(created()) == 1


def test_what_could_not_be_sent_before_the_deadline_is_sent_after_a_clear(task, created, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="status", status=429, message="full", times=None)
    hourly = task.but(timeout_s=3600.0)
    hourly.attempt()
    gemini_emulator.advance_clock(3605)
    with pytest.raises(JobTimeoutError, match="AGB-P05 Nothing could be submitted before the deadline"):
        hourly.attempt()
    gemini_emulator.clear_faults()
    gemini_emulator.advance_clock(86_400)
    assert hourly.but(is_cleared=True).finish().counts == {"success": 3}
    assert len(created()) == 1
