"""Single calls of both clients: tiers, time limits, and what is asked for again."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.emulator import Limits
from airflow_provider_batch.errors import (
    AnswerLostError,
    ApiError,
    ApiUnreachableError,
    BatchError,
    ConfigError,
    ProtocolError,
    QuotaError,
)
from airflow_provider_batch.gemini.client import single, transport
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.exchange import ApiAnswer, Lost, Pause
from airflow_provider_batch.gemini.client.repeats import MAX_TRIES
from airflow_provider_batch.gemini.client.transport import Endpoint
from tests.gemini.slow_server import slow_server

MODEL = "gemini-2.5-flash"
ASK = {"contents": [{"parts": [{"text": "hi"}]}]}
CALL = "models.generateContent"


def ask_blocking(base_url, **arguments):
    with GeminiClient(Endpoint(ApiKey("k"), base_url=base_url)) as client:
        return client.generate_content(arguments.pop("model", MODEL), arguments.pop("request", ASK), **arguments)


def ask_on_loop(base_url, **arguments):
    async def ask():
        async with AsyncGeminiClient(Endpoint(ApiKey("k"), base_url=base_url)) as client:
            model, request = arguments.pop("model", MODEL), arguments.pop("request", ASK)
            return await client.generate_content(model, request, **arguments)

    return asyncio.run(ask())


@pytest.fixture(params=[ask_blocking, ask_on_loop], ids=["sync", "async"])
def ask(request):
    return request.param


def calls_of(emulator):
    return [entry["status"] for entry in emulator.requests() if entry["path"].endswith(":generateContent")]


# The answer.


@pytest.mark.parametrize("tier", ["standard", "flex", Tier.FLEX])
def test_an_answer_says_which_tier_served_it_and_is_billed_so(ask, gemini_emulator, tier):
    answer = ask(gemini_emulator.base_url, tier=tier)

    assert (answer.tier, answer.is_tier_said) == (Tier(tier), True)
    assert answer.response["candidates"][0]["content"]["parts"] == [{"text": "Answer to: hi"}]
    assert [billed["tier"] for billed in gemini_emulator.billed_calls()] == [str(tier)]


@pytest.mark.parametrize(
    ("header", "usage", "tier", "is_said"),
    [
        ("standard", "standard", Tier.STANDARD, True),
        ("standard", "flex", Tier.STANDARD, True),
        (" Flex ", None, Tier.FLEX, True),
        (None, "standard", Tier.STANDARD, True),
        ("paid", "standard", Tier.STANDARD, True),
        ("paid", None, Tier.FLEX, False),
        (None, None, Tier.FLEX, False),
        (None, 7, Tier.FLEX, False),
    ],
)
def test_the_header_names_the_tier_then_the_usage_and_an_unknown_word_names_none(
    gemini_emulator, header, usage, tier, is_said
):
    body = {"usageMetadata": {} if usage is None else {"serviceTier": usage}}
    headers = {} if header is None else {"x-gemini-service-tier": header}
    gemini_emulator.add_fault(call=CALL, action="status", status=200, body=body, headers=headers)

    answer = ask_blocking(gemini_emulator.base_url, tier="flex")

    assert (answer.tier, answer.is_tier_said) == (tier, is_said)


def test_the_response_is_one_line_whose_values_stand_as_they_came(gemini_emulator):
    body = '{\n  "candidates": [],\n  "avgLogprobs": -1.50e-3,\n  "text": "a\\u00e9 \\n b"\n}\n'
    gemini_emulator.add_fault(call=CALL, action="status", status=200, body=body)

    answer = ask_blocking(gemini_emulator.base_url)

    assert answer.raw == b'{"candidates":[],"avgLogprobs":-1.50e-3,"text":"a\\u00e9 \\n b"}'
    assert answer.response["text"] == "a\u00e9 \n b"


# What is sent.


def sent(tier="standard", timeout_s=900.0, model=MODEL):
    return next(single.generate_content(model, ASK, tier, timeout_s))


@pytest.mark.parametrize(("tier", "body"), [("standard", ASK), ("flex", {**ASK, "serviceTier": "flex"})])
def test_the_body_is_the_request_of_a_row_and_a_tier_unless_it_is_the_usual_one(tier, body):
    assert json.loads(sent(tier).content) == body


@pytest.mark.parametrize(("timeout_s", "header"), [(900, "900"), (59.2, "60"), (0.1, "1")])
def test_the_api_is_told_whole_seconds_and_we_listen_longer(timeout_s, header):
    request = sent(timeout_s=timeout_s)
    assert request.headers["X-Server-Timeout"] == header
    assert request.timeout_s > int(header) + 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tier": "turbo"}, "'turbo' is no tier of a single call. Nothing was sent. There are flex, standard"),
        ({"request": {**ASK, "service_tier": "flex"}}, "names a tier itself"),
        ({"request": {**ASK, "serviceTier": "flex"}}, "names a tier itself"),
        ({"model": "../x"}, "not a model name"),
    ],
)
def test_what_cannot_be_asked_sends_nothing(ask, gemini_emulator, arguments, words):
    with pytest.raises(ConfigError, match=words):
        ask(gemini_emulator.base_url, **arguments)
    assert gemini_emulator.requests() == []


# What is asked for again.


@pytest.mark.parametrize(
    "refusal", [{"status": 503}, {"status": 429, "message": "Slow down.", "retry_delay": 1}], ids=["503", "429"]
)
def test_a_refusal_for_now_is_outlasted(ask, gemini_emulator, refusal):
    gemini_emulator.add_fault(call=CALL, action="status", tier="flex", **refusal)

    assert ask(gemini_emulator.base_url, tier="flex").tier is Tier.FLEX
    assert calls_of(gemini_emulator) == [refusal["status"], 200]


def test_a_wait_that_is_long_is_left_to_the_caller(ask, gemini_emulator):
    gemini_emulator.add_fault(call=CALL, action="status", status=429, retry_delay=40)

    with pytest.raises(QuotaError, match="asks to wait 40 s") as refused:
        ask(gemini_emulator.base_url)

    assert refused.value.retry_after_s == 40
    assert calls_of(gemini_emulator) == [429]


@pytest.mark.parametrize("gemini_emulator", [{"limits": Limits(requests_per_minute=1)}], indirect=True)
def test_the_limit_of_a_minute_is_an_error_with_the_wait_that_it_names(ask, gemini_emulator):
    ask(gemini_emulator.base_url)
    with pytest.raises(QuotaError) as refused:
        ask(gemini_emulator.base_url)
    assert 20 < refused.value.retry_after_s <= 60


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "accept_then_drop"},
        {"action": "cut", "bytes": 20},
        {"action": "html"},
        {"action": "accept_then_status", "body": "<html>Bad gateway</html>"},
        {"action": "accept_then_status", "status": 504},
        {"action": "accept_then_status", "status": 502},
    ],
    ids=["dropped", "cut", "a page", "a gateway's 503", "504", "502"],
)
def test_an_answer_that_is_lost_is_not_asked_for_again_and_may_be_billed(ask, gemini_emulator, fault):
    gemini_emulator.add_fault(call=CALL, **fault)

    with pytest.raises(AnswerLostError, match="AGB-A13 The answer was lost and may be billed") as lost:
        ask(gemini_emulator.base_url)

    assert isinstance(lost.value.cause, ApiError | ApiUnreachableError | ProtocolError)
    assert lost.value.may_pass
    assert len(calls_of(gemini_emulator)) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_an_error_of_the_api_is_a_definite_no(ask, gemini_emulator, status):
    gemini_emulator.add_fault(call=CALL, action="status", status=status, message="No.")

    with pytest.raises(ApiError, match=f"generate content with models/{MODEL} .standard. with {status}"):
        ask(gemini_emulator.base_url)

    assert len(calls_of(gemini_emulator)) == 1
    assert gemini_emulator.billed_calls() == []


@pytest.mark.parametrize("gemini_emulator", [{"call_seconds": 30}], indirect=True)
def test_past_its_time_the_api_gives_up_and_that_is_a_lost_answer(ask, gemini_emulator):
    with pytest.raises(AnswerLostError, match="504 DEADLINE_EXCEEDED"):
        ask(gemini_emulator.base_url, timeout_s=1)


OK = ApiAnswer(200, {}, b"{}")
DOWN = ApiAnswer(503, {}, b'{"error": {"code": 503, "message": "full", "status": "UNAVAILABLE"}}')
LIMITED = ApiAnswer(429, {}, b"")
NOT_SENT = Lost("ConnectError", was_sent=False)


def play(script, outcomes):
    """Answer a script's requests in turn; return its result or error, and how many requests and pauses it made."""
    outcomes, requests, pauses, reply = iter(outcomes), 0, [], None
    try:
        while True:
            step = script.send(reply)
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                reply = sum(pauses)
            else:
                requests += 1
                reply = next(outcomes)
    except StopIteration as end:
        return end.value, requests, len(pauses)
    except BatchError as error:
        return error, requests, len(pauses)


