"""What a type checker says of the hook, a query, the errors and the emulator. Only mypy reads this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typing_extensions import assert_type

from airflow_provider_batch import BatchError, GeminiBatchHook, SqlQuery
from airflow_provider_batch.contract import Absent, Accepted, CannotTell, Found, JobSnapshot, Refused, Unknown
from airflow_provider_batch.contract_calls import (
    CallingService,
    LostCall,
    NoCapacity,
    RowAnswer,
    Tier,
    TooManyCalls,
)
from airflow_provider_batch.emulator import Emulator, running_emulator
from airflow_provider_batch.errors import (
    AnswerLostError,
    ApiError,
    InputError,
    JobError,
    NothingSpentError,
    SubmitUnknownError,
)
from airflow_provider_batch.gemini.calling import GeminiCallingService
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.single import SingleAnswer
from airflow_provider_batch.gemini.prices import PriceTable
from airflow_provider_batch.gemini.service import AsyncGeminiBatchService, GeminiBatchService
from airflow_provider_batch.gemini.wire import Batch
from airflow_provider_batch.hooks.gemini import Account


def a_hook_gives_clients_and_services(hook: GeminiBatchHook) -> None:
    assert_type(hook.get_conn(), GeminiClient)
    assert_type(hook.account(), Account)
    assert_type(hook.prices(), PriceTable)
    assert_type(hook.test_connection(), tuple[bool, str])
    with hook.get_conn() as client:
        assert_type(client.get_batch("batches/1"), Batch)
    with hook.service(embeddings=True) as service:
        assert_type(service, GeminiBatchService)
    hook.service().look("batches/1")  # type: ignore[attr-defined]  # it is there for the length of a block
    hook.service(True)  # type: ignore[call-arg]  # embeddings is named


async def a_hook_gives_them_to_an_event_loop(hook: GeminiBatchHook) -> None:
    assert_type(await hook.aget_conn(), AsyncGeminiClient)
    assert_type(await hook.aservice(), AsyncGeminiBatchService)
    calling = hook.calling_service(connections=8)
    assert_type(calling, GeminiCallingService)
    engine: CallingService = calling  # noqa: F841
    outcome = await calling.answer("gemini-2.5-flash", "a", b"{}", Tier.FLEX, 900.0)
    assert_type(outcome, RowAnswer | NoCapacity | TooManyCalls | LostCall)


async def a_hook_makes_single_calls(hook: GeminiBatchHook) -> None:
    answer = hook.generate_content("gemini-2.5-flash", {"contents": []}, tier="flex", timeout_s=60)
    assert_type(answer, SingleAnswer)
    assert_type(answer.tier, Tier)
    assert_type(answer.response, dict[str, Any])
    assert_type(await hook.agenerate_content("gemini-2.5-flash", {}, tier=Tier.STANDARD), SingleAnswer)
    hook.generate_content("gemini-2.5-flash", {}, "flex")  # type: ignore[call-arg]  # the tier is named


def outcomes_are_told_apart(service: GeminiBatchService) -> None:
    outcome = service.submit("gemini-2.5-flash", "files/1", "name")
    assert_type(outcome, Accepted | Refused | Unknown)
    outcome.job  # type: ignore[union-attr]  # only what was accepted has one
    match outcome:
        case Accepted(job):
            assert_type(job, JobSnapshot)
        case Refused(error) | Unknown(error):
            assert_type(error, BatchError)
    assert_type(service.find("name"), Found | Absent | CannotTell)
    assert_type(service.look("batches/1"), JobSnapshot)


def a_query_has_parameters_of_either_style() -> None:
    assert_type(SqlQuery("SELECT 1", "db"), SqlQuery)
    SqlQuery("SELECT ?", "db", parameters=(1, "a"))
    SqlQuery("SELECT :id", "db", parameters={"id": 1})
    SqlQuery("SELECT ?", "db", parameters=1)  # type: ignore[arg-type]
    SqlQuery("SELECT 1")  # type: ignore[call-arg]  # a query has a connection


def errors_carry_their_facts(error: BatchError) -> None:
    assert_type(error.code, str)
    assert_type(error.remedy, str)
    assert_type(error.is_final, bool)
    assert_type(error.may_pass, bool)
    error.http_status  # type: ignore[attr-defined]  # only answers of the API have one
    match error:
        case InputError():
            assert_type(error.line, int | None)
            nothing: NothingSpentError = error  # noqa: F841
        case ApiError():
            assert_type(error.http_status, int)
            assert_type(error.retry_after_s, float | None)
        case AnswerLostError():
            assert_type(error.cause, BatchError)
        case SubmitUnknownError():
            assert_type(error.display_name, str)
        case JobError():
            assert_type(error.job_name, str)
            spent: NothingSpentError = error  # type: ignore[assignment]  # noqa: F841


def an_emulator_is_asked_and_told(gemini_emulator: Emulator, folder: Path) -> None:
    assert_type(gemini_emulator.base_url, str)
    assert_type(gemini_emulator.bills(), dict[str, dict[str, int]])
    gemini_emulator.force_job("batches/1", state="FAILED")
    gemini_emulator.force_job("batches/1")  # type: ignore[call-arg]
    with running_emulator(folder, job_seconds=0.1) as emulator:
        assert_type(emulator, Emulator)
    running_emulator(folder, limits=1)  # type: ignore[arg-type]
