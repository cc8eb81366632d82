"""Asking jobs to end: all of them, whatever goes wrong with one."""

from __future__ import annotations

import asyncio
import logging

import pytest
from upath import UPath

from airflow_provider_batch.batch.ledger.documents import Cancel
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.batch.send.end_jobs import EndRequest, ask_all_to_end, ask_to_end, note_end
from airflow_provider_batch.errors import AuthError, BatchError
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.gemini.service import AsyncGeminiBatchService, GeminiBatchService
from airflow_provider_batch.gemini.wire import InlineRequest

ROW = InlineRequest(request={"contents": [{"parts": [{"text": "hi"}]}]}, key="a")


@pytest.fixture
def endpoint(gemini_emulator):
    return Endpoint(ApiKey("k"), base_url=gemini_emulator.base_url)


@pytest.fixture
def client(endpoint):
    with GeminiClient(endpoint) as client:
        yield client


@pytest.fixture
def jobs(client, gemini_emulator):
    """Names of two jobs; the first that is asked to end is not allowed to."""
    gemini_emulator.add_fault(call="batches.cancel", action="status", status=403, times=1)
    return [client.create_batch("gemini-2.5-flash", name, requests=[ROW]).name for name in ("first", "second")]


@pytest.fixture
def request_to_end():
    return EndRequest("The deadline passed", logging.getLogger(__name__))


def test_a_job_that_cannot_be_asked_keeps_no_other_from_it(client, jobs, request_to_end):
    first, second = jobs
    ask_to_end(GeminiBatchService(client), jobs, request_to_end)
    assert (request_to_end.asked, [*request_to_end.refused]) == ([second], [first])
    with pytest.raises(AuthError):
        request_to_end.raise_refusal()


def test_jobs_that_are_asked_at_the_same_time_do_not_hinder_each_other(endpoint, jobs, request_to_end):
    async def ask():
        service = AsyncGeminiBatchService(AsyncGeminiClient(endpoint))
        await ask_all_to_end(service, jobs, request_to_end)
        await service.aclose()

    asyncio.run(ask())
    assert sorted([*request_to_end.asked, *request_to_end.refused]) == sorted(jobs)
    assert len(request_to_end.asked) == 1


def test_a_job_of_another_batch_is_not_asked(client, jobs, request_to_end, gemini_emulator):
    def ensure_ours(name):
        if name == jobs[0]:
            raise BatchError("It is not a job of this batch.")

    ask_to_end(GeminiBatchService(client), jobs[:1], request_to_end, ensure_ours)
    assert (request_to_end.asked, [*request_to_end.refused]) == ([], jobs[:1])
    assert [call for call in gemini_emulator.journal() if call["call"] == "batches.cancel"] == []


def test_a_job_that_is_gone_neither_runs_on_nor_was_asked(client, request_to_end):
    service = GeminiBatchService(client)
    ask_to_end(service, ["batches/" + "a" * 36], request_to_end, service.look)
    assert (request_to_end.asked, len(request_to_end.gone), request_to_end.refused) == ([], 1, {})


def test_the_first_note_of_a_round_stays(tmp_path):
    ledger = Ledger(UPath(tmp_path))
    note_end(ledger, "r1.cancel.json", "cancelled by ann", by="ann")
    note_end(ledger, "r1.cancel.json", "the deadline passed")
    assert ledger.read("r1.cancel.json", Cancel).by == "ann"
