"""The job in pieces: submit, wait with a sensor, fetch."""

import pytest

from airflow_provider_batch.errors import ConfigError, JobFailedError, NotFoundError
from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.operators.fetch import GeminiBatchFetchResultsOperator
from airflow_provider_batch.operators.gemini import GeminiBatchOperator
from airflow_provider_batch.sensors.gemini import GeminiBatchSensor
from tests.airflow.tries import batch_of, run_try

ASK = {"contents": [{"parts": [{"text": "hi"}]}]}


@pytest.fixture
def job(connection, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK")
    with GeminiBatchHook().get_conn() as client:
        return client.create_batch("gemini-2.5-flash", "d", requests=[InlineRequest(request=ASK, key="a")]).name


def sensor(submission, **arguments):
    return GeminiBatchSensor(task_id="wait", submission=submission, **arguments)


def test_a_running_job_is_not_done_and_a_succeeded_one_is(job, gemini_emulator):
    submission = {"job_name": job, "model": "m"}
    assert sensor(submission).poke({}).is_done is False
    gemini_emulator.force_job(job, state="BATCH_STATE_SUCCEEDED")
    done = sensor(submission).poke({})
    assert (done.is_done, done.xcom_value) == (True, submission)


def test_a_failed_job_fails_the_sensor_with_its_name(job, gemini_emulator):
    gemini_emulator.force_job(job, state="BATCH_STATE_FAILED", error={"code": 13, "message": "broke"})
    with pytest.raises(JobFailedError, match=rf"{job} failed. Reason given: broke"):
        sensor(job).poke({})


def test_a_passing_error_is_waited_out(job, gemini_emulator):
    gemini_emulator.add_fault(call="batches.get", action="status", status=503, times=4)
    assert sensor(job).poke({}).is_done is False


def test_a_job_that_nobody_knows_fails_the_sensor(connection):
    with pytest.raises(NotFoundError):
        sensor("batches/" + "a" * 36).poke({})


@pytest.mark.parametrize("submission", [{}, "", None, {"job_name": ""}])
def test_a_sensor_without_a_job_says_so(submission):
    with pytest.raises(ConfigError, match="was given no job"):
        sensor(submission).poke({})


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("poll_interval", 0),
        ("poll_interval", -1),
        ("poll_interval", "soon"),
        ("poll_interval", 1e9),
        ("timeout", 0),
    ],
)
def test_a_time_that_cannot_work_is_refused_when_the_dag_is_read(argument, value):
    with pytest.raises(ConfigError, match=f"AGB-C06 {argument} must be a number of seconds"):
        GeminiBatchOperator(task_id="t", model="m", requests="/r.jsonl", result_path="/out", **{argument: value})


def test_pieces_that_are_cleared_after_they_landed_give_the_same_again(connection, tmp_path, gemini_emulator):
    manifests = []
    for _ in range(2):
        submission = run_try(batch_of(tmp_path, "ab", wait_for_completion=False))
        fetch = GeminiBatchFetchResultsOperator(task_id="fetch", submission=submission)
        manifests.append(run_try(fetch, until_ready=True))
    assert manifests[0] == manifests[1]
    assert len([call for call in gemini_emulator.journal() if call["call"] == "batches.create"]) == 1
