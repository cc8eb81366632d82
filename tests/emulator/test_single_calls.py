"""One request, one answer: tiers, latency, limits, refusals, and what each answer is billed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from airflow_provider_batch.emulator import Limits, running_emulator

FLASH = "gemini-2.5-flash"
ASK = {"contents": [{"role": "user", "parts": [{"text": "Name a moon of Mars."}]}]}
SPENT = {"input": 5, "cached": 0, "output": 8, "thinking": 0}
CALL = "models.generateContent"


@pytest.fixture
def serve(connect):
    """Start a server with the options that a test names."""
    with ExitStack() as stack:

        def start(**options):
            emulator = stack.enter_context(running_emulator(**options))
            return emulator, connect(emulator)

        yield start


def call(api, tier=None, model=FLASH, headers=None, request=ASK):
    body = request if tier is None else {**request, "serviceTier": tier}
    return api.post(f"/v1beta/models/{model}:generateContent", json=body, headers=headers)


def refusal(answer):
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    return answer.status_code, error["status"], error["message"]


def wait_until_asked(emulator, calls):
    """Wait for calls to be on their way: they are answered only when the clock moves."""
    wait_until(lambda: emulator_waits(emulator) >= calls)


def wait_until(happened):
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def emulator_waits(emulator):
    return httpx.get(f"{emulator.base_url}/emulator/health").json()["waiting"]


# The answer.


def test_an_answer_is_that_of_a_row_with_the_served_tier(api):
    answer = call(api)

    assert answer.status_code == 200
    assert answer.headers["x-gemini-service-tier"] == "standard"
    assert answer.json() == {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "Answer to: Name a moon of Mars."}]},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 5,
            "candidatesTokenCount": 8,
            "totalTokenCount": 13,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}],
            "serviceTier": "standard",
        },
        "modelVersion": "gemini-2.5-flash",
        "responseId": answer.json()["responseId"],
    }


def test_the_same_request_is_answered_alike_by_a_batch_and_a_call(api):
    job = api.finished(api.create_inline({"request": ASK, "metadata": {"key": "a"}}).json()["name"])
    [row] = job["response"]["inlinedResponses"]["inlinedResponses"]

    single = call(api, "flex").json()

    assert single["usageMetadata"].pop("serviceTier") == "flex"
    assert single == row["response"]


@pytest.mark.parametrize(
    ("field", "asked", "served"),
    [
        ("serviceTier", "flex", "flex"),
        ("service_tier", "flex", "flex"),
        ("serviceTier", "priority", "priority"),
        ("service_tier", "standard", "standard"),
        # As in the REST command of the guide's page of flex inference.
        ("service_tier", "FLEX", "flex"),
        ("serviceTier", "unspecified", "standard"),
        ("serviceTier", None, "standard"),
    ],
)
def test_header_and_usage_name_the_tier_that_was_served(api, field, asked, served):
    answer = call(api, request={**ASK, field: asked})

    assert answer.headers["x-gemini-service-tier"] == served
    assert answer.json()["usageMetadata"]["serviceTier"] == served


def test_a_body_is_read_as_googles_parser_reads_it(api):
    body = "{contents: [{'parts': [{'text': 'hi'},]}], service_tier: 'flex',}"

    answer = api.post(f"/v1/models/{FLASH}:generateContent", content=body)

    assert answer.json()["candidates"][0]["content"]["parts"] == [{"text": "Answer to: hi"}]
    assert answer.headers["x-gemini-service-tier"] == "flex"


# Refusals of what was asked.


@pytest.mark.parametrize(("asked", "quoted"), [("turbo", '"turbo"'), ("FLEXI", '"FLEXI"'), (7, "7"), ([], "[]")])
def test_a_word_that_is_no_tier_is_refused_as_an_invalid_enum_value(api, asked, quoted):
    status, name, message = refusal(call(api, asked))

    assert (status, name) == (400, "INVALID_ARGUMENT")
    assert message.startswith("Invalid value at 'service_tier' (type.googleapis.com/google.ai.generativelanguage.")
    assert message.endswith(f"ServiceTier), {quoted}")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "* GenerateContentRequest: contents is not specified"),
        ({"contents": [{"parts": []}]}, "* GenerateContentRequest: contents.parts must not be empty"),
        ({**ASK, "temperature": 1}, "Invalid JSON payload received. no such field: 'temperature'"),
        (
            {**ASK, "generationConfig": {"temperature": "warm"}},
            "Invalid JSON payload received. invalid value for the number field 'temperature'",
        ),
    ],
)
def test_a_request_is_checked_as_a_row_is(api, request_, message):
    assert refusal(call(api, request=request_)) == (400, "INVALID_ARGUMENT", message)


def test_a_row_of_a_batch_has_no_tier(api):
    answer = api.create_inline({"request": {**ASK, "serviceTier": "flex"}})

    assert answer.status_code == 400
    assert "no such field: 'serviceTier'" in answer.json()["error"]["message"]


@pytest.mark.parametrize("model", ["gemini-0-none", "gemini-embedding-001"])
def test_a_model_that_cannot_generate_is_not_found(api, model):
    status, name, message = refusal(call(api, model=model))

    assert (status, name) == (404, "NOT_FOUND")
    assert f"models/{model} is not found" in message
    assert "not supported for generateContent" in message


@pytest.mark.parametrize("model", ["gemini-2.0-flash", "gemini-3-pro-preview"])
def test_a_model_without_flex_names_the_tier_and_itself(api, model):
    status, name, message = refusal(call(api, "flex", model))

    assert (status, name) == (400, "INVALID_ARGUMENT")
    assert message == f"Service tier flex is not supported for models/{model}."
    assert call(api, model=model).status_code == 200


def test_a_file_that_is_not_there_is_forbidden_and_one_that_is_there_is_read(api):
    def ask(name):
        part = {"fileData": {"fileUri": f"{api.base_url}/v1beta/{name}", "mimeType": "text/plain"}}
        return call(api, request={"contents": [{"parts": [{"text": "hi"}, part]}]})

    assert refusal(ask("files/gone"))[:2] == (403, "PERMISSION_DENIED")
    assert ask(api.upload(b"x", mimeType="text/plain")["name"]).status_code == 200


def test_a_file_that_is_still_processed_cannot_be_used(emulator, api):
    emulator.add_fault(action="processing", seconds=600)
    name = api.upload(b"x", mimeType="text/plain")["name"]
    part = {"fileData": {"fileUri": f"{api.base_url}/v1beta/{name}", "mimeType": "text/plain"}}

    status, _, message = refusal(call(api, request={"contents": [{"parts": [part]}]}))

    assert (status, "not in an ACTIVE state" in message) == (400, True)


# Whose answers.


def answering(request, key):
    """What the user's function of these tests says: the key is None, as a call has none."""
    text = request["contents"][0]["parts"][0]["text"]
    if text == "raise":
        raise ValueError("not today")
    if text == "slow":
        time.sleep(3)
    errors = {"busy": {"code": 14, "message": "upstream is busy"}, "odd": "only a text"}
    return {"error": errors[text]} if text in errors else f"{text} of {key}"


