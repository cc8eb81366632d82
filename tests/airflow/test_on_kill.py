"""Who may cancel: only a task that nobody will come back for."""

from __future__ import annotations

import asyncio
import time

import pytest

from airflow_provider_batch.batch.decide.after_kill import RECHECK_S, may_cancel
from airflow_provider_batch.errors import AuthError
from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.triggers import gemini as triggers
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger
from tests.airflow.tries import batch_of, run_try


@pytest.mark.parametrize("state", ["failed", "upstream_failed", "removed"])
def test_a_task_that_was_ended_for_good_may_cancel(state):
    assert may_cancel([state, state]) is True


@pytest.mark.parametrize(
    "state",
    [
        "deferred",
        "none",
        "scheduled",
        "queued",
        "running",
        "restarting",
        "up_for_retry",
        "success",
        "skipped",
        None,
    ],
)
def test_a_task_that_a_try_will_come_back_for_or_that_nobody_can_read_may_not(state):
    assert may_cancel([state, state]) is False


@pytest.mark.parametrize("states", [["failed", None], ["failed", "queued"], ["scheduled", "failed"]])
def test_a_task_that_is_cleared_at_the_same_moment_may_not(states):
    assert may_cancel(states) is False


@pytest.fixture
def job(connection, gemini_emulator, in_triggerer):
    gemini_emulator.add_fault(action="job", state="STUCK")
    ask = {"contents": [{"parts": [{"text": "hi"}]}]}
    with GeminiBatchHook().get_conn() as client:
        return client.create_batch("gemini-2.5-flash", "d", requests=[InlineRequest(request=ask, key="a")]).name


WAITING = {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1}


@pytest.fixture
def task_is(monkeypatch):
    """What the API server says of the task; Airflow's own part of it is in ``make test-airflow``."""

    def answer(state):
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        states = staticmethod(lambda **asked: {asked["run_ids"][0]: {asked["task_ids"][0]: state}})
        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", states)

    return answer


def killed(jobs, **changes):
    trigger = GeminiBatchTrigger("gemini_default", time.time() + 60, jobs, **changes)
    asyncio.run(trigger.on_kill())


def cancels(emulator):
    return [call["batch"] for call in emulator.journal() if call["call"] == "batches.cancel"]


def test_a_task_that_was_marked_failed_cancels_its_jobs_and_says_so_in_the_ledger(
    job, gemini_emulator, task_is, tmp_path
):
    task_is("failed")
    killed([job], waiting_task=WAITING, ledger=str(tmp_path), cancel_note="r1.cancel.json")
    assert cancels(gemini_emulator) == [job]
    assert "the task was stopped" in (tmp_path / "r1.cancel.json").read_text()


@pytest.fixture
def several(job):
    with GeminiBatchHook().get_conn() as client:
        ask = InlineRequest(request={"contents": [{"parts": [{"text": "hi"}]}]}, key="a")
        return [job, *(client.create_batch("gemini-2.5-flash", "d", requests=[ask]).name for _ in range(2))]


def test_a_job_that_cannot_be_asked_to_end_keeps_no_other_from_it(several, gemini_emulator, task_is, tmp_path):
    gemini_emulator.add_fault(call="batches.cancel", action="status", status=403, times=1)
    task_is("failed")
    with pytest.raises(AuthError, match="answered cancel"):
        killed(several, waiting_task=WAITING, ledger=str(tmp_path), cancel_note="r1.cancel.json")
    assert len(cancels(gemini_emulator)) == 2
    assert (tmp_path / "r1.cancel.json").exists()


def test_a_job_whose_cancellation_hangs_keeps_no_other_from_it_in_the_time_that_airflow_gives(
    several, gemini_emulator, task_is, tmp_path, monkeypatch
):
    monkeypatch.setattr(triggers, "ON_KILL_S", RECHECK_S + 2)
    gemini_emulator.add_fault(call="batches.cancel", action="delay", seconds=20, times=1)
    task_is("failed")
    with pytest.raises(asyncio.TimeoutError):
        killed(several, waiting_task=WAITING, ledger=str(tmp_path), cancel_note="r1.cancel.json")
    assert len(cancels(gemini_emulator)) == 2
    assert (tmp_path / "r1.cancel.json").exists()


