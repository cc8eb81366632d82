"""What the engine is told of a single call: an answer of the row, a refusal, a loss, or an error of all rows."""

from __future__ import annotations

import asyncio
import json
from io import BytesIO

import httpx
import pytest

from airflow_provider_batch.contract_calls import LostCall, NoCapacity, RowAnswer, Tier, TooManyCalls
from airflow_provider_batch.emulator import Limits
from airflow_provider_batch.errors import (
    ApiError,
    AuthError,
    BatchError,
    ConfigError,
    NotFoundError,
    ProtocolError,
)
from airflow_provider_batch.gemini.calling import GeminiCallingService
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.service import GeminiBatchService
from airflow_provider_batch.rows.dialect import RowStatus
from tests.gemini.slow_server import slow_server

MODEL = "gemini-2.5-flash"
ASK = {"contents": [{"parts": [{"text": "hi"}]}]}
CALL = "models.generateContent"


def row(key="a", request=ASK):
    return json.dumps({"key": key, "request": request}).encode()


def answers(base_url, *rows, model=MODEL, tier=Tier.FLEX, timeout_s=60.0, connections=100):
    """Have rows answered at the same time."""

    async def ask():
        client = AsyncGeminiClient(Endpoint(ApiKey("k"), base_url=base_url), connections=connections)
        service = GeminiCallingService(client)
        try:
            lines = [(json.loads(line)["key"], line) for line in rows]
            return await asyncio.gather(*(service.answer(model, *line, tier, timeout_s) for line in lines))
        finally:
            await service.aclose()

    return asyncio.run(ask())


def answer(base_url, line=None, **arguments):
    [outcome] = answers(base_url, line or row(), **arguments)
    return outcome


def calls_of(emulator):
    return [entry["status"] for entry in emulator.requests() if entry["path"].endswith(":generateContent")]


def finish(reason, parts=({"text": "hello"},), **more):
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": reason}], **more}


# The line of an answer.


def test_a_row_is_answered_with_a_line_as_in_the_results_of_a_job(gemini_emulator):
    outcome = answer(gemini_emulator.base_url, row("k \u00e9\n1"))

    assert (outcome.tier, outcome.is_tier_said) == (Tier.FLEX, True)
    assert b"\n" not in outcome.line
    landed = GeminiRows().read_result(outcome.line)
    assert (landed.key, landed.status, bytes(landed.text)) == (
        "k \u00e9\n1",
        RowStatus.SUCCESS,
        b'"Answer to: hi"',
    )
    assert landed.usage.input == 1
    assert gemini_emulator.billed_calls()[0]["tier"] == "flex"


RESPONSES = {
    "stop": finish("STOP", usageMetadata={"promptTokenCount": 7, "thoughtsTokenCount": 3}),
    "no reason": finish(""),
    "call": finish("STOP", [{"functionCall": {"name": "f", "args": {"x": 1.50}}}]),
    "thought": finish("STOP", [{"text": "hm", "thought": True}]),
    "empty": {},
    "null": finish("STOP", [None, {"text": "x"}], promptFeedback=None),
    "prompt": {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 7}},
    "odd usage": finish("STOP", usageMetadata={"promptTokenCount": "many"}),
} | {
    reason: finish(reason)
    for reason in (
        "MAX_TOKENS",
        "CONTINUATION",
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "OTHER",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "NO_IMAGE",
        "A_REASON_OF_TOMORROW",
    )
}


def landed_by_a_batch(emulator, keys):
    """The rows as they come out of a job."""
    lines = b"".join(row(key) + b"\n" for key in keys)
    with GeminiClient(Endpoint(ApiKey("k"), base_url=emulator.base_url)) as client:
        service, out = GeminiBatchService(client), BytesIO()
        file = client.upload_file(BytesIO(lines), len(lines), "rows").name
        name = service.submit(MODEL, file, "d").job.name
        emulator.force_job(name, state="SUCCEEDED")
        service.fetch_results(service.look(name), out)
    return {row.key: facts(row) for row in map(GeminiRows().read_result, out.getvalue().splitlines())}


