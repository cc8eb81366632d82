"""The trigger by itself: what it stores, what it fires, what it never does."""

import asyncio
import importlib
import json
import time
from importlib.metadata import version

import pytest
from packaging.version import Version

from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

ASK = {"contents": [{"parts": [{"text": "hi"}]}]}


@pytest.fixture
def job(connection, gemini_emulator, in_triggerer):
    """A job that runs until the test says otherwise."""
    gemini_emulator.add_fault(action="job", state="STUCK")
    with GeminiBatchHook().get_conn() as client:
        return client.create_batch("gemini-2.5-flash", "d", requests=[InlineRequest(request=ASK, key="a")]).name


def trigger(job, deadline_in=60.0, **changes):
    return GeminiBatchTrigger(
        "gemini_default", time.time() + deadline_in, job_names=[job], poll_interval=1.0, **changes
    )


async def events(*triggers):
    async def all_of(one):
        return [event.payload async for event in one.run()]

    return await asyncio.gather(*map(all_of, triggers))


def test_it_stores_names_and_numbers_only():
    waiting = {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1}
    path, kwargs = GeminiBatchTrigger(
        "gemini_default", 1.5, ["batches/a"], ["agb1.x"], 2.5, 60.0, "/out/_ledger/x/1", waiting_task=waiting
    ).serialize()
    assert path == "airflow_provider_batch.triggers.gemini.GeminiBatchTrigger"
    assert kwargs == {
        "v": 2,
        "conn_id": "gemini_default",
        "deadline": 1.5,
        "job_names": ["batches/a"],
        "display_names": ["agb1.x"],
        "until": 2.5,
        "poll_interval": 60.0,
        "ledger": "/out/_ledger/x/1",
        "waiting_task": waiting,
        "cancel_note": None,
        "looks": True,
        "asked_at": None,
        "begin_by": None,
    }


def test_what_it_stored_makes_the_same_trigger_again():
    _, kwargs = GeminiBatchTrigger("c", 1.5, ["batches/a"]).serialize()
    again = GeminiBatchTrigger(**json.loads(json.dumps(kwargs)))
    assert again.serialize()[1] == kwargs


STORED = {
    "v": 2,
    "conn_id": "gemini_default",
    "display_names": [],
    "poll_interval": 1.0,
    "ledger": "/out/_ledger/x/1",
    "waiting_task": {"dag_id": "d", "task_id": "t", "run_id": "r", "map_index": -1},
    "cancel_note": "r1.cancel.json",
    "looks": True,
    "begin_by": None,
}
"""What Airflow's database holds of a trigger that the version before has deferred to, but for job and times."""


def test_a_trigger_that_the_version_before_has_stored_is_loaded_and_fires(job):
    until = time.time() + 0.5
    times = {"deadline": time.time() + 60, "until": until, "asked_at": time.time()}
    stored = json.loads(json.dumps(STORED | times | {"job_names": [job]}))
    module, _, name = "airflow_provider_batch.triggers.gemini.GeminiBatchTrigger".rpartition(".")
    loaded = getattr(importlib.import_module(module), name)(**stored)
    ((event,),) = asyncio.run(events(loaded))
    assert (event["outcome"], event["ledger"]) == ("due", "/out/_ledger/x/1")
    assert loaded.serialize()[1] == stored


def test_arguments_of_another_version_are_understood_or_ignored():
    old = {
        "v": 1,
        "job_name": "batches/a",
        "conn_id": "c",
        "deadline": 1.0,
        "poll_interval": 9.0,
        "submission": {},
    }
    assert GeminiBatchTrigger(**old).job_names == ["batches/a"]
    assert GeminiBatchTrigger(conn_id="c", deadline=1.0, job_names=["batches/a"], v=9, cells=[1]).until is None


def test_the_first_of_several_jobs_that_is_finished_ends_the_wait(job, gemini_emulator):
    with GeminiBatchHook().get_conn() as client:
        request = InlineRequest(request=ASK, key="a")
        other = client.create_batch("gemini-2.5-flash", "d", requests=[request]).name
    ((event,),) = asyncio.run(
        events(GeminiBatchTrigger("gemini_default", time.time() + 60, [job, other], poll_interval=1.0))
    )
    assert (event["outcome"], event["job_name"]) == ("finished", other)


def test_a_name_that_shows_in_the_listing_ends_the_wait(job):
    ((event,),) = asyncio.run(events(GeminiBatchTrigger("gemini_default", time.time() + 60, display_names=["d"])))
    assert (event["outcome"], event["job_name"]) == ("found", job)


def test_a_time_that_has_come_ends_the_wait(job):
    ((event,),) = asyncio.run(events(trigger(job, until=time.time() + 0.2)))
    assert event["outcome"] == "due"


def test_a_finished_job_fires_exactly_one_event(job, gemini_emulator):
    gemini_emulator.force_job(job, state="BATCH_STATE_SUCCEEDED")
    (fired,) = asyncio.run(events(trigger(job, ledger="/out/_ledger/x/1")))
    assert fired == [
        {
            "outcome": "finished",
            "job_name": job,
            "state": "BATCH_STATE_SUCCEEDED",
            "message": f"{job} is BATCH_STATE_SUCCEEDED.",
            "ledger": "/out/_ledger/x/1",
        }
    ]


def test_the_deadline_is_absolute_so_a_restart_does_not_begin_it_again(job):
    first = trigger(job, deadline_in=1.0)
    _, kwargs = first.serialize()
    time.sleep(1.1)
    (fired,) = asyncio.run(events(GeminiBatchTrigger(**kwargs)))
    assert [event["outcome"] for event in fired] == ["timeout"]


def test_a_credential_that_is_rejected_ends_the_wait(job, gemini_emulator):
    gemini_emulator.add_fault(call="batches.get", action="status", status=403, times=None)
    (fired,) = asyncio.run(events(trigger(job)))
    assert [event["outcome"] for event in fired] == ["unreadable"]


@pytest.mark.skipif(
    Version(version("apache-airflow")) < Version("3.2"),
    reason="Airflow 3.1 says that a connection is missing in a triggerer's process only",
)
def test_a_connection_that_is_gone_ends_the_wait_with_its_name():
    gone = GeminiBatchTrigger("nowhere", time.time() + 60, ["batches/a"])
    ((event,),) = asyncio.run(events(gone))
    assert event["outcome"] == "unreadable"
    assert "There is no connection 'nowhere'" in event["message"]


def test_it_only_looks_and_changes_nothing(job, gemini_emulator):
    before = gemini_emulator.journal()
    asyncio.run(events(trigger(job, deadline_in=1.0)))
    assert gemini_emulator.journal() == before


def test_it_waits_without_blocking_the_loop_that_must_answer_it(monkeypatch, in_triggerer):
    """The API is served by the very event loop that the triggers run on: one blocking call and nobody answers."""
    job = "batches/" + "a" * 36
    body = json.dumps({"name": job, "done": True, "metadata": {"state": "BATCH_STATE_SUCCEEDED"}}).encode()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async def served_by_this_loop():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        fields = {"conn_type": "gemini", "host": f"http://127.0.0.1:{port}", "password": "test-key"}
        monkeypatch.setenv("AIRFLOW_CONN_GEMINI_DEFAULT", json.dumps(fields))
        async with server:
            return await asyncio.wait_for(events(*(trigger(job) for _ in range(5))), timeout=30)

    assert [event["outcome"] for (event,) in asyncio.run(served_by_this_loop())] == ["finished"] * 5
