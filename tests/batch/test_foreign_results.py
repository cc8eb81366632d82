"""An answer to the download that is not the results: asked for again, never deleted, never paid for again."""

from __future__ import annotations

import httpx
import pytest

from airflow_provider_batch.batch.decide.actions import Wait
from airflow_provider_batch.errors import ResultsNotReadyError
from faults.task import ask
from tests.batch.conftest import statuses

KEYS = [f"k{n}" for n in range(8)]
HTML = {"content-type": "text/html"}
ERROR = {"error": {"code": 503, "message": "The service is currently unavailable.", "status": "UNAVAILABLE"}}


@pytest.fixture
def task(task):
    return task.but(rows=[ask(key) for key in KEYS])


@pytest.fixture
def results(task, gemini_emulator):
    """The bytes of the results of the task's job, which has ended and has not landed."""
    task.attempt()
    gemini_emulator.force_job(task.jobs[0], state="SUCCEEDED")
    api, key = f"{gemini_emulator.base_url}/v1beta", {"key": "k"}
    while not (job := httpx.get(f"{api}/{task.jobs[0]}", params=key).json()).get("done"):
        pass
    file = job["response"]["responsesFile"]
    return httpx.get(f"{api}/{file}:download", params={"alt": "media", **key}).text


@pytest.fixture
def answers(gemini_emulator):
    """Has the download answered so."""

    def arm(body, status=200, headers=None, times=None):
        fault = {"call": "files.download", "action": "status", "status": status, "times": times}
        gemini_emulator.add_fault(**fault, body=body, headers=headers or {})

    return arm


@pytest.fixture
def deleted(gemini_emulator):
    return lambda: [call["file"] for call in gemini_emulator.journal() if call["call"] == "files.delete"]


def cut(text, lines=5, more=0):
    whole = text.splitlines(keepends=True)
    return "".join(whole[:lines]) + (whole[lines][:more] if more else "")


def renamed(text):
    return text.replace('"key":"k', '"key":"other')


BODIES = {
    "a page of a proxy": (lambda text: "<html>Please sign in.</html>", 200, HTML),
    "a page that claims to be JSON": (lambda text: "<html>Please sign in.</html>", 200, {}),
    "nothing": (lambda text: "", 200, {}),
    "no content": (lambda text: "", 204, {}),
    "created": (lambda text: text, 201, {}),
    "an error as a success": (lambda text: ERROR, 200, {}),
    "a coding that was not asked for": (lambda text: text, 200, {"content-encoding": "gzip"}),
    "bytes that are no text": (lambda text: "\x1f\x8b\x08" + text[:200].replace("\n", ""), 200, {}),
    "the middle of a line": (lambda text: cut(text, 5, 20), 200, {}),
    "the file of another job": (renamed, 200, {}),
    "a part that was not asked for": (cut, 206, {"content-range": "bytes 0-99/100000"}),
    "the middle of the file": (lambda text: text[100:], 206, {"content-range": "bytes 100-199/200"}),
}


@pytest.mark.parametrize(("body", "status", "headers"), BODIES.values(), ids=BODIES)
def test_what_is_not_the_results_is_never_believed(
    task, results, answers, created, deleted, gemini_emulator, body, status, headers
):
    answers(body(results), status, headers)
    for _ in range(4):
        assert isinstance(task.resume(), Wait)
    gemini_emulator.clear_faults()
    assert task.finish().counts == {"success": 8}
    assert (len(created()), len(statuses(task))) == (1, 8)
    assert len(deleted()) == 1


@pytest.mark.parametrize(("body", "status", "headers"), BODIES.values(), ids=BODIES)
def test_what_is_not_the_results_once_is_asked_for_again_at_once(
    task, results, answers, created, body, status, headers
):
    answers(body(results), status, headers, times=1)
    assert task.finish().counts == {"success": 8}
    assert len(created()) == 1


def test_results_that_never_are_what_they_should_be_fail_the_task_at_its_deadline(
    task, results, answers, created, deleted, gemini_emulator
):
    answers("<html></html>", headers=HTML)
    gemini_emulator.advance_clock(86_400)
    with pytest.raises(Exception, match="AGB-A06 Not the API's answer to download files/"):
        task.finish()
    answers(renamed(results))
    gemini_emulator.clear_faults()
    answers(renamed(results))
    with pytest.raises(ResultsNotReadyError, match=r"AGB-R12 .* none answers a row that was sent"):
        task.finish()
    assert (len(created()), deleted()) == (1, [])


def test_a_byte_order_mark_before_the_first_line_costs_no_row(task, results, answers, created):
    answers("\ufeff" + results)
    assert task.finish().counts == {"success": 8}
    assert len(created()) == 1