def test_nothing_is_noted_if_no_job_could_be_asked_to_end(job, gemini_emulator, task_is, tmp_path):
    gemini_emulator.add_fault(call="batches.cancel", action="status", status=403, times=None)
    task_is("failed")
    with pytest.raises(AuthError):
        killed([job], waiting_task=WAITING, ledger=str(tmp_path), cancel_note="r1.cancel.json")
    assert not (tmp_path / "r1.cancel.json").exists()


def test_a_worker_that_is_stopped_asks_every_job_to_end_that_can_be_asked(
    connection, gemini_emulator, task_is, tmp_path
):
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    gemini_emulator.add_fault(call="batches.cancel", action="status", status=403, times=1)
    operator = batch_of(tmp_path, "abc", max_rows_per_job=1, wait_for_completion=False)
    run_try(operator)
    task_is("failed")
    with pytest.raises(AuthError, match="answered cancel"):
        operator.on_kill()
    assert len(cancels(gemini_emulator)) == 2
    assert list(tmp_path.rglob("r1.cancel.json"))


@pytest.mark.parametrize("state", ["deferred", "queued", "success", "skipped"])
def test_a_task_in_any_other_state_leaves_its_jobs_alone(job, gemini_emulator, task_is, tmp_path, state):
    task_is(state)
    killed([job], waiting_task=WAITING, ledger=str(tmp_path), cancel_note="r1.cancel.json")
    assert cancels(gemini_emulator) == []
    assert not (tmp_path / "r1.cancel.json").exists()


def test_a_trigger_that_was_told_nothing_of_its_task_never_cancels(job, gemini_emulator, task_is):
    task_is("failed")
    killed([job])
    assert cancels(gemini_emulator) == []


def test_a_server_that_does_not_answer_is_no_reason_to_cancel_and_is_told_loudly(
    job, gemini_emulator, monkeypatch, capsys, caplog
):
    monkeypatch.setattr(triggers, "LOOKS_S", 1.0)
    killed([job], waiting_task=WAITING)
    assert cancels(gemini_emulator) == []
    said = capsys.readouterr().out + caplog.text
    assert "What became of the task cannot be told. 1 jobs may run on, and what they do is billed" in said
    assert f"airflow-batch cancel {job} --conn-id gemini_default" in said


def test_a_server_that_answers_late_and_not_at_once_is_waited_for(job, gemini_emulator, monkeypatch):
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    asked = []

    def answer(**question):
        asked.append(question)
        if len(asked) < 3:
            raise ConnectionError
        return {"r": {"t": "failed"}}

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(answer))
    killed([job], waiting_task=WAITING)
    assert cancels(gemini_emulator) == [job]


def test_a_worker_that_is_stopped_says_what_may_run_on_and_how_to_end_it(
    connection, gemini_emulator, task_is, tmp_path, caplog, capsys
):
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    operator = batch_of(tmp_path, "a", wait_for_completion=False)
    submission = run_try(operator)

    task_is("running")
    operator.on_kill()
    said = capsys.readouterr().out + caplog.text
    assert f"airflow-batch cancel {submission['job_name']} --conn-id gemini_default" in said
    assert "the batch was estimated at USD" in said


def test_a_triggerer_that_cancels_again_and_again_does_not_keep_it_from_cancelling_the_job(
    job, gemini_emulator, task_is, tmp_path
):
    """As Airflow 3.3.2 does, at each turn of its loop, while ``on_kill`` runs."""
    task_is("failed")
    trigger = GeminiBatchTrigger("gemini_default", time.time() + 60, [job], waiting_task=WAITING)

    async def impatient():
        killing = asyncio.ensure_future(trigger.on_kill())
        while not killing.done():
            await asyncio.sleep(0.3)
            killing.cancel()

    asyncio.run(impatient())
    assert cancels(gemini_emulator) == [job]


def test_a_retry_that_is_stopped_while_it_reads_its_rows_ends_the_jobs_of_the_try_before(
    connection, gemini_emulator, task_is, tmp_path
):
    gemini_emulator.add_fault(action="job", state="STUCK")
    submission = run_try(batch_of(tmp_path, "ab", wait_for_completion=False))
    task_is("failed")
    retry = batch_of(tmp_path, "ab")

    def rows():
        yield {"key": "a", "request": {"contents": [{"parts": [{"text": "a"}]}]}}
        retry.on_kill()
        raise KeyboardInterrupt

    retry.requests = retry._given = rows()
    with pytest.raises(KeyboardInterrupt):
        run_try(retry)
    assert cancels(gemini_emulator) == [submission["job_name"]]
