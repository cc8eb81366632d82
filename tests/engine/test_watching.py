"""Waiting in an event loop: the first news ends it, and nothing is changed by looking."""

from __future__ import annotations

import asyncio
import time

import pytest

from airflow_provider_batch.engine import watching
from airflow_provider_batch.engine.watching import Vigil, await_news
from airflow_provider_batch.errors import BatchError
from airflow_provider_batch.gemini.async_client import AsyncGeminiClient
from airflow_provider_batch.gemini.auth import ApiKey
from airflow_provider_batch.gemini.service import AsyncGeminiBatchService
from airflow_provider_batch.gemini.transport import Endpoint


@pytest.fixture
def jobs(task, gemini_emulator):
    """Two jobs that run until the test says otherwise."""
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    from airflow_provider_batch.rows.shards import ShardLimits

    task.but(limits=ShardLimits(rows=2)).attempt()
    return task.jobs


def news(task, jobs=(), names=(), until=None, deadline=None, access_fails=0):
    """Wait, as a trigger does."""
    told = []

    async def wait():
        client = AsyncGeminiClient(Endpoint(ApiKey("k"), base_url=task.base_url))
        failures = iter(range(access_fails))

        async def service():
            if next(failures, None) is not None:
                raise BatchError("the connection could not be looked up")
            return AsyncGeminiBatchService(client)

        vigil = Vigil(tuple(jobs), tuple(names), until, deadline or time.time() + 30, 0.1)
        try:
            return await await_news(service, vigil, client.clock.now, told.append)
        finally:
            await client.aclose()
            left = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
            assert left == []

    return asyncio.run(wait()), told


def test_the_first_of_several_jobs_that_is_finished_is_the_news(task, jobs, gemini_emulator):
    gemini_emulator.force_job(jobs[1], state="SUCCEEDED")
    told, _ = news(task, jobs)
    assert (told.outcome, told.job_name, told.state) == ("finished", jobs[1], "BATCH_STATE_SUCCEEDED")


def test_a_time_that_has_come_is_news_while_the_jobs_run_on(task, jobs):
    assert news(task, jobs, until=time.time() + 0.2)[0].outcome == "due"


def test_the_deadline_is_news(task, jobs):
    told, _ = news(task, jobs, deadline=time.time() + 0.3)
    assert (told.outcome, "at the deadline" in told.message) == ("timeout", True)


def test_a_wait_for_nothing_but_a_time_asks_the_server_nothing(task, gemini_emulator):
    assert news(task, until=time.time() + 0.2)[0].outcome == "due"
    assert gemini_emulator.requests() == []


def test_a_display_name_that_shows_in_the_listing_is_news(task, jobs, monkeypatch):
    monkeypatch.setattr(watching, "FIRST_SCAN_S", 0.05)
    told, _ = news(task, names=[task.identity.prefix])
    assert (told.outcome, told.job_name in jobs) == ("found", True)


def test_a_listing_that_breaks_off_is_no_news(task, jobs, gemini_emulator, monkeypatch):
    monkeypatch.setattr(watching, "FIRST_SCAN_S", 0.05)
    gemini_emulator.add_fault(call="batches.list", action="status", status=403, times=None)
    assert news(task, names=[task.identity.prefix], until=time.time() + 1)[0].outcome == "due"


def test_a_service_that_cannot_be_had_for_a_while_is_waited_for(task, jobs, gemini_emulator):
    gemini_emulator.force_job(jobs[0], state="SUCCEEDED")
    told, lines = news(task, jobs[:1], access_fails=2)
    assert told.outcome == "finished"
    assert any("could not be looked up" in line for line in lines)


def test_the_servers_clock_decides_when_the_time_has_come(task, jobs, gemini_emulator):
    gemini_emulator.advance_clock(3_600)
    began = time.monotonic()
    told, _ = news(task, jobs, until=time.time() + 1_800, deadline=time.time() + 7_200)
    assert told.outcome == "due"
    assert time.monotonic() - began < 30
