"""Single calls: generateContent with its service tiers, and embeddings, which have none.

A single call is checked and answered as a row of a batch is. It is billed when its answer is ready, whether the
answer arrives or not. A call that fails, or whose time is up, is taken to cost nothing.
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from airflow_provider_batch.emulator.answers.results import billed
from airflow_provider_batch.emulator.answers.schema_check import RowError, check_request
from airflow_provider_batch.emulator.answers.texts import embedded, files_in, prompt_tokens, request_digest
from airflow_provider_batch.emulator.routes.models import check_flex, known_model
from airflow_provider_batch.emulator.state.records import Kind, Tier, Tokens
from airflow_provider_batch.emulator.wire.context import Call, number, reply
from airflow_provider_batch.emulator.wire.errors import (
    ApiError,
    error_body,
    file_not_visible,
    http_status,
    invalid,
)
from airflow_provider_batch.emulator.wire.json import Message, field
from airflow_provider_batch.emulator.wire.tiers import TIER_HEADER, asked_tier, with_tier, without_tier

# The documented time of a call that names none.
DEFAULT_TIMEOUT_S = 600
# Seconds for standard, minutes for flex: the emulator keeps the order and not the ratio.
TIMES_AS_LONG: dict[Tier, float] = {"priority": 0.5, "standard": 1.0, "flex": 10.0}


async def generate_content(call: Call) -> Response:
    """Answer one GenerateContentRequest."""
    arrived = call.emulation.now()
    model = known_model(call.parameter("model"), "generate", "generateContent")
    message = await call.json(None)
    asked = asked_tier(message)
    request = without_tier(message)
    _check(call, "generate", request)
    if asked == "flex":
        check_flex(model)
    rates = call.emulation.rates
    rates.take(call.project, model, sum(prompt_tokens(request)))
    served = rates.served_tier(call.project, model, asked)
    answer = await _answer(call, request, model, arrived, TIMES_AS_LONG[served])
    if "error" in answer:
        return _refusal(answer["error"])
    response = with_tier(answer["response"], served)
    tokens = msgspec.structs.asdict(billed(request, answer))
    facts = {"model": f"models/{model}", "tier": served, "tokens": tokens, "request": request_digest(request)}
    call.accept("models.generateContent", **facts)
    return reply(response, headers={TIER_HEADER: served})


async def embed_content(call: Call) -> Response:
    """Answer one EmbedContentRequest."""
    model = known_model(call.parameter("model"), "embed", "embedContent")
    [response] = await _embed(call, "models.embedContent", model, [await call.json(None)])
    return reply(response)


async def embed_contents(call: Call) -> Response:
    """Answer several EmbedContentRequests at once: ``batchEmbedContents``, which is no batch job."""
    model = known_model(call.parameter("model"), "embed", "batchEmbedContents")
    requests = field(await call.json("BatchEmbedContentsRequest"), "requests", [])
    if not isinstance(requests, list) or not requests:
        raise invalid("* BatchEmbedContentsRequest.requests: requests must not be empty")
    responses = await _embed(call, "models.batchEmbedContents", model, requests)
    return reply({"embeddings": [response["embedding"] for response in responses]})


async def _embed(call: Call, name: str, model: str, requests: list[Message]) -> list[Message]:
    arrived = call.emulation.now()
    for request in requests:
        _check(call, "embed", request)
    tokens = sum(sum(prompt_tokens(request)) for request in requests)
    call.emulation.rates.take(call.project, model, tokens)
    await _wait(call, arrived, 1.0)
    facts = {"model": f"models/{model}", "tokens": msgspec.structs.asdict(Tokens(input=tokens))}
    call.accept(name, **facts)
    return [embedded(request, model) for request in requests]


def _check(call: Call, kind: Kind, request: Message) -> None:
    """Check a request as a row of a batch is, and the files that it names.

    :raises ApiError: 400 or 403.
    """
    try:
        check_request(kind, request)
    except RowError as fault:
        # A fault of a field is one of the JSON. One of the rules between fields is not.
        type_name = "GenerateContentRequest" if kind == "generate" else "EmbedContentRequest"
        where = f"* {type_name}:" if fault.field_name is None else "Invalid JSON payload received."
        raise invalid(f"{where} {fault.reason}") from None
    for file_id in files_in(request):
        file = call.emulation.store.file(file_id, call.project)
        if file is None:
            raise file_not_visible(file_id)
        if call.emulation.now() < file.active_at:
            raise invalid(f"The File {file_id} is not in an ACTIVE state and usage is not allowed.")


async def _answer(call: Call, request: Message, model: str, arrived: float, times: float) -> Message:
    answer = await call.emulation.answers.to(request, f"models/{model}", _timeout_s(call))
    if answer is None:
        raise _too_late()
    await _wait(call, arrived, times)
    return answer


async def _wait(call: Call, arrived: float, times: float) -> None:
    """Wait until an answer is ready.

    :param times: how many times as long as a standard call it takes.
    :raises ApiError: 504 when the client's time is up before.
    """
    takes_s, timeout_s = call.emulation.call_seconds * times, _timeout_s(call)
    await call.emulation.alarms.until(arrived + min(takes_s, timeout_s))
    if takes_s > timeout_s:
        raise _too_late()


def _timeout_s(call: Call) -> int:
    return number(call.request.headers.get("x-server-timeout", "")) or DEFAULT_TIMEOUT_S


def _too_late() -> ApiError:
    return ApiError(504, "Deadline expired before operation could complete.")


def _refusal(error: object) -> Response:
    """Return the error of a row as the error of a call."""
    if not isinstance(error, dict):
        error = {"message": str(error)}
    details = error.get("details")
    status = http_status(error.get("code"))
    return reply(
        error_body(status, str(error.get("message", "")), details if isinstance(details, list) else None), status
    )
