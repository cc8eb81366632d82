"""On a real Airflow: a batch is tried before it is sent, and rescued before it is late."""

from __future__ import annotations

import datetime

import pytest

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.operators.fetch import GeminiBatchFetchResultsOperator
from airflow_provider_batch.operators.gemini import GeminiBatchOperator
from airflow_provider_batch.operators.options import SingleCalls
from airflow_provider_batch.sensors.gemini import GeminiBatchSensor
from tests.airflow.tries import batch_of, run_try

AHEAD = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=12)


def created(emulator):
    return [entry for entry in emulator.journal() if entry["call"] == "batches.create"]


@pytest.fixture(autouse=True)
def quick(connection):
    """A connection whose calls need not wait for each other."""
    connection(extra={"requests_per_minute": 60_000})


@pytest.mark.matrix
def test_rows_are_tried_before_the_batch_and_are_results_like_any_other(case, gemini_emulator):
    run = case("tried", "a", "b", "c", "d")
    assert run.state == "success", run.log
    assert set(run.xcom["read"].values()) == {"success"}
    assert len(run.xcom["read"]) == 4
    assert len(gemini_emulator.billed_calls()) == 2
    assert len(created(gemini_emulator)) == 1
    assert "2 rows tried, and for all rows these ranges of 95 %" in run.log


@pytest.mark.matrix
def test_a_bad_prompt_is_found_before_the_batch_and_a_retry_would_not_mend_it(case, gemini_emulator):
    gemini_emulator.add_fault(call="models.generateContent", action="status", status=400, message="no", times=None)
    run = case("tried")
    assert run.tasks["batch"] == "failed"
    assert "AGB-T01 2 of 2 rows of the trial have no usable answer" in run.log
    assert created(gemini_emulator) == []


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["late_answered", "late_answered_synchronous"])
def test_rows_of_late_jobs_are_answered_by_single_calls(case, gemini_emulator, name):
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    run = case(name)
    assert run.state == "success", run.log
    assert run.xcom["read"] == {"a": "success", "b": "success", "c": "success"}
    assert [call["tier"] for call in gemini_emulator.billed_calls()] == ["flex"] * 3
    assert len(created(gemini_emulator)) == 1


def test_jobs_in_time_leave_nothing_to_be_rescued(case, gemini_emulator):
    run = case("ready", ready_by=AHEAD.isoformat())
    assert run.state == "success", run.log
    assert "Single calls begin at" in run.log
    assert gemini_emulator.billed_calls() == []


def test_a_timedelta_counts_from_the_end_of_the_data_interval(case):
    run = case("ready_after_interval")
    assert run.state == "success", run.log
    assert "Single calls begin at" in run.log


@pytest.mark.parametrize("given", ["2020-01-01T07:00:00+00:00", "2020-01-01 07:00:00Z"])
def test_a_time_that_has_passed_is_refused_before_anything_is_sent(case, gemini_emulator, given):
    run = case("ready", ready_by=given)
    assert run.tasks["batch"] == "failed"
    assert "AGB-T03 ready_by has passed: 2020-01-01 07:00:00 UTC." in run.log
    assert created(gemini_emulator) == []


@pytest.mark.parametrize("given", ["tomorrow", "2030-01-01T07:00:00", "", "-1:00:00"])
def test_what_is_no_time_with_a_zone_is_refused_in_the_task(case, gemini_emulator, given):
    run = case("ready", ready_by=given)
    assert run.tasks["batch"] == "failed"
    assert "ready_by must be a time with its time zone" in run.log
    assert created(gemini_emulator) == []


def told_to_the_page(dag_id):
    """What the newest run of a DAG has noted for the page of batches."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        wanted = select(XComModel).where(XComModel.dag_id == dag_id, XComModel.key == "gemini_batch")
        return XComModel.deserialize_value(session.scalars(wanted.order_by(XComModel.timestamp.desc())).first())


def test_a_batch_that_needs_no_job_passes_a_sensor_and_is_fetched(gemini_emulator, tmp_path):
    submission = run_try(batch_of(tmp_path, "ab", trial_rows=5, wait_for_completion=False))
    assert (submission["job_name"], submission["job_names"]) == ("", [])
    seen = GeminiBatchSensor(task_id="wait", submission=submission).poke({})
    assert (seen.is_done, seen.xcom_value) == (True, submission)
    manifest = run_try(GeminiBatchFetchResultsOperator(task_id="fetch", submission=submission))
    assert manifest["counts"] == {"success": 2}
    assert created(gemini_emulator) == []


def batch(**arguments):
    given = {"model": "gemini-2.5-flash", "requests": "/in.jsonl", "result_path": "/out"}
    return GeminiBatchOperator(task_id="batch", **given, **arguments)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"trial_rows": -1}, "trial_rows must be a whole number from 0 to 1000"),
        ({"trial_rows": 1.5}, "trial_rows must be a whole number"),
        ({"ready_by": datetime.datetime(2030, 1, 1)}, "ready_by must be a time with its time zone"),
        ({"ready_by": datetime.timedelta(0)}, "ready_by must be"),
        ({"ready_by": 7}, "ready_by must be"),
        ({"single_calls": {"tiers": ()}}, "single_calls.tiers must be a tuple of 'flex' or 'standard'"),
        ({"single_calls": {"tiers": "flex"}}, "single_calls.tiers"),
        ({"single_calls": {"tiers": ("flex", "flex")}}, "single_calls.tiers"),
        ({"single_calls": {"tiers": ("priority",)}}, "single_calls.tiers"),
        ({"single_calls": SingleCalls(concurrency=0)}, "single_calls.concurrency must be a whole number from 1"),
        ({"single_calls": {"speed": 3}}, "single_calls has no option 'speed'"),
        ({"ready_by": AHEAD, "wait_for_completion": False}, "ready_by needs wait_for_completion=True"),
        (
            {"failures": {"at_timeout": "answer"}, "wait_for_completion": False},
            "at_timeout='answer' needs wait_for_completion=True",
        ),
        ({"failures": {"at_timeout": "pay"}}, "failures.at_timeout must be one of fail, cancel, answer"),
        ({"cancel_on_timeout": True}, "has no argument 'cancel_on_timeout' any more"),
        ({"failures": {"cancel_on_timeout": True}}, "failures has no option 'cancel_on_timeout'"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_the_dag_is_read(arguments, what):
    with pytest.raises(ConfigError, match=what.replace("(", r"\(")):
        batch(**arguments)


@pytest.mark.parametrize("given", [AHEAD, datetime.timedelta(hours=7), "{{ data_interval_end.add(hours=7) }}"])
def test_a_time_may_be_given_in_each_of_its_forms(given):
    assert batch(ready_by=given).ready_by == given


@pytest.mark.parametrize(("given", "leads_s"), [({}, None), ({"ready_by": AHEAD.isoformat()}, 2_000)])
def test_the_page_is_told_when_single_calls_begin(case, given, leads_s):
    name = "ready" if given else "deferred"
    case(name, **given)
    noted = told_to_the_page(f"case_{name}")
    if leads_s is None:
        assert "rescue_at" not in noted
    else:
        assert noted["deadline"] == int(AHEAD.timestamp())
        assert leads_s < noted["deadline"] - noted["rescue_at"] < 4_000