@pytest.fixture(scope="module")
def by_function():
    with running_emulator(answers=f"{__name__}:answering") as running:
        yield running


def asking(text):
    return {"contents": [{"parts": [{"text": text}]}]}


def test_the_users_function_answers_single_calls_too(by_function, connect):
    answer = call(connect(by_function), request=asking("hi"))

    assert answer.json()["candidates"][0]["content"]["parts"] == [{"text": "hi of None"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("raise", (500, "INTERNAL", "ValueError: not today")),
        ("busy", (503, "UNAVAILABLE", "upstream is busy")),
        ("odd", (500, "INTERNAL", "only a text")),
    ],
)
def test_the_error_of_a_row_is_the_error_of_a_call_and_costs_nothing(by_function, connect, text, expected):
    before = by_function.billed_calls()

    assert refusal(call(connect(by_function), request=asking(text))) == expected
    assert by_function.billed_calls() == before


def test_a_slow_source_holds_up_no_other_call_and_ends_with_the_clients_time(by_function, connect):
    api = connect(by_function)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(call, api, None, FLASH, {"X-Server-Timeout": "1"}, asking("slow"))
        assert call(api, request=asking("hi")).status_code == 200
        assert not slow.done()
        assert refusal(slow.result())[:2] == (504, "DEADLINE_EXCEEDED")


# Time.


def test_answers_come_in_the_order_of_their_readiness_also_over_a_leap_of_the_clock(serve):
    emulator, api = serve(call_seconds=100)
    tiers = ["flex", "standard", "priority"]
    with ThreadPoolExecutor() as pool:
        headers = {"X-Server-Timeout": "2000"}
        calls = [pool.submit(call, api, tier, FLASH, headers) for tier in tiers]
        wait_until_asked(emulator, 3)
        assert not any(call.done() for call in calls)
        emulator.advance_clock(3600)
        assert {call.result().status_code for call in calls} == {200}

    assert [call["tier"] for call in emulator.billed_calls()] == ["priority", "standard", "flex"]


