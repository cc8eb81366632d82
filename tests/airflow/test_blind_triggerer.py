"""A triggerer that cannot ask about jobs that its workers can ask about."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from airflow_provider_batch.deferring import BLIND_WAIT_S
from tests.airflow.tries import batch_of, deferral_of


@pytest.fixture
def context():
    ti = SimpleNamespace(dag_id="dag", task_id="label", run_id="run", map_index=-1, xcom_push=lambda **_: None)
    return {"ti": ti, "task_state_store": None, "outlet_events": {}}


@pytest.fixture
def waiting(connection, gemini_emulator, tmp_path, context, in_triggerer):
    """An operator whose job runs until the test says otherwise, and the trigger that it deferred to."""
    gemini_emulator.add_fault(action="job", state="STUCK")
    operator = batch_of(tmp_path, "abc", deferrable=True)
    return operator, deferral_of(lambda: operator.execute(context))


def fired(trigger, within_s=20.0):
    async def first():
        async for event in trigger.run():
            return event.payload

    return asyncio.run(asyncio.wait_for(first(), within_s))


def test_workers_look_in_its_place_every_five_minutes(waiting, connection, context, gemini_emulator, capsys):
    operator, trigger = waiting
    connection(password="")
    event = fired(trigger)
    assert event["outcome"] == "unreadable"
    connection()
    again = deferral_of(lambda: operator.execute_complete(context, event))
    assert again.until == pytest.approx(time.time() + BLIND_WAIT_S, abs=30)
    said = capsys.readouterr().out
    assert "The triggerer cannot wait for the jobs, and this worker can: " in said
    assert "There is no API key" in said

    asked = len(gemini_emulator.requests())
    with pytest.raises(asyncio.TimeoutError):
        fired(again, within_s=1.5)
    assert len(gemini_emulator.requests()) == asked
    assert again.job_names == trigger.job_names


def test_it_is_tried_again_after_that_time(waiting, context):
    operator, trigger = waiting
    event = {"outcome": "due", "message": "The time to go on has come.", "ledger": trigger.ledger}
    again = deferral_of(lambda: operator.execute_complete(context, event))
    assert (again.looks, again.until) == (True, None)


def test_a_job_that_has_ended_meanwhile_is_landed_all_the_same(waiting, context, gemini_emulator):
    operator, trigger = waiting
    gemini_emulator.force_job(trigger.job_names[0], state="SUCCEEDED")
    event = {"outcome": "unreadable", "message": "No.", "ledger": trigger.ledger}
    assert operator.execute_complete(context, event)["counts"] == {"success": 3}
