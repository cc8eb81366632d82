"""Rows in parts, and rows again."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from upath import UPath

from airflow_provider_batch.batch.decide.actions import Wait
from airflow_provider_batch.batch.send.end_jobs import note_end
from airflow_provider_batch.errors import JobTimeoutError, SubmitUnknownError
from airflow_provider_batch.rows.check.shards import ShardLimits
from faults.task import ask
from tests.batch.conftest import failed_keys, statuses


def sent(emulator):
    """Rows by job, in the order of the calls."""
    return [call["rows"] for call in emulator.journal() if call["call"] == "batches.create"]


@pytest.mark.parametrize(
    ("limits", "parts"),
    [
        (ShardLimits(), [10]),
        (ShardLimits(rows=4), [4, 4, 2]),
        (ShardLimits(size_bytes=150), [2, 2, 2, 2, 2]),
        (ShardLimits(tokens=7), [3, 3, 3, 1]),
        (ShardLimits(size_bytes=1), [1] * 10),
    ],
)
def test_rows_are_cut_where_a_job_is_full_and_come_back_as_one(task, gemini_emulator, limits, parts):
    whole = task.but(rows=[ask(f"k{n}") for n in range(10)], limits=limits)
    manifest = whole.finish()
    assert sent(gemini_emulator) == parts
    assert (manifest.counts, manifest.job_count, manifest.rounds) == ({"success": 10}, len(parts), 1)
    assert set(statuses(whole)) == {f"k{n}" for n in range(10)}


def test_only_as_much_is_in_flight_as_the_limit_allows(task, gemini_emulator):
    limited = task.but(rows=[ask(f"k{n}") for n in range(6)], limits=ShardLimits(rows=2), max_tokens_in_flight=8)
    limited.finish()
    times = [
        (c["call"], c["batch"])
        for c in gemini_emulator.journal()
        if c["call"] in ("batches.create", "batches.end")
    ]
    in_flight, most = 0, 0
    for call, _ in times:
        in_flight += 1 if call == "batches.create" else -1
        most = max(most, in_flight)
    assert sent(gemini_emulator) == [2, 2, 2]
    assert most <= 2


def test_a_full_queue_uploads_nothing_twice_and_fails_no_try(task, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="status", status=429, retry_delay=0.1, times=3)
    assert task.finish().counts == {"success": 3}
    assert len([c for c in gemini_emulator.journal() if c["call"] == "files.create"]) == 1


def test_rows_that_failed_in_passing_are_sent_again_alone(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    manifest = task.finish()
    assert sent(gemini_emulator) == [3, 1]
    assert (manifest.counts, manifest.rounds, manifest.job_count) == ({"success": 3}, 2, 2)


def test_tokens_of_every_round_are_counted_as_they_are_billed(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="drop", keys=["b"])
    manifest = task.finish()
    billed = Counter()
    for tokens in gemini_emulator.bills().values():
        billed.update(tokens)
    assert manifest.rounds == 2
    # The dropped row was billed and its line never seen: what cannot be known is not made up.
    assert 0 < manifest.tokens.input <= billed["input"]


def test_a_row_that_always_fails_is_sent_three_times_over_all_tries(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], times=None)
    assert task.finish().counts == {"success": 2, "error": 1}
    assert task.finish().counts == {"success": 2, "error": 1}
    assert sent(gemini_emulator) == [3, 1, 1]
    assert failed_keys(task) == ["b"]


def test_a_permanent_error_is_not_sent_again(task, gemini_emulator):
    wrong = {"code": 3, "message": "no such field"}
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], error=wrong, times=None)
    assert task.finish().counts == {"success": 2, "error": 1}
    assert sent(gemini_emulator) == [3]


def test_rows_of_an_expired_shard_are_sent_again_and_the_others_are_not(task, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="EXPIRED")
    split = task.but(limits=ShardLimits(rows=2))
    assert split.finish().counts == {"success": 3}
    assert sorted(sent(gemini_emulator)) == [1, 2, 2]


def test_what_is_sent_again_is_what_was_sent_even_if_the_source_has_changed(task, gemini_emulator, tmp_path):
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in task.rows))
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    from_file = task.but(rows=UPath(source))
    result = from_file.attempt()
    source.write_text("something else\n")
    while not hasattr(result, "manifest"):
        result = from_file.resume()
    assert statuses(task) == dict.fromkeys("abc", "success")


def test_no_round_begins_after_the_deadline(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], times=None)
    task.attempt()
    with task.service() as service:
        while not service.look(task.jobs[0]).state.is_terminal:
            pass
    gemini_emulator.advance_clock(90_000)
    assert task.finish().counts == {"success": 2, "error": 1}
    assert sent(gemini_emulator) == [3]


@pytest.mark.parametrize(
    "page",
    [{"status": 503}, {"status": 200, "body": "<html>Please sign in", "headers": {"content-type": "text/html"}}],
    ids=["an error", "a page of a captive proxy"],
)
def test_the_date_of_a_proxy_that_answers_in_place_of_the_api_ends_no_wait(task, gemini_emulator, cancelled, page):
    gemini_emulator.add_fault(action="job", state="STUCK")
    patient = task.but(at_timeout="cancel")
    patient.attempt()
    page["headers"] = page.get("headers", {}) | {"Date": "Fri, 01 Jan 2100 00:00:00 GMT"}
    gemini_emulator.add_fault(call="batches.get", action="status", times=None, **page)
    assert isinstance(patient.resume(), Wait)
    assert cancelled() == []


def test_a_job_that_outlasts_the_deadline_runs_on_and_a_later_try_lands_it(
    task, gemini_emulator, created, cancelled
):
    gemini_emulator.add_fault(action="job", state="STUCK")
    task.attempt()
    gemini_emulator.advance_clock(90_000)
    with pytest.raises(JobTimeoutError, match=r"AGB-P05 .* not finished at the deadline\. Nothing was cancelled"):
        task.finish()
    gemini_emulator.force_job(task.jobs[0], state="SUCCEEDED")
    assert task.finish().counts == {"success": 3}
    assert (len(created()), cancelled()) == (1, [])


def test_jobs_that_are_ended_at_the_deadline_give_every_row_a_status_and_the_next_try_sends_the_rest(
    task, gemini_emulator, created
):
    gemini_emulator.add_fault(action="job", state="STUCK")
    hasty = task.but(at_timeout="cancel")
    hasty.attempt()
    gemini_emulator.advance_clock(90_000)
    with pytest.raises(
        JobTimeoutError, match=r"The jobs were cancelled: the deadline passed\. What finished is landed"
    ):
        hasty.finish()
    assert statuses(task) == dict.fromkeys("abc", "cancelled")
    assert hasty.finish().counts == {"success": 3}
    assert len(created()) == 2


def test_a_user_who_wants_to_decide_about_a_lost_call_is_told_its_name(task, gemini_emulator, created):
    gemini_emulator.add_fault(call="batches.create", action="drop")
    with pytest.raises(SubmitUnknownError, match="AGB-S04 The answer to a create call was lost") as caught:
        task.but(resubmit_ambiguous=False).finish()
    assert caught.value.display_name.startswith(task.identity.prefix)
    assert created() == []


def test_an_upload_that_another_worker_began_is_finished_not_repeated(task, gemini_emulator):
    class Killed(BaseException):
        pass

    def dies_before_the_create(service):
        class Dying:
            def __getattr__(self, name):
                return getattr(service, name)

            def submit(self, *_):
                raise Killed

        return Dying()

    with pytest.raises(Killed):
        task.but(wrap=dies_before_the_create).attempt()
    # It held the right to send, so nobody knows whether it did: that is resolved first.
    assert task.finish().counts == {"success": 3}


def test_a_batch_that_is_asked_to_end_while_its_rows_are_uploaded_sends_nothing(task, created):
    """A person presses the button while a worker uploads."""

    class Meanwhile:
        def __init__(self, service):
            self.service = service

        def __getattr__(self, name):
            return getattr(self.service, name)

        def stage(self, *arguments):
            note_end(task.ledger, "r1.cancel.json", "asked to end", by="ann")
            return self.service.stage(*arguments)

    manifest = task.but(wrap=Meanwhile).attempt().manifest
    assert (created(), manifest.counts) == ([], {"cancelled": 3})
