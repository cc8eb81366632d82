"""From the note about a delivery to the poller: it looks at once, and nothing that goes wrong here is felt."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable, PutVariable, VariableResult

from airflow_provider_batch.batch.wait.poller import Poller, WaitFor
from airflow_provider_batch.batch.wait.webhook_notes import key_of, noted
from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger
from airflow_provider_batch.triggers.pollers import service_of
from airflow_provider_batch.triggers.wakeups import WebhookListener

ASK = InlineRequest(request={"contents": [{"parts": [{"text": "hi"}]}]}, key="a")
KEY = key_of("gemini_default")


class Supervisor:
    """The other end of a triggerer's line, as far as Variables are concerned."""

    def __init__(self):
        self.variables, self.asked, self.broken_off = {}, [], 0
        self.trouble = None

    async def asend(self, message):
        if isinstance(message, PutVariable):
            self.variables[message.key] = message.value
            return None
        if not isinstance(message, GetVariable):
            return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)
        self.asked.append(message.key)
        try:
            await asyncio.sleep(0.01)
            if self.trouble is not None:
                return await self.trouble()
        except asyncio.CancelledError:
            self.broken_off += 1
            raise
        if message.key not in self.variables:
            return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND)
        return VariableResult(key=message.key, value=self.variables[message.key])


@pytest.fixture
def supervisor(monkeypatch):
    supervisor = Supervisor()
    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


@pytest.fixture
def job(connection, gemini_emulator, supervisor):
    """A job that has run for days, so that it is looked at as seldom as the user allows."""
    connection(extra={"webhook_secret": "whsec_AAAA"})
    gemini_emulator.add_fault(action="job", state="STUCK")
    with GeminiBatchHook().get_conn() as client:
        name = client.create_batch("gemini-2.5-flash", "d", requests=[ASK]).name
    gemini_emulator.advance_clock(10 * 3600)
    return name


@asynccontextmanager
async def waiting(job, poll_interval_s=600.0):
    """A poller with a listener, and a wait for the job after its first look."""
    poller = Poller(lambda: service_of("gemini_default"))
    listener = WebhookListener("gemini_default", every_s=0.05)
    listener.begin(poller)
    vigil = WaitFor((job,), (), None, time.time() + 90 * 3600, poll_interval_s)
    wait = asyncio.ensure_future(poller.wait(vigil, lambda _: None))
    try:
        yield wait
    finally:
        wait.cancel()
        listener.end()
        await asyncio.gather(wait, return_exceptions=True)


def looks(emulator, job):
    return sum(request["path"].endswith(job) and request["method"] == "GET" for request in emulator.requests())


async def until(is_so, patience_s=10.0):
    deadline = time.monotonic() + patience_s
    while not await asyncio.to_thread(is_so):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def readings(supervisor, more):
    so_far = len(supervisor.asked)
    await until(lambda: len(supervisor.asked) > so_far + more)


def test_a_job_that_was_delivered_is_looked_at_at_once(job, gemini_emulator, supervisor):
    async def story():
        async with waiting(job) as wait:
            await until(lambda: looks(gemini_emulator, job) == 1)
            gemini_emulator.force_job(job, state="SUCCEEDED")
            supervisor.variables[KEY] = noted(None, [job], time.time())
            return await asyncio.wait_for(wait, 5)

    assert asyncio.run(story()).state == "BATCH_STATE_SUCCEEDED"
    assert looks(gemini_emulator, job) == 2


@pytest.mark.parametrize("name", ["", "batch_123456"])
def test_a_delivery_that_names_no_job_makes_it_look_at_all(job, gemini_emulator, supervisor, name):
    async def story():
        async with waiting(job):
            await until(lambda: looks(gemini_emulator, job) == 1)
            supervisor.variables[KEY] = noted(None, [name], time.time())
            await until(lambda: looks(gemini_emulator, job) == 2)

    asyncio.run(story())