def facts(landed):
    return (
        landed.status,
        json.loads(bytes(landed.text)),
        landed.finish_reason,
        landed.usage,
        landed.error,
        json.loads(bytes(landed.response)),
    )


def test_every_way_in_which_a_model_ends_is_read_as_that_of_a_batch(gemini_emulator):
    for key, response in RESPONSES.items():
        gemini_emulator.add_fault(action="rows", mutation="replace", keys=[key], response=response)
    by_batch = landed_by_a_batch(gemini_emulator, RESPONSES)
    by_call = {}
    for key, response in RESPONSES.items():
        body = json.dumps(response, indent=2)
        gemini_emulator.add_fault(call=CALL, action="status", status=200, body=body)
        outcome = answer(gemini_emulator.base_url, row(key))
        by_call[key] = facts(GeminiRows().read_result(outcome.line))

    assert by_call == by_batch
    assert {status for status, *_ in by_call.values()} == {
        RowStatus.SUCCESS,
        RowStatus.TRUNCATED,
        RowStatus.BLOCKED,
        RowStatus.INVALID_OUTPUT,
        RowStatus.ERROR,
    }


def test_what_the_api_finds_wrong_with_a_row_is_read_as_an_error_of_a_batchs_row(gemini_emulator):
    why = {"code": 3, "message": "bad part"}
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["a"], error=why)
    by_batch = landed_by_a_batch(gemini_emulator, ["a"])
    gemini_emulator.add_fault(call=CALL, action="status", status=400, message="bad part")

    outcome = answer(gemini_emulator.base_url)

    assert json.loads(outcome.line) == {"key": "a", "error": why}
    assert {"a": facts(GeminiRows().read_result(outcome.line))} == by_batch
    assert (outcome.tier, outcome.is_tier_said) == (Tier.FLEX, False)


GONE = {"fileData": {"fileUri": "https://x/v1beta/files/gone", "mimeType": "text/plain"}}


def test_a_file_that_is_gone_is_the_error_of_the_row_that_names_it(gemini_emulator):
    gone = row("g", {"contents": [{"parts": [{"text": "hi"}, GONE]}]})

    by_file, good = answers(gemini_emulator.base_url, gone, row("b"))

    error = GeminiRows().read_result(by_file.line).error
    assert (error.code, "the File gone" in error.message) == (7, True)
    assert GeminiRows().read_result(good.line).status is RowStatus.SUCCESS


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"status": 400, "message": "* GenerateContentRequest.contents: contents is not specified"}, 3),
        ({"status": 400, "rpc_status": "OUT_OF_RANGE", "message": "too many tokens"}, 11),
        (
            {
                "status": 400,
                "rpc_status": "FAILED_PRECONDITION",
                "message": "The File x is not in an ACTIVE state",
            },
            9,
        ),
        ({"status": 404, "message": "CachedContent not found"}, 5),
        ({"status": 413, "body": "<html>Payload too large</html>"}, 3),
    ],
)
def test_a_refusal_that_is_about_the_row_ends_no_other(gemini_emulator, fault, code):
    gemini_emulator.add_fault(call=CALL, action="status", **fault)

    outcome = answer(gemini_emulator.base_url)

    assert isinstance(outcome, RowAnswer)
    assert GeminiRows().read_result(outcome.line).error.code == code


def test_an_answer_that_is_too_large_would_be_billed_again_and_so_is_an_error_of_its_row():
    with slow_server() as base_url:
        outcome = answer(base_url, model="endless")
    error = GeminiRows().read_result(outcome.line).error
    assert (error.code, error.message) == (11, "An answer is larger than 64 MiB.")
    assert outcome.is_tier_said is False


# Refusals for now.


