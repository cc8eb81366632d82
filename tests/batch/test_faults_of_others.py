"""Faults that were seen in other tools for LLM batches, each as a test of this one.

Results of cancelled and expired jobs that are never read are in ``test_landing``.
"""

from __future__ import annotations

import json

import pytest

from airflow_provider_batch.contract import JobState
from airflow_provider_batch.errors import BatchError, JobFailedError
from airflow_provider_batch.gemini.service import snapshot
from airflow_provider_batch.gemini.wire import Batch
from faults.task import ask
from tests.batch.conftest import read, statuses


def rows_sent(emulator):
    return [call["rows"] for call in emulator.journal() if call["call"] == "batches.create"]


def test_answers_in_another_order_are_not_joined_by_position(task, gemini_emulator):
    """batchata 0.4.7 and chatlas 0.23.0."""
    gemini_emulator.add_fault(action="rows", mutation="shuffle", times=None)
    rows = {row.key: row.text for row in read(task, task.finish())}
    assert rows == {key: f"Answer to: hello {key}" for key in "abc"}


@pytest.mark.parametrize("prefix", ["BATCH_STATE_", "JOB_STATE_"])
@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("SUCCEEDED", JobState.SUCCEEDED),
        ("PARTIALLY_SUCCEEDED", JobState.SUCCEEDED),
        ("FAILED", JobState.FAILED),
        ("EXPIRED", JobState.EXPIRED),
        ("CANCELLED", JobState.CANCELLED),
    ],
)
def test_no_way_in_which_a_job_ends_is_taken_for_running(prefix, word, state):
    """batchata 0.4.7, batchlane 0.2.0, parallem 0.0.3, the Google provider 22.8.0."""
    batch = Batch.model_validate({"name": "batches/a", "metadata": {"state": prefix + word}})
    assert snapshot(batch).state is state
    assert state.is_terminal


@pytest.mark.parametrize("state", ["EXPIRED", "FAILED", "CANCELLED"])
def test_rows_of_a_job_that_ended_badly_are_not_in_flight_for_ever(task, gemini_emulator, state):
    """inspect-ai 0.3.285."""
    gemini_emulator.add_fault(action="job", state=state, times=None)
    with pytest.raises(BatchError):
        task.but(max_row_attempts=1).finish()
    assert len(statuses(task)) == 3


def test_one_lost_answer_does_not_send_five_creates(task, gemini_emulator):
    """batchlane 0.2.0."""
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    task.finish()
    assert [r["call"] for r in gemini_emulator.requests()].count("batches.create") == 1


def test_a_stale_listing_does_not_hide_a_job_that_was_paid_for(task, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    gemini_emulator.add_fault(call="batches.list", action="stale", seconds=30, times=4)
    task.finish()
    assert len(statuses(task)) == 3
    assert rows_sent(gemini_emulator) == [3]


def test_a_raw_line_separator_in_an_answer_does_not_break_the_row(task, gemini_emulator):
    """steadybatch 0.2.1, inspect-ai, curator, gpt-batch-api."""
    torn = "one\u2028two\u0085three\x0bfour"
    answer = {"candidates": [{"content": {"parts": [{"text": torn}]}, "finishReason": "STOP"}]}
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["b"], response=answer)
    rows = {row.key: row.text for row in read(task, task.finish())}
    assert rows["b"] == torn
    assert len(rows) == 3


def test_a_crash_right_after_the_create_does_not_orphan_the_job(task, created):
    """steadybatch 0.2.1; the Google, OpenAI and Anthropic providers."""

    class Crash(BaseException):
        pass

    def crashing(service):
        class Service:
            def __getattr__(self, name):
                return getattr(service, name)

            def submit(self, *arguments):
                service.submit(*arguments)
                raise Crash

        return Service()

    with pytest.raises(Crash):
        task.but(wrap=crashing).attempt()
    assert task.finish().counts == {"success": 3}
    assert len(created()) == 1


def test_the_display_name_of_a_job_says_dag_and_task(task, gemini_emulator):
    task.finish()
    (name,) = [call["displayName"] for call in gemini_emulator.journal() if call["call"] == "batches.create"]
    assert name.startswith(task.identity.prefix)
    assert name.endswith(f" {task.identity.dag_id}.{task.identity.task_id}")


def test_no_two_jobs_share_a_display_name(task, gemini_emulator):
    """steadybatch 0.2.1."""
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["a", "b"])
    task.finish()
    names = [call["displayName"] for call in gemini_emulator.journal() if call["call"] == "batches.create"]
    assert len(set(names)) == len(names) == 2


def test_no_parameter_of_a_row_is_dropped_on_the_way(task):
    """firming 0.4.0."""
    schema = {"type": "OBJECT", "properties": {"x": {"type": "STRING"}}}
    request = ask("a")["request"] | {
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseSchema": schema,
            "seed": 7,
            "temperature": 0.5,
        },
        "systemInstruction": {"parts": [{"text": "be brief"}]},
    }
    wide = task.but(rows=[{"key": "a", "request": request}])
    wide.attempt()
    (shard,) = json.loads(wide.ledger.path("plan.json").read_text())["first"]["shards"]
    sent = json.loads(wide.ledger.path(shard["file"]).read_text())
    assert sent == {"key": "a", "request": request}


def test_blocked_rows_are_not_sent_again(task, gemini_emulator):
    """curator 0.1.31."""
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["b"], response=blocked, times=None)
    assert task.finish().counts == {"success": 2, "blocked": 1}
    assert rows_sent(gemini_emulator) == [3]


def test_thinking_is_counted_beside_the_answer(task, gemini_emulator):
    """curator 0.1.31."""
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 1373, "thoughtsTokenCount": 1582}
    answer = {
        "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}],
        "usageMetadata": usage,
    }
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["b"], response=answer)
    rows = {row.key: row for row in read(task, task.finish())}
    assert (rows["b"].usage.output, rows["b"].usage.thinking) == (1373, 1582)


def test_a_failed_job_never_passes_as_a_success(task, gemini_emulator):
    """The Google provider 22.8.0, in its synchronous mode."""
    gemini_emulator.add_fault(action="job", state="FAILED", times=None)
    with pytest.raises(JobFailedError):
        task.finish()


def test_a_wait_that_starts_three_times_creates_nothing(task, gemini_emulator, created):
    """The Google provider 22.8.0, whose trigger creates the job."""
    gemini_emulator.add_fault(action="job", state="STUCK")
    task.attempt()
    for _ in range(3):
        task.resume()
    assert len(created()) == 1