def test_a_flex_call_takes_ten_times_as_long_as_a_standard_one(serve):
    emulator, api = serve(call_seconds=50)
    with ThreadPoolExecutor() as pool:
        flex, standard = (pool.submit(call, api, tier) for tier in ("flex", "standard"))
        wait_until_asked(emulator, 2)
        emulator.advance_clock(60)
        assert standard.result().status_code == 200
        assert (flex.done(), emulator_waits(emulator)) == (False, 1)
        emulator.advance_clock(450)
        assert flex.result().status_code == 200


@pytest.mark.parametrize(("headers", "limit"), [({"X-Server-Timeout": "30"}, 30), ({}, 600)])
def test_past_the_clients_time_the_deadline_is_exceeded_and_nothing_is_billed(serve, headers, limit):
    emulator, api = serve(call_seconds=1000)
    with ThreadPoolExecutor() as pool:
        late = pool.submit(call, api, None, FLASH, headers)
        wait_until_asked(emulator, 1)
        emulator.advance_clock(limit - 10)
        assert emulator_waits(emulator) == 1
        emulator.advance_clock(20)
        assert refusal(late.result())[:2] == (504, "DEADLINE_EXCEEDED")

    assert emulator.billed_calls() == []


# Limits.


def quota(answer):
    """The violations and the wait of a refusal."""
    assert refusal(answer)[:2] == (429, "RESOURCE_EXHAUSTED")
    failure, help_, retry = answer.json()["error"]["details"]
    assert failure["@type"] == "type.googleapis.com/google.rpc.QuotaFailure"
    assert help_["@type"] == "type.googleapis.com/google.rpc.Help"
    assert retry["@type"] == "type.googleapis.com/google.rpc.RetryInfo"
    wait_s = retry["retryDelay"]
    assert refusal(answer)[2].endswith(f"Please retry in {wait_s}.")
    return failure["violations"], float(wait_s.removesuffix("s"))


def test_one_request_too_many_is_refused_for_as_long_as_the_hint_says(serve):
    emulator, api = serve(limits=Limits(requests_per_minute=2))
    call(api)
    emulator.advance_clock(20)
    call(api, "flex")

    violations, wait_s = quota(call(api))

    assert violations == [
        {
            "quotaMetric": "generativelanguage.googleapis.com/generate_requests_per_model",
            "quotaId": "GenerateRequestsPerMinutePerProjectPerModel",
            "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"},
            "quotaValue": "2",
        }
    ]
    assert 30 < wait_s < 40
    emulator.advance_clock(wait_s)
    assert call(api).status_code == 200
    quota(call(api))


def test_tokens_of_a_minute_are_added_up_and_what_never_fits_waits_a_minute(serve):
    _, api = serve(limits=Limits(tokens_per_minute=12))
    assert [call(api).status_code for _ in range(2)] == [200, 200]

    [violation], _ = quota(call(api))

    assert violation["quotaId"] == "GenerateContentPaidTierInputTokensPerModelPerMinute"
    assert violation["quotaValue"] == "12"
    assert quota(call(api, request=asking("x" * 100)))[1] == 60


def test_the_limit_is_that_of_a_project_and_a_model(serve, connect):
    emulator, _ = serve(limits=Limits(requests_per_minute=1), api_keys=("one=p1", "same=p1", "other=p2"))
    one, same, other = (connect(emulator, key=key) for key in ("one", "same", "other"))
    assert call(one).status_code == 200
    assert call(same).status_code == 429
    assert call(other).status_code == 200
    assert call(one, model="gemini-2.5-pro").status_code == 200


def test_priority_beyond_its_limit_is_served_and_billed_as_standard(serve):
    emulator, api = serve(limits=Limits(priority_requests_per_minute=1))

    answers = [call(api, "priority") for _ in range(2)]

    assert [answer.headers["x-gemini-service-tier"] for answer in answers] == ["priority", "standard"]
    assert answers[1].json()["usageMetadata"]["serviceTier"] == "standard"
    assert [billed["tier"] for billed in emulator.billed_calls()] == ["priority", "standard"]


# Faults.


def test_flex_is_out_of_capacity_while_standard_goes_on(emulator, api):
    emulator.add_fault(call=CALL, action="status", tier="flex", times=2, message="No capacity now.")

    seen = [call(api, tier).status_code for tier in ("standard", "flex", None, "flex", "priority", "flex")]

    assert seen == [200, 503, 200, 503, 200, 200]


def test_a_call_that_is_refused_for_capacity_is_not_billed(serve):
    emulator, api = serve()
    emulator.add_fault(call=CALL, action="status", tier="flex", message="No capacity now.")

    assert refusal(call(api, "flex")) == (503, "UNAVAILABLE", "No capacity now.")
    assert emulator.billed_calls() == []