def test_no_capacity_is_told_and_not_outlasted(gemini_emulator):
    gemini_emulator.add_fault(call=CALL, action="status", status=503, tier="flex", message="No capacity now.")

    outcome = answer(gemini_emulator.base_url)

    assert isinstance(outcome, NoCapacity)
    assert (outcome.wait_s, "No capacity now." in str(outcome.error)) == (None, True)
    assert calls_of(gemini_emulator) == [503]
    assert answer(gemini_emulator.base_url, tier=Tier.STANDARD).tier is Tier.STANDARD


@pytest.mark.parametrize("gemini_emulator", [{"limits": Limits(requests_per_minute=1)}], indirect=True)
def test_a_limit_is_told_with_the_wait_that_it_names(gemini_emulator):
    answer(gemini_emulator.base_url)
    outcome = answer(gemini_emulator.base_url)
    assert isinstance(outcome, TooManyCalls)
    assert 20 < outcome.wait_s <= 60


@pytest.mark.parametrize(
    ("fault", "kind", "wait_s"),
    [
        ({"status": 503, "headers": {"retry-after": "7"}}, NoCapacity, 7),
        ({"status": 429, "retry_delay": 31.5}, TooManyCalls, 31.5),
        ({"status": 429, "body": "slow down"}, TooManyCalls, None),
    ],
)
def test_a_hint_comes_with_the_refusal(gemini_emulator, fault, kind, wait_s):
    gemini_emulator.add_fault(call=CALL, action="status", **fault)
    outcome = answer(gemini_emulator.base_url)
    assert (type(outcome), outcome.wait_s) == (kind, wait_s)


# Losses.


@pytest.mark.parametrize(
    ("fault", "may_be_billed"),
    [
        ({"action": "accept_then_drop"}, True),
        ({"action": "cut", "bytes": 20}, True),
        ({"action": "html"}, True),
        ({"action": "status", "status": 200, "body": {"error": {"code": 500}}}, True),
        ({"action": "status", "status": 504, "message": "Deadline expired."}, True),
        ({"action": "status", "status": 499, "message": "Cancelled."}, True),
        ({"action": "status", "status": 503, "body": "<html>upstream</html>"}, True),
        ({"action": "status", "status": 500, "body": "<html>upstream</html>"}, True),
        ({"action": "status", "status": 500, "message": "Internal error."}, False),
    ],
)
def test_an_answer_that_did_not_come_is_billed_perhaps_unless_the_api_says_that_it_failed(
    gemini_emulator, fault, may_be_billed
):
    gemini_emulator.add_fault(call=CALL, **fault)

    outcome = answer(gemini_emulator.base_url)

    assert isinstance(outcome, LostCall)
    assert outcome.may_be_billed is may_be_billed
    assert len(calls_of(gemini_emulator)) == 1


@pytest.mark.parametrize("gemini_emulator", [{"call_seconds": 30}], indirect=True)
def test_an_answer_that_is_too_late_is_billed_perhaps(gemini_emulator):
    outcome = answer(gemini_emulator.base_url, timeout_s=1)
    assert isinstance(outcome, LostCall)
    assert (outcome.may_be_billed, "504" in str(outcome.error)) == (True, True)


def test_a_call_that_reaches_nobody_is_not_billed():
    outcome = answer("http://127.0.0.1:9")
    assert isinstance(outcome, LostCall)
    assert outcome.may_be_billed is False


# What ends all calls.

DISABLED = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]
BAD_KEY = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"status": 401, "message": "No credential for this file."}, AuthError),
        ({"status": 400, "message": "API key not valid.", "details": BAD_KEY}, AuthError),
        ({"status": 403, "message": "The Generative Language API is disabled."}, AuthError),
        ({"status": 403, "message": "No access to this file.", "details": DISABLED}, AuthError),
        ({"status": 403, "body": "<html>no file for you</html>"}, AuthError),
        ({"status": 404, "message": "models/x is not found for API version v1beta"}, NotFoundError),
        (
            {"status": 400, "rpc_status": "FAILED_PRECONDITION", "message": "User location is not supported"},
            ApiError,
        ),
        ({"status": 302, "headers": {"location": "https://elsewhere"}, "body": ""}, ProtocolError),
    ],
)
def test_what_would_befall_every_row_is_raised(gemini_emulator, fault, kind):
    gemini_emulator.add_fault(call=CALL, action="status", **fault)
    with pytest.raises(BatchError) as error:
        answer(gemini_emulator.base_url)
    assert type(error.value) is kind