def test_what_was_certainly_not_served_is_asked_for_again():
    answer, requests, _ = play(single.generate_content(MODEL, ASK, "flex"), [DOWN, NOT_SENT, LIMITED, OK])
    assert answer == single.SingleAnswer(b"{}", Tier.FLEX, is_tier_said=False)
    assert requests == 4


def test_a_refusal_that_stays_is_the_error():
    error, requests, _ = play(single.generate_content(MODEL, ASK, "flex"), [DOWN] * MAX_TRIES)
    assert (type(error), requests) == (ApiError, MAX_TRIES)


def test_a_call_that_never_leaves_this_machine_is_not_billed():
    error, _, _ = play(single.generate_content(MODEL, ASK, "flex"), [NOT_SENT] * MAX_TRIES)
    assert (type(error), error.was_sent) == (ApiUnreachableError, False)


@pytest.mark.parametrize("outcome", [DOWN, LIMITED, NOT_SENT, Lost("ReadTimeout"), OK])
def test_the_engines_call_is_exactly_one_request(outcome):
    _, requests, pauses = play(single.generate_content_once(MODEL, ASK, "flex", 60), [outcome])
    assert (requests, pauses) == (1, 0)


# Time limits of our own.


def test_a_server_that_never_answers_is_given_up_shortly_after_its_time(ask, monkeypatch):
    monkeypatch.setattr(single, "GRACE_S", 0.2)
    with slow_server() as base_url, pytest.raises(AnswerLostError, match="ReadTimeout"):
        ask(base_url, model="silent", timeout_s=1)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux shows the timers of its connections")