def test_a_delivery_about_a_job_of_somebody_else_costs_no_look(job, gemini_emulator, supervisor):
    async def story():
        async with waiting(job):
            await until(lambda: looks(gemini_emulator, job) == 1)
            supervisor.variables[KEY] = noted(None, ["batches/of-another"], time.time())
            await readings(supervisor, 5)
            supervisor.variables[KEY] = noted(supervisor.variables[KEY], [job], time.time())
            await until(lambda: looks(gemini_emulator, job) > 1)
            await readings(supervisor, 5)

    asyncio.run(story())
    assert looks(gemini_emulator, job) == 2


def test_a_note_that_is_missing_is_made_once_so_that_no_reading_is_an_error(job, gemini_emulator, supervisor):
    async def story():
        async with waiting(job):
            await until(lambda: len(supervisor.asked) > 5)

    asyncio.run(story())
    assert supervisor.variables == {KEY: "{}"}


async def refused():
    return ErrorResponse(error=ErrorType.GENERIC_ERROR)


async def broken():
    raise RuntimeError("Response read out of order!")


async def silent():
    await asyncio.sleep(3600)


async def nonsense():
    return VariableResult(key=KEY, value="{")


@pytest.mark.parametrize("trouble", [refused, broken, silent, nonsense])
def test_a_wait_goes_on_when_the_note_cannot_be_read(job, gemini_emulator, supervisor, trouble):
    supervisor.trouble = trouble

    async def story():
        async with waiting(job, poll_interval_s=1.0) as wait:
            await until(lambda: len(supervisor.asked) > (0 if trouble is silent else 3))
            gemini_emulator.force_job(job, state="SUCCEEDED")
            return await asyncio.wait_for(wait, 5)

    assert asyncio.run(story()).outcome == "finished"


def test_notes_are_heard_again_when_they_can_be_read_again(job, gemini_emulator, supervisor, caplog):
    supervisor.trouble = broken

    async def story():
        async with waiting(job):
            await until(lambda: "gemini_default are not heard of (RuntimeError); polling goes on" in caplog.text)
            await readings(supervisor, 5)
            supervisor.variables[KEY] = noted(None, [job], time.time())
            supervisor.trouble = None
            await until(lambda: looks(gemini_emulator, job) == 2)

    asyncio.run(story())
    assert caplog.text.count("are not heard of") == 1


def test_a_question_to_the_supervisor_is_never_broken_off(supervisor):
    """Airflow 3.1 would take the late answer for that to the next question of whatever trigger."""

    async def story():
        listener = WebhookListener("gemini_default")
        listener.begin(Poller(lambda: service_of("gemini_default")))
        await until(lambda: supervisor.asked)
        listener.end()
        await asyncio.sleep(0.05)

    asyncio.run(story())
    assert supervisor.broken_off == 0


async def fired(job):
    """What a trigger fires; nothing of it runs on."""
    before = asyncio.all_tasks()
    trigger = GeminiBatchTrigger("gemini_default", time.time() + 90 * 3600, [job], poll_interval=1.0)
    events = [event.payload["outcome"] async for event in trigger.run()]
    if rest := asyncio.all_tasks() - before:
        _, running = await asyncio.wait(rest, timeout=5)
        assert not running
    return events


def test_a_trigger_whose_connection_has_a_secret_listens_while_it_waits(job, gemini_emulator, supervisor):
    async def end_the_job():
        await until(lambda: supervisor.asked == [KEY])
        gemini_emulator.force_job(job, state="SUCCEEDED")

    async def story():
        return await asyncio.wait_for(asyncio.gather(fired(job), end_the_job()), 10)

    assert asyncio.run(story())[0] == ["finished"]


def test_a_trigger_whose_connection_has_no_secret_reads_no_note(job, connection, gemini_emulator, supervisor):
    connection()
    gemini_emulator.force_job(job, state="SUCCEEDED")
    assert asyncio.run(fired(job)) == ["finished"]
    assert supervisor.asked == []
