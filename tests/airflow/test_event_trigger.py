"""The trigger for asset watchers, by itself: what it fires, and what it remembers where Airflow lets it."""

from __future__ import annotations

import asyncio
import json

import pytest
from airflow.triggers.base import BaseEventTrigger

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.triggers.events import GeminiBatchEventTrigger

ROW = InlineRequest(request={"contents": [{"parts": [{"text": "hi"}]}]}, key="a")


@pytest.fixture
def create(connection, gemini_emulator, in_triggerer):
    """Create a job that runs until the test says otherwise."""
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)

    def create(display_name):
        with GeminiBatchHook().get_conn() as client:
            return client.create_batch("gemini-2.5-flash", display_name, requests=[ROW]).name

    return create


class Store:
    """What Airflow 3.3 gives a watcher; kept by the test, as Airflow's database keeps it."""

    def __init__(self):
        self.values = {}

    async def aget(self, key, default=None):
        return self.values.get(key, default)

    async def aset(self, key, value):
        self.values[key] = json.loads(json.dumps(value))


class NoStore:
    async def aget(self, key, default=None):
        raise ValueError("Task has 2 concrete inlets")

    async def aset(self, key, value):
        raise ValueError("Task has 2 concrete inlets")


def watch(count, meanwhile=None, store=None, prefix="other.", seconds=20.0):
    """Let a watcher run until it has fired so often; what it fired."""
    trigger = GeminiBatchEventTrigger(prefix, poll_interval=1)
    # A test has less time than the API's listing.
    trigger.poll_interval = 0.2
    trigger.asset_state_store = store
    fired = []

    async def run():
        async for event in trigger.run():
            fired.append(event.payload)
            if len(fired) == count:
                return

    async def both():
        running = asyncio.ensure_future(run())
        await asyncio.sleep(1.5)
        if meanwhile:
            await asyncio.to_thread(meanwhile)
        await asyncio.wait([running], timeout=seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(both())
    return fired


def test_it_is_a_trigger_for_asset_watchers_with_plain_arguments():
    trigger = GeminiBatchEventTrigger("nightly.", gemini_conn_id="c", poll_interval=30.0)
    assert isinstance(trigger, BaseEventTrigger)
    path, kwargs = trigger.serialize()
    assert path == "airflow_provider_batch.triggers.events.GeminiBatchEventTrigger"
    assert kwargs == {"display_name_prefix": "nightly.", "conn_id": "c", "poll_interval": 30.0}
    assert GeminiBatchEventTrigger(**kwargs).serialize()[1] == kwargs


def test_arguments_of_a_later_version_are_ignored():
    assert GeminiBatchEventTrigger("a", later=True, v=2).display_name_prefix == "a"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"poll_interval": 0}, "poll_interval must be a number of seconds from 1 to 3,600, got 0"),
        ({"poll_interval": "often"}, "poll_interval must be"),
        ({"poll_interval": None}, "poll_interval must be"),
        ({"conn_id": ""}, "conn_id must be a text"),
        ({"display_name_prefix": 3}, "display_name_prefix must be a text, got 3"),
        ({"display_name_prefix": None}, "display_name_prefix must be a text, got None"),
        ({"display_name_prefix": "{{ ds }}."}, "and it is not templated"),
        ({"prefix": "nightly."}, "GeminiBatchEventTrigger has no argument 'prefix'"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_an_import_error_of_its_dag(arguments, what):
    with pytest.raises(ConfigError, match="AGB-C06") as caught:
        GeminiBatchEventTrigger(**arguments)
    assert what in str(caught.value)


def test_a_batch_that_ends_fires_once_with_what_is_known_of_it(create, gemini_emulator):
    name, _ = create("other.one"), create("elsewhere")
    (event,) = watch(1, lambda: gemini_emulator.force_job(name, state="SUCCEEDED"))
    assert event.pop("created_at") <= event.pop("ended_at")
    assert event == {
        "job_name": name,
        "display_name": "other.one",
        "state": "succeeded",
        "requests": 1,
        "succeeded": 1,
        "failed": 0,
        "output_file": None,
        "conn_id": "gemini_default",
    }


def test_batches_of_other_names_and_those_that_ended_before_fire_nothing(create, gemini_emulator):
    before, other = create("other.before"), create("elsewhere")
    gemini_emulator.force_job(before, state="SUCCEEDED")
    gemini_emulator.advance_clock(60)
    assert watch(1, lambda: gemini_emulator.force_job(other, state="SUCCEEDED"), seconds=2.0) == []


def test_a_batch_that_failed_fires_as_well(create, gemini_emulator):
    name = create("other.one")
    (event,) = watch(1, lambda: gemini_emulator.force_job(name, state="FAILED"))
    assert event["state"] == "failed"


def test_what_ends_while_no_triggerer_runs_is_told_by_the_next(create, gemini_emulator):
    store, first, second = Store(), create("other.first"), create("other.second")
    watch(2, lambda: gemini_emulator.force_job(first, state="SUCCEEDED"), store, seconds=2.0)
    gemini_emulator.force_job(second, state="SUCCEEDED")
    assert [event["job_name"] for event in watch(2, store=store, seconds=2.0)] == [second]


def test_a_store_that_cannot_be_used_leaves_the_watcher_as_it_is_without_one(create, gemini_emulator):
    name = create("other.one")
    (event,) = watch(1, lambda: gemini_emulator.force_job(name, state="SUCCEEDED"), NoStore())
    assert event["job_name"] == name
