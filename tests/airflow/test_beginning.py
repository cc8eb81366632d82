"""A task that cannot begin for a reason that may pass: it waits deferred, and has sent nothing."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from airflow_provider_batch.airflow_compat import is_cleared
from airflow_provider_batch.decorators.gemini import GeminiBatchDecoratedOperator
from airflow_provider_batch.errors import BatchError, ConfigError, JobTimeoutError
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger
from tests.airflow.tries import batch_of, deferred_by

OVERDUE = ("__fail__", {"error": "Trigger timeout"})


def context(**of_ti):
    ti = SimpleNamespace(
        dag_id="dag", task_id="label", run_id="run", map_index=-1, xcom_push=lambda **_: None, **of_ti
    )
    return {"ti": ti, "task_state_store": None, "outlet_events": {}}


def created(emulator):
    return [call["batch"] for call in emulator.journal() if call["call"] == "batches.create"]


@pytest.fixture(params=["models.get", "batches.list"])
def down(request, connection, gemini_emulator):
    """A call that comes before anything is sent fails for longer than the client repeats it."""
    gemini_emulator.add_fault(call=request.param, action="status", status=503, times=5)


def event_of(deferral):
    """What the triggerer makes of a deferral whose time has come."""
    path, kwargs = deferral.trigger.serialize()
    assert path.endswith("GeminiBatchTrigger")
    trigger = GeminiBatchTrigger(**{**kwargs, "until": kwargs["asked_at"]})

    async def first():
        async for event in trigger.run():
            return event.payload

    return asyncio.run(asyncio.wait_for(first(), 10))


def test_what_keeps_a_task_from_beginning_defers_it_and_it_begins_later(down, tmp_path, gemini_emulator):
    operator = batch_of(tmp_path, "ab", deferrable=True, timeout=3_600)
    began = time.time()
    deferral = deferred_by(lambda: operator.execute(context()))
    assert 60 <= deferral.timeout.total_seconds() <= 60 + 600
    assert began + 3_500 < deferral.trigger.begin_by < began + 3_700
    assert created(gemini_emulator) == []
    event = event_of(deferral)
    assert event["begin_by"] == deferral.trigger.begin_by
    waits = deferred_by(lambda: batch_of(tmp_path, "ab", deferrable=True).execute_complete(context(), event))
    assert waits.trigger.job_names == created(gemini_emulator)


def test_a_wait_to_begin_that_no_trigger_has_ended_begins_all_the_same(down, tmp_path, gemini_emulator):
    operator = batch_of(tmp_path, "ab", deferrable=True)
    deferred_by(lambda: operator.execute(context()))
    waits = deferred_by(lambda: operator.resume_execution(*OVERDUE, context()))
    assert waits.trigger.job_names == created(gemini_emulator)


def test_a_task_that_cannot_begin_before_its_time_is_up_fails_with_the_reason(
    connection, tmp_path, gemini_emulator
):
    gemini_emulator.add_fault(call="models.get", action="status", status=503, times=None)
    operator = batch_of(tmp_path, "ab", deferrable=True, timeout=3_600)
    with pytest.raises(BatchError, match="503"):
        operator.execute_complete(context(), {"outcome": "due", "begin_by": time.time() - 1})
    assert created(gemini_emulator) == []


@pytest.mark.parametrize(("call", "status"), [("models.get", 404), ("models.get", 401), ("batches.list", 403)])
def test_what_does_not_pass_fails_the_task_at_once(connection, tmp_path, gemini_emulator, call, status):
    error = {"code": status, "message": "no", "status": {404: "NOT_FOUND"}.get(status, "PERMISSION_DENIED")}
    gemini_emulator.add_fault(call=call, action="status", status=status, body={"error": error}, times=None)
    with pytest.raises(Exception, match=r"no|knows no model"):
        batch_of(tmp_path, "ab", deferrable=True).execute(context())


def test_a_dry_run_does_not_wait_for_an_api_that_is_away(connection, tmp_path, gemini_emulator):
    gemini_emulator.add_fault(call="models.get", action="status", status=503, times=None)
    with pytest.raises(BatchError, match="503"):
        batch_of(tmp_path, "ab", deferrable=True, dry_run=True).execute(context())


def test_rows_of_a_function_are_asked_for_again_when_the_task_begins_later(down, tmp_path, gemini_emulator):
    asked = []

    def rows():
        asked.append(1)
        yield {"key": "a", "text": "hello"}

    operator = GeminiBatchDecoratedOperator(
        task_id="label",
        python_callable=rows,
        op_args=(),
        op_kwargs={},
        model="gemini-2.5-flash",
        prompt="Say {text}",
        result_path=str(tmp_path / "out"),
        deferrable=True,
    )
    event = event_of(deferred_by(lambda: operator.execute(context())))
    waits = deferred_by(lambda: operator.execute_complete(context(), event))
    assert (len(asked), waits.trigger.job_names) == (2, created(gemini_emulator))


@pytest.mark.parametrize(
    ("number", "most", "retries", "cleared"),
    [(1, 0, 0, False), (1, 2, 2, False), (2, 2, 2, False), (3, 2, 2, False), (2, 1, 0, True), (4, 5, 2, True)],
    ids=["first", "first of three", "retry", "last retry", "cleared after one", "cleared after a retry"],
)
def test_a_clear_is_told_from_a_retry(number, most, retries, cleared):
    assert is_cleared(SimpleNamespace(try_number=number, max_tries=most), retries) is cleared


def test_a_clear_after_the_deadline_waits_on_for_the_same_job(connection, tmp_path, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    arguments = {"deferrable": True, "timeout": 3_600}
    deferred_by(lambda: batch_of(tmp_path, "ab", **arguments).execute(context(try_number=1, max_tries=0)))
    gemini_emulator.advance_clock(3_700)
    with pytest.raises(JobTimeoutError, match=r"AGB-P05 .* Clear the task to wait on for the same jobs"):
        batch_of(tmp_path, "ab", retries=1, **arguments).execute(context(try_number=2, max_tries=1))
    again = deferred_by(
        lambda: batch_of(tmp_path, "ab", **arguments).execute(context(try_number=2, max_tries=1))
    ).trigger
    assert again.job_names == created(gemini_emulator)
    assert len(again.job_names) == 1


@pytest.mark.parametrize("kind", ["oauth_token", "adc"])
def test_a_credential_that_does_not_say_whose_it_is_sends_nothing(
    connection, tmp_path, gemini_emulator, monkeypatch, kind
):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    connection(password="a-token-of-somebody", extra={"auth_type": kind})
    with pytest.raises(ConfigError, match="AGB-C02"):
        batch_of(tmp_path, "ab").execute(context())
    connection(password="a-token-of-somebody", extra={"auth_type": "oauth_token", "account": "ours"})
    assert batch_of(tmp_path, "ab").execute(context())["counts"] == {"success": 2}