def test_a_wrong_body_does_not_use_up_a_fault_of_a_tier(emulator, api):
    emulator.add_fault(call="models.*", action="status", tier="flex")

    assert api.post(f"/v1/models/{FLASH}:generateContent", content=b"{").status_code == 400
    assert api.get(f"/v1/models/{FLASH}").status_code == 200
    assert call(api, "turbo").status_code == 400
    assert call(api, "flex").status_code == 503


@pytest.mark.parametrize("fault", [{"call": "batches.create"}, {"call": CALL, "tier": "turbo"}])
def test_a_fault_of_a_tier_that_could_never_strike_is_refused(emulator, fault):
    with pytest.raises(ValueError, match="tier"):
        emulator.add_fault(**{"action": "status", "tier": "flex", **fault})


@pytest.mark.parametrize("action", ["accept_then_drop", "accept_then_status"])
def test_an_answer_that_is_lost_is_billed_all_the_same(serve, action):
    emulator, api = serve()
    emulator.add_fault(call=CALL, action=action)
    if action == "accept_then_drop":
        with pytest.raises(httpx.RemoteProtocolError):
            call(api, "flex")
    else:
        assert call(api, "flex").status_code == 503

    [billed] = emulator.billed_calls()

    assert (billed["tier"], billed["tokens"]) == ("flex", SPENT)


def test_an_answer_for_a_client_that_has_left_is_billed_all_the_same(serve):
    emulator, api = serve(call_seconds=100)
    with pytest.raises(httpx.ReadTimeout):
        api.post(f"/v1/models/{FLASH}:generateContent", json=ASK, timeout=0.3)
    assert (emulator_waits(emulator), emulator.billed_calls()) == (1, [])

    emulator.advance_clock(200)
    wait_until(lambda: emulator.billed_calls())

    assert [billed["tokens"] for billed in emulator.billed_calls()] == [SPENT]


def test_the_journal_bills_each_answer_by_its_tier_and_names_what_was_asked(serve):
    emulator, api = serve()
    answers = [call(api, "flex"), call(api), call(api, request=asking("another"))]

    billed = emulator.billed_calls()

    assert [(item["call"], item["model"], item["tier"]) for item in billed] == [
        ("models.generateContent", "models/gemini-2.5-flash", "flex"),
        ("models.generateContent", "models/gemini-2.5-flash", "standard"),
        ("models.generateContent", "models/gemini-2.5-flash", "standard"),
    ]
    assert billed[0]["tokens"] == SPENT
    # The same question is the same whatever its tier: so a row that was called twice is found.
    assert [item["request"] for item in billed] == [answer.json()["responseId"] for answer in answers]
    assert billed[0]["request"] == billed[1]["request"] != billed[2]["request"]


def test_bills_outlive_a_killed_server(serve):
    emulator, api = serve()
    call(api, "flex")
    emulator.kill()
    emulator.restart()

    assert [billed["tier"] for billed in emulator.billed_calls()] == ["flex"]


# Embeddings.

EMBED = {"content": {"parts": [{"text": "a text"}]}, "outputDimensionality": 3}


def test_one_content_is_embedded_as_a_row_is(api):
    answer = api.post("/v1beta/models/gemini-embedding-2:embedContent", json=EMBED).json()

    assert len(answer["embedding"]["values"]) == 3
    assert answer["usageMetadata"]["promptTokenCount"] == 2


def test_several_contents_are_embedded_in_their_order_and_billed(serve):
    emulator, api = serve()
    requests = [{"model": "models/gemini-embedding-001", **EMBED}, {**EMBED, "outputDimensionality": 2}]

    answer = api.post("/v1/models/gemini-embedding-001:batchEmbedContents", json={"requests": requests})

    assert [len(embedding["values"]) for embedding in answer.json()["embeddings"]] == [3, 2]
    assert [list(embedding) for embedding in answer.json()["embeddings"]] == [["values"], ["values"]]
    [entry] = [entry for entry in emulator.journal() if entry["call"] == "models.batchEmbedContents"]
    assert (entry["model"], entry["tokens"]["input"]) == ("models/gemini-embedding-001", 4)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("gemini-2.5-flash:embedContent", EMBED, 404),
        ("gemini-2.5-flash:batchEmbedContents", {"requests": [EMBED]}, 404),
        ("gemini-embedding-2:embedContent", {}, 400),
        ("gemini-embedding-2:embedContent", {**EMBED, "serviceTier": "flex"}, 400),
        ("gemini-embedding-2:batchEmbedContents", {}, 400),
        ("gemini-embedding-2:batchEmbedContents", {"requests": EMBED}, 400),
        ("gemini-embedding-2:batchEmbedContents", {"requests": [EMBED, {"content": {}}]}, 400),
    ],
)
def test_a_wrong_embedding_is_refused(api, path, body, status):
    answer = api.post(f"/v1beta/models/{path}", json=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)
