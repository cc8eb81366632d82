"""One poller for everybody: the first news ends a wait, looking changes nothing, and many cost little."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import httpx
import pytest

from airflow_provider_batch.batch.wait import poller as polling
from airflow_provider_batch.batch.wait.poller import Poller, WaitFor
from airflow_provider_batch.batch.wait.schedule import FEW
from airflow_provider_batch.batch.wait.watch import MAX_ERROR_WAIT_S
from airflow_provider_batch.errors import BatchError
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.gemini.service import AsyncGeminiBatchService
from airflow_provider_batch.gemini.wire import InlineRequest

MANY = 3 * FEW
ROW = InlineRequest(request={"contents": [{"parts": [{"text": "hi"}]}]}, key="a")


@pytest.fixture
def create(gemini_emulator):
    """Create jobs that run until the test says otherwise; their names."""
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)

    def create(*display_names):
        with GeminiClient(Endpoint(ApiKey("k"), base_url=gemini_emulator.base_url)) as client:
            return [client.create_batch("gemini-2.5-flash", name, requests=[ROW]).name for name in display_names]

    return create


@pytest.fixture
def jobs(create):
    return create("agb.one", "agb.two")


@pytest.fixture
def many(create):
    return create(*[f"agb.{number}" for number in range(MANY)])


@pytest.fixture
def asked(gemini_emulator):
    """How often the API was asked what, since the test began."""
    return lambda: Counter(
        request["call"] for request in gemini_emulator.requests() if request["call"] != "batches.create"
    )


@pytest.fixture
def waiting(gemini_emulator):
    return Waiting(gemini_emulator.base_url)


class Waiting:
    """A poller as triggers use it, with what it told those who wait."""

    def __init__(self, base_url):
        self.told = []
        self.opened = self.closed = self.ended = self.access_fails = 0
        self.access_hangs = False
        self.access_faults = []
        self._base_url = base_url
        self.poller = Poller(self._connect, self._end)

    async def _connect(self):
        if self.access_hangs:
            await asyncio.Event().wait()
        if self.access_faults and (fault := self.access_faults.pop(0)):
            raise fault
        if self.access_fails:
            self.access_fails -= 1
            raise BatchError("the connection could not be looked up")
        self.opened += 1
        service = AsyncGeminiBatchService(AsyncGeminiClient(Endpoint(ApiKey("k"), base_url=self._base_url)))
        aclose = service.aclose

        async def closing():
            self.closed += 1
            await aclose()

        service.aclose = closing
        return service

    def _end(self):
        self.ended += 1

    async def wait(self, jobs=(), names=(), until=None, deadline=None, interval=0.1):
        wanted = WaitFor(tuple(jobs), tuple(names), until, deadline or time.time() + 30, interval)
        return await self.poller.wait(wanted, self.told.append)

    def alone(self, *args, **kwargs):
        """Wait as the only one, and see that nothing is left over."""

        async def wait():
            news = await self.wait(*args, **kwargs)
            left = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
            assert (left, self.closed) == ([], self.opened)
            return news

        return asyncio.run(wait())

    def together(self, *waits):
        """Wait as several do, each for some jobs; what ended each."""

        async def wait():
            return await asyncio.gather(*(self.wait(jobs) for jobs in waits), return_exceptions=True)

        return asyncio.run(wait())


def test_the_first_of_several_jobs_that_is_finished_is_the_news(waiting, jobs, gemini_emulator):
    gemini_emulator.force_job(jobs[1], state="SUCCEEDED")
    news = waiting.alone(jobs)
    assert (news.outcome, news.job_name, news.state) == ("finished", jobs[1], "BATCH_STATE_SUCCEEDED")


def test_a_time_that_has_come_is_news_while_the_jobs_run_on(waiting, jobs):
    assert waiting.alone(jobs, until=time.time() + 0.2).outcome == "due"


def test_the_deadline_is_news(waiting, jobs):
    news = waiting.alone(jobs, deadline=time.time() + 0.3)
    assert (news.outcome, "at the deadline" in news.message) == ("timeout", True)


def test_a_wait_for_nothing_but_a_time_asks_the_server_nothing(waiting, asked):
    assert waiting.alone(until=time.time() + 0.2).outcome == "due"
    assert not asked()


def test_a_display_name_that_shows_in_the_listing_is_news(waiting, jobs, monkeypatch):
    monkeypatch.setattr(polling, "FIRST_SCAN_S", 0.05)
    news = waiting.alone(names=["agb.t"])
    assert (news.outcome, news.job_name) == ("found", jobs[1])


def test_a_listing_that_breaks_off_is_no_news(waiting, jobs, gemini_emulator, monkeypatch):
    monkeypatch.setattr(polling, "FIRST_SCAN_S", 0.05)
    gemini_emulator.add_fault(call="batches.list", action="status", status=403, times=None)
    assert waiting.alone(names=["agb."], until=time.time() + 1).outcome == "due"
    assert any("The listing cannot be read now" in line for line in waiting.told)


def test_a_service_that_cannot_be_had_for_a_while_is_waited_for(waiting, jobs, gemini_emulator):
    gemini_emulator.force_job(jobs[0], state="SUCCEEDED")
    waiting.access_fails = 2
    assert waiting.alone(jobs[:1]).outcome == "finished"
    assert any("could not be looked up" in line for line in waiting.told)


def test_the_servers_clock_decides_when_the_time_has_come(waiting, jobs, gemini_emulator):
    gemini_emulator.advance_clock(3_600)
    began = time.monotonic()
    news = waiting.alone(jobs, until=time.time() + 1_800, deadline=time.time() + 7_200)
    assert news.outcome == "due"
    assert time.monotonic() - began < 30


def test_many_waits_are_served_by_one_reading_of_the_listing(waiting, many, asked, gemini_emulator):
    for name in many:
        gemini_emulator.force_job(name, state="SUCCEEDED")
    news = waiting.together(*([name] for name in many))
    assert [one.job_name for one in news] == many
    assert asked() == {"batches.list": 1}
    assert waiting.opened == waiting.closed == waiting.ended == 1


def test_few_waits_are_served_by_a_question_for_each_job(waiting, jobs, asked, gemini_emulator):
    for name in jobs:
        gemini_emulator.force_job(name, state="SUCCEEDED")
    waiting.together(*([name] for name in jobs))
    assert asked() == {"batches.get": 2}


def test_a_job_that_the_listing_does_not_show_is_asked_for_by_itself(waiting, create, asked, gemini_emulator):
    gemini_emulator.add_fault(action="hide", seconds=3_600, times=None)
    many = create(*[f"agb.{number}" for number in range(MANY)])
    for name in many:
        gemini_emulator.force_job(name, state="SUCCEEDED")
    news = waiting.together(*([name] for name in many))
    assert {one.outcome for one in news} == {"finished"}
    assert asked() == {"batches.list": 1, "batches.get": MANY}


def test_one_who_is_cancelled_leaves_the_others_waiting(waiting, many, gemini_emulator):
    async def wait():
        tasks = [asyncio.ensure_future(waiting.wait([name])) for name in many]
        await asyncio.sleep(0.1)
        tasks[0].cancel()
        await asyncio.sleep(0.5)
        for name in many[1:]:
            gemini_emulator.force_job(name, state="SUCCEEDED")
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, *others = asyncio.run(wait())
    assert isinstance(first, asyncio.CancelledError)
    assert {news.outcome for news in others} == {"finished"}


def test_one_whose_log_fails_ends_alone(waiting, jobs, gemini_emulator):
    def failing(text):
        raise OSError("the log is full")

    async def wait():
        wanted = WaitFor((jobs[0],), (), None, time.time() + 30, 0.1)
        tasks = [
            asyncio.ensure_future(waiting.poller.wait(wanted, tell)) for tell in (failing, waiting.told.append)
        ]
        await asyncio.wait(tasks[:1])
        gemini_emulator.force_job(jobs[0], state="SUCCEEDED")
        return await asyncio.gather(*tasks, return_exceptions=True)

    failed, news = asyncio.run(wait())
    assert (type(failed), news.outcome) == (OSError, "finished")


def test_where_the_listing_is_refused_each_job_is_asked_for(waiting, many, asked, gemini_emulator):
    gemini_emulator.add_fault(call="batches.list", action="status", status=403, times=None)
    for name in many:
        gemini_emulator.force_job(name, state="SUCCEEDED")
    assert {news.outcome for news in waiting.together(*([name] for name in many))} == {"finished"}
    assert asked() == {"batches.list": 2, "batches.get": MANY}


def test_jobs_that_are_refused_end_their_own_waits_only(waiting, many, gemini_emulator):
    for call, times in (("batches.list", None), ("batches.get", 2 * (polling.PROBES - 1))):
        gemini_emulator.add_fault(call=call, action="status", status=403, times=times)
    for name in many:
        gemini_emulator.force_job(name, state="SUCCEEDED")
    outcomes = Counter(news.outcome for news in waiting.together(*([name] for name in many)))
    # How the answers fall to the questions is for the network to say.
    assert outcomes["finished"] > MANY - polling.PROBES
    assert outcomes.total() == outcomes["finished"] + outcomes["unreadable"]


def test_a_credential_that_was_replaced_is_looked_up_again(waiting, jobs, gemini_emulator):
    gemini_emulator.add_fault(call="batches.get", action="status", status=401, times=1)
    gemini_emulator.force_job(jobs[0], state="SUCCEEDED")
    assert waiting.alone(jobs[:1]).outcome == "finished"
    assert waiting.opened == 2


def test_a_credential_that_is_rejected_again_ends_all_waits(waiting, many, asked, gemini_emulator):
    for call in ("batches.list", "batches.get"):
        gemini_emulator.add_fault(call=call, action="status", status=401, times=None)
    news = waiting.together(*([name] for name in many))
    assert {one.outcome for one in news} == {"unreadable"}
    assert asked()["batches.get"] <= 2 * polling.PROBES


def test_a_listing_that_fails_for_a_while_is_waited_out(waiting, many, gemini_emulator, asked):
    gemini_emulator.add_fault(call="batches.list", action="status", status=503, times=4)
    for name in many:
        gemini_emulator.force_job(name, state="SUCCEEDED")
    assert {news.outcome for news in waiting.together(*([name] for name in many))} == {"finished"}
    assert sum("looking failed" in line for line in waiting.told) == MANY
    assert not asked()["batches.get"]


@pytest.mark.parametrize("count", [1, MANY])
def test_a_connection_that_never_comes_holds_no_wait_past_its_deadline(waiting, count, monkeypatch):
    monkeypatch.setattr(polling, "OVERDUE_STEP_S", 0.1)
    waiting.access_hangs = True
    overdue = time.time() - MAX_ERROR_WAIT_S

    async def wait():
        waits = [waiting.wait([f"batches/{n}"], deadline=overdue + 0.5 + n % 2) for n in range(count)]
        news = await asyncio.wait_for(asyncio.gather(*waits), 10)
        left = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
        return {one.outcome for one in news}, left

    assert asyncio.run(wait()) == ({"timeout"}, [])
    assert waiting.ended == 1


def test_a_wait_that_hangs_goes_on_until_its_own_deadline(waiting, monkeypatch):
    monkeypatch.setattr(polling, "OVERDUE_STEP_S", 0.1)
    waiting.access_hangs = True
    overdue = time.time() - MAX_ERROR_WAIT_S

    async def wait():
        soon, late = (
            asyncio.ensure_future(waiting.wait(["batches/a"], deadline=overdue + left)) for left in (0.5, 3_600)
        )
        await asyncio.wait_for(soon, 10)
        await asyncio.sleep(0.1)
        late.cancel()
        return (await asyncio.gather(late, return_exceptions=True))[0]

    assert isinstance(asyncio.run(wait()), asyncio.CancelledError)


def test_a_job_in_the_listing_that_cannot_be_read_hides_no_other(waiting, many, asked, gemini_emulator, caplog):
    for name in many:
        gemini_emulator.force_job(name, state="SUCCEEDED")
    listing = httpx.get(f"{gemini_emulator.base_url}/v1beta/batches?pageSize=100&key=k").json()
    listing["operations"][0]["metadata"]["batchStats"] = "?"
    listing["operations"].insert(0, {"name": "batches/with.a.dot"})
    gemini_emulator.add_fault(call="batches.list", action="status", status=200, body=listing, times=None)
    before = asked()
    news = waiting.together(*([name] for name in many))
    assert {one.outcome for one in news} == {"finished"}
    assert asked() - before == {"batches.list": 1, "batches.get": 1}
    assert sum("is passed over" in message for message in caplog.messages) == 1


def test_whoever_is_woken_looks_at_once(waiting, jobs, gemini_emulator):
    async def wait():
        task = asyncio.ensure_future(waiting.wait(jobs[:1], interval=60.0, deadline=time.time() + 600))
        await asyncio.sleep(1)
        gemini_emulator.force_job(jobs[0], state="SUCCEEDED")
        waiting.poller.wake(jobs[0])
        return await asyncio.wait_for(task, 5)

    # Without, it would be looked at again after the five seconds that are the least.
    assert asyncio.run(wait()).outcome == "finished"


def test_each_listing_names_the_jobs_of_a_prefix(waiting, jobs, create):
    async def read():
        create("other")
        async for found in waiting.poller.listings("agb.", 0.1):
            if len(found) == 3:
                return [job.display_name for job in found]
            create("agb.three")

    assert sorted(asyncio.run(read())) == ["agb.one", "agb.three", "agb.two"]


def test_the_poller_begins_anew_after_the_last_has_left(waiting, jobs):
    async def wait():
        return [(await waiting.wait(jobs, until=time.time() + 0.3)).outcome for _ in range(2)]

    assert asyncio.run(wait()) == ["due", "due"]
    assert (waiting.opened, waiting.closed, waiting.ended) == (2, 2, 2)


def test_a_fault_ends_all_waits_and_leaves_nothing_open(waiting, create, gemini_emulator):
    few = create(*[f"agb.{number}" for number in range(FEW)])
    gemini_emulator.add_fault(call="batches.get", action="status", status=401, times=None)
    waiting.access_faults = [None, ValueError("a fault of ours")]

    async def wait():
        ends = await asyncio.gather(*(waiting.wait([name]) for name in few), return_exceptions=True)
        return {type(end) for end in ends}, asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(wait()) == ({ValueError}, set())
    assert waiting.opened == waiting.closed == 1


def test_whoever_begins_to_wait_while_a_fault_is_told_is_served(waiting, jobs, gemini_emulator):
    gemini_emulator.force_job(jobs[0], state="SUCCEEDED")
    waiting.access_faults = [ValueError("a fault of ours")]

    async def again():
        with pytest.raises(ValueError, match="a fault of ours"):
            await waiting.wait(jobs[:1])
        return await waiting.wait(jobs[:1])

    async def wait():
        return await asyncio.wait_for(asyncio.gather(again(), waiting.wait(jobs[1:]), return_exceptions=True), 20)

    news, fault = asyncio.run(wait())
    assert (news.outcome, type(fault)) == ("finished", ValueError)


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_whoever_leaves_while_being_woken_leaves(waiting, jobs, turns):
    async def wait():
        one = asyncio.ensure_future(waiting.wait(jobs, interval=60))
        await asyncio.sleep(1)
        waiting.poller.wake(jobs[0])
        for _ in range(turns):
            await asyncio.sleep(0)
        one.cancel()
        await asyncio.wait([one], timeout=10)
        return one.done(), asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(wait()) == (True, set())


def test_what_is_told_is_told_in_the_context_of_the_one_who_waits(waiting, jobs):
    """Airflow knows by the context whose log a line belongs to."""
    import contextvars

    whose = contextvars.ContextVar("whose", default="nobody")
    heard = []

    async def one(name):
        whose.set(name)
        wanted = WaitFor((jobs[0],), (), time.time() + 1, time.time() + 30, 0.1)
        await waiting.poller.wait(wanted, lambda text: heard.append(whose.get()))

    async def both():
        await asyncio.gather(one("first"), one("second"))

    asyncio.run(both())
    assert heard == ["first", "second"]