def test_a_connection_without_a_byte_is_kept_alive(ask, monkeypatch):
    monkeypatch.setattr(single, "GRACE_S", 0.2)
    with slow_server() as base_url, ThreadPoolExecutor() as pool:
        call = pool.submit(ask, base_url, model="silent", timeout_s=2)
        while not (timers := timers_towards(base_url)) and not call.done():
            time.sleep(0.01)
        with pytest.raises(AnswerLostError):
            call.result()

    assert timers == [KEPT_ALIVE]


KEPT_ALIVE = "02"


def timers_towards(base_url):
    """What the kernel has timed for each connection that is waiting for bytes of this server."""
    port = f":{int(base_url.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # Remote address, ESTABLISHED, nothing unsent.
    mine = [
        line for line in lines if line[2].endswith(port) and line[3] == "01" and line[4].startswith("00000000:")
    ]
    return [line[5].partition(":")[0] for line in mine]


def test_a_body_may_come_as_late_as_the_call_may_last(ask, monkeypatch):
    monkeypatch.setattr(transport, "MAX_CALL_S", 0.2)
    with slow_server() as base_url:
        assert ask(base_url, model="late").response == {"text": "late"}


def test_an_answer_may_be_larger_than_those_of_other_calls(ask):
    with slow_server() as base_url:
        assert len(ask(base_url, model="large").response["text"]) == 20 * 2**20


def test_an_answer_without_an_end_is_not_read_to_it(ask):
    with slow_server() as base_url, pytest.raises(ProtocolError, match="larger than 64 MiB"):
        ask(base_url, model="endless")