def test_rows_that_the_job_counts_and_the_file_lacks_are_sent_again_after_long_evidence_only(
    task, results, answers, created, gemini_emulator
):
    answers(cut(results))
    visits = 0
    while len(created()) == 1:
        task.resume()
        visits += 1
    gemini_emulator.clear_faults()
    manifest = task.finish()
    assert (manifest.counts, manifest.rounds, visits > 2) == ({"success": 8}, 2, True)
    assert {"r1.s1.fetched1.json", "r1.s1.fetched2.json"} <= task.ledger.names()
    assert len(created()) == 2


def test_a_damaged_line_is_fetched_once_more_before_its_row_is_paid_for_again(task, results, answers, created):
    answers(results.replace('{"key":"k3"', '{"key":"k3'), times=1)
    manifest = task.finish()
    assert (manifest.counts, manifest.rounds, manifest.quarantined) == ({"success": 8}, 1, 0)
    assert len(created()) == 1


def test_a_line_that_stays_damaged_is_sent_again_alone(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="corrupt", keys=["k3"])
    manifest = task.finish()
    assert (manifest.counts, manifest.rounds, manifest.quarantined) == ({"success": 8}, 2, 1)


def test_a_cut_that_is_followed_by_the_part_of_a_shorter_file_is_not_believed(
    task, results, gemini_emulator, created
):
    size = len(results.encode())
    part = {"content-range": f"bytes {size // 2}-{size - 200}/{size - 199}"}
    gemini_emulator.add_fault(call="files.download", action="cut", bytes=size // 2)
    gemini_emulator.add_fault(
        call="files.download", action="status", status=206, body="x" * 10, headers=part, after=1, times=3
    )
    assert task.finish().counts == {"success": 8}
    assert len(created()) == 1


LIES = {"a page of a proxy": {"action": "html"}, "an error": {"action": "status", "status": 200, "body": ERROR}}
LIES["nothing"] = {"action": "status", "status": 200, "body": ""}
LIES["no content"] = {"action": "status", "status": 204, "body": ""}
LIES["another object"] = {"action": "status", "status": 200, "body": {"status": "ok"}}
LIES["an incomplete listing"] = {"action": "status", "status": 200, "body": {"unreachable": ["us-east1"]}}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_listing_that_is_none_is_no_evidence_that_a_job_is_absent(task, gemini_emulator, created, lie):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    gemini_emulator.add_fault(call="batches.list", **lie, after=1, times=None)
    task.attempt()
    gemini_emulator.advance_clock(3_600)
    for _ in range(3):
        assert isinstance(task.resume(), Wait)
    assert not [name for name in task.ledger.names() if "scan" in name or "revoked" in name]
    gemini_emulator.clear_faults()
    assert task.finish().counts == {"success": 8}
    assert len(created()) == 1


NO_PROOFS = [name for name in LIES if name not in ("another object", "an incomplete listing")]


@pytest.mark.parametrize("lie", NO_PROOFS)
def test_a_deletion_that_the_api_does_not_confirm_proves_nothing(task, gemini_emulator, lie):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    gemini_emulator.add_fault(action="hide", seconds=5_000)
    gemini_emulator.add_fault(call="files.delete", **LIES[lie], times=None)
    task.attempt()
    gemini_emulator.advance_clock(3_600)
    task.resume()
    assert not [name for name in task.ledger.names() if "revoked" in name]


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_look_that_says_nothing_of_the_job_changes_nothing(task, gemini_emulator, created, lie):
    task.attempt()
    gemini_emulator.add_fault(call="batches.get", **lie, times=3)
    assert isinstance(task.resume(), Wait)
    assert task.finish().counts == {"success": 8}
    assert len(created()) == 1


def test_the_answer_to_create_that_is_of_another_job_is_taken_for_unknown(task, gemini_emulator, created):
    other = {"name": "batches/other", "metadata": {"displayName": "theirs", "state": "BATCH_STATE_SUCCEEDED"}}
    gemini_emulator.add_fault(call="batches.create", action="accept_then_status", status=200, body=other)
    task.attempt()
    assert "batches/other" not in task.jobs
    assert task.finish().counts == {"success": 8}
    assert len(created()) == 1


def test_an_answer_about_another_job_is_no_look_at_this_one(task, gemini_emulator, created):
    task.attempt()
    other = {"name": "batches/other", "done": True, "metadata": {"state": "BATCH_STATE_FAILED"}}
    gemini_emulator.add_fault(call="batches.get", action="status", status=200, body=other, times=2)
    assert isinstance(task.resume(), Wait)
    assert task.finish().counts == {"success": 8}
    assert len(created()) == 1