def test_a_model_that_is_not_there_is_raised(gemini_emulator):
    with pytest.raises(NotFoundError, match="gemini-0-none is not found"):
        answer(gemini_emulator.base_url, model="gemini-0-none")


def test_a_model_without_the_tier_is_named_with_what_to_set(gemini_emulator):
    with pytest.raises(ConfigError, match=r"'gemini-2\.0-flash' is not served in the tier flex") as error:
        answer(gemini_emulator.base_url, model="gemini-2.0-flash")
    assert error.value.code == "AGB-C16"
    assert 'tiers=("standard",)' in error.value.remedy
    assert answer(gemini_emulator.base_url, model="gemini-2.0-flash", tier=Tier.STANDARD).tier is Tier.STANDARD


@pytest.mark.parametrize(
    "message",
    [
        "Flex API is not supported for model: gemini-2.5-flash.",
        "Invalid value at 'service_tier' (ServiceTier), \"flex\"",
        'Invalid JSON payload received. Unknown name "serviceTier": Cannot find field.',
        "Flex inference is only available to paid projects.",
    ],
)
def test_a_refusal_of_the_tier_is_known_by_its_words(gemini_emulator, message):
    gemini_emulator.add_fault(call=CALL, action="status", status=400, message=message, times=2)
    with pytest.raises(ConfigError, match="AGB-C16"):
        answer(gemini_emulator.base_url)
    # Without a tier in the request it is the row that speaks of one.
    assert isinstance(answer(gemini_emulator.base_url, tier=Tier.STANDARD), RowAnswer)


def test_a_row_that_speaks_of_flex_is_not_taken_for_a_refusal_of_the_tier(gemini_emulator):
    message = "Invalid JSON payload received. no such field: 'flex'"
    gemini_emulator.add_fault(call=CALL, action="status", status=400, message=message)
    assert isinstance(answer(gemini_emulator.base_url), RowAnswer)


# Many at a time.


@pytest.mark.parametrize("gemini_emulator", [{"call_seconds": 1000}], indirect=True)
def test_as_many_calls_are_on_their_way_as_there_are_connections(gemini_emulator):
    async def waiting(connections, calls):
        client = AsyncGeminiClient(
            Endpoint(ApiKey("k"), base_url=gemini_emulator.base_url), connections=connections
        )
        service = GeminiCallingService(client)
        tasks = [asyncio.create_task(service.answer(MODEL, "a", row(), Tier.STANDARD, 600)) for _ in range(calls)]
        for _ in range(100):
            await asyncio.sleep(0.1)
            on_their_way = await asyncio.to_thread(emulator_waits, gemini_emulator)
            if on_their_way >= connections:
                break
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await service.aclose()
        return on_their_way

    assert asyncio.run(waiting(120, 130)) == 120


def emulator_waits(emulator):
    return httpx.get(f"{emulator.base_url}/emulator/health").json()["waiting"]


def test_the_clock_is_that_of_the_api(gemini_emulator):
    async def times():
        service = GeminiCallingService(AsyncGeminiClient(Endpoint(ApiKey("k"), base_url=gemini_emulator.base_url)))
        before = service.now()
        gemini_emulator.advance_clock(86_400)
        await service.answer(MODEL, "a", row(), Tier.STANDARD, 60)
        after = service.now()
        await service.aclose()
        return after - before

    assert asyncio.run(times()) > 80_000
