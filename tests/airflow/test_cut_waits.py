"""A wait that no trigger has ended: no triggerer runs, or it cannot load the trigger."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_batch.airflow_compat import airflow_exception
from airflow_provider_batch.errors import ConfigError, JobTimeoutError
from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.sensors.gemini import GeminiBatchSensor
from tests.airflow.tries import batch_of, deferred_by

OVERDUE = ("__fail__", {"error": "Trigger timeout"})
BROKEN = ("__fail__", {"error": "Trigger failure", "traceback": ["ModuleNotFoundError: No module named 'x'"]})


@pytest.fixture
def context():
    ti = SimpleNamespace(dag_id="dag", task_id="label", run_id="run", map_index=-1, xcom_push=lambda **_: None)
    return {"ti": ti, "task_state_store": None, "outlet_events": {}}


@pytest.fixture
def stuck(connection, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)


def created(emulator):
    return [call["batch"] for call in emulator.journal() if call["call"] == "batches.create"]


@pytest.mark.matrix
def test_the_scheduler_is_told_when_a_trigger_is_overdue(stuck, tmp_path, context):
    deferral = deferred_by(lambda: batch_of(tmp_path, "a", deferrable=True, timeout=3600).execute(context))
    assert 3600 <= deferral.timeout.total_seconds() <= 3600 + 600


@pytest.mark.matrix
def test_a_batch_that_has_ended_meanwhile_lands_without_a_triggerer(stuck, tmp_path, context, gemini_emulator):
    operator = batch_of(tmp_path, "ab", deferrable=True)
    deferred_by(lambda: operator.execute(context))
    gemini_emulator.force_job(created(gemini_emulator)[0], state="SUCCEEDED")
    manifest = operator.resume_execution(*OVERDUE, context)
    assert manifest["counts"] == {"success": 2}
    assert len(created(gemini_emulator)) == 1


@pytest.mark.matrix
def test_a_batch_that_has_not_ended_fails_and_a_retry_goes_on_with_it(stuck, tmp_path, context, gemini_emulator):
    late = batch_of(tmp_path, "ab", deferrable=True, timeout=3600)
    deferred_by(lambda: late.execute(context))
    gemini_emulator.advance_clock(3700)
    with pytest.raises(JobTimeoutError, match="AGB-P05") as caught:
        late.resume_execution(*OVERDUE, context)
    assert "Nothing was cancelled: the jobs may still run and be billed" in str(caught.value)
    gemini_emulator.force_job(created(gemini_emulator)[0], state="SUCCEEDED")
    assert batch_of(tmp_path, "ab").execute(context)["counts"] == {"success": 2}
    assert len(created(gemini_emulator)) == 1


def test_before_its_deadline_a_batch_waits_on(stuck, tmp_path, context):
    operator = batch_of(tmp_path, "ab", deferrable=True)
    deferred_by(lambda: operator.execute(context))
    assert deferred_by(lambda: operator.resume_execution(*OVERDUE, context)).trigger.job_names


def test_where_the_triggerer_cannot_load_the_trigger_the_worker_waits(
    stuck, tmp_path, context, gemini_emulator, capsys, caplog
):
    operator = batch_of(tmp_path, "ab", deferrable=True)
    deferred_by(lambda: operator.execute(context))
    gemini_emulator.force_job(created(gemini_emulator)[0], state="SUCCEEDED")
    assert operator.resume_execution(*BROKEN, context)["counts"] == {"success": 2}
    said = capsys.readouterr().out + caplog.text
    assert "The triggerer cannot wait (ModuleNotFoundError: No module named 'x'): this worker does." in said


@pytest.fixture
def job(stuck):
    ask = {"contents": [{"parts": [{"text": "hi"}]}]}
    with GeminiBatchHook().get_conn() as client:
        return client.create_batch("gemini-2.5-flash", "d", requests=[InlineRequest(request=ask, key="a")]).name


def sensor(job, **arguments):
    return GeminiBatchSensor(task_id="wait", submission=job, deferrable=True, timeout=60, **arguments)


@pytest.mark.matrix
def test_a_sensor_at_its_timeout_fails_without_a_retry_and_names_the_job(job, context):
    with pytest.raises(airflow_exception("AirflowSensorTimeout"), match=f"AGB-P05 {job} is not finished"):
        sensor(job).resume_execution(*OVERDUE, context)


@pytest.mark.matrix
@pytest.mark.parametrize("how", ["trigger", "scheduler"])
def test_a_deferrable_sensor_with_soft_fail_is_skipped_at_its_timeout(job, context, how, capsys, caplog):
    event = {"outcome": "timeout", "job_name": job, "message": f"{job} is not finished."}
    ended = OVERDUE if how == "scheduler" else ("execute_complete", {"event": event})
    with pytest.raises(airflow_exception("AirflowSkipException")):
        sensor(job, soft_fail=True).resume_execution(*ended, context)
    assert f"AGB-P05 {job} is not finished" in capsys.readouterr().out + caplog.text


def test_a_sensor_that_polls_says_at_its_timeout_that_the_job_runs_on(job, context):
    waiting = GeminiBatchSensor(task_id="wait", submission=job, deferrable=False, timeout=1, poke_interval=1)
    with pytest.raises(airflow_exception("AirflowSensorTimeout"), match="may still run and be billed"):
        waiting.execute(context)


def test_a_failed_job_fails_its_sensor_without_a_retry_or_skips_it(job, context, gemini_emulator):
    gemini_emulator.force_job(job, state="BATCH_STATE_FAILED")
    with pytest.raises(airflow_exception("AirflowFailException"), match="AGB-J01"):
        sensor(job).execute(context)
    with pytest.raises(airflow_exception("AirflowSkipException")):
        sensor(job, soft_fail=True).execute(context)


def test_a_job_that_has_ended_meanwhile_is_a_success_of_its_sensor(job, context, gemini_emulator):
    assert deferred_by(lambda: sensor(job).execute(context)).timeout.total_seconds() > 600
    gemini_emulator.force_job(job, state="SUCCEEDED")
    assert sensor(job).resume_execution(*OVERDUE, context) == job


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"poke_interval": 0}, "AGB-C06 poke_interval must be a number of seconds from 1 to 86,400, got 0"),
        ({"poke_interval": "often"}, "AGB-C06 poke_interval must be"),
        ({"timeout": -1}, "AGB-C06 timeout must be"),
        ({"deferrable": "perhaps"}, "AGB-C06 deferrable must be True or False"),
        ({"submission": "abc"}, "AGB-C08 submission must be the name of a job"),
        ({"submission": 3}, "AGB-C08 submission: the task was given no job, but 3"),
        ({"gemini_conn_id": None}, "AGB-C06 gemini_conn_id must be a text, got None"),
    ],
)
def test_an_argument_of_a_sensor_is_checked_where_its_dag_is_read(arguments, what):
    with pytest.raises(ConfigError) as caught:
        GeminiBatchSensor(**{"task_id": "wait", "submission": "batches/a"} | arguments)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    "form", ["{'job_name': 'batches/a', 'job_names': ['batches/a', 'batches/b']}", "batches/a"]
)
def test_a_submission_may_be_the_text_that_a_template_yields(form):
    waiting = GeminiBatchSensor(task_id="wait", submission="{{ ti.xcom_pull('submit') }}")
    waiting.submission = form
    waiting._check_rendered()
    assert waiting._job_names()[0] == "batches/a"
