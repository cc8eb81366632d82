"""The script of a single call: one GenerateContentRequest, one answer, no job.

Every answer is billed, by the tier that served it, and there is no idempotency token. So it matters what an
outcome says about the bill. The API's page on billing says that a request that fails with a 400 or 500 error costs
nothing. It says nothing of a 504: the time was up, and the model may have worked until then. The same holds for a
lost connection and for the page of a gateway. These count as *may be billed*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from airflow_provider_batch.contract_calls import Tier
from airflow_provider_batch.errors import (
    AnswerLostError,
    ApiError,
    ApiUnreachableError,
    ConfigError,
    ProtocolError,
)
from airflow_provider_batch.gemini.client import answers
from airflow_provider_batch.gemini.client.calls import model_path
from airflow_provider_batch.gemini.client.exchange import ApiAnswer, ApiRequest, Lost, Script
from airflow_provider_batch.gemini.client.repeats import once, persist_refused
from airflow_provider_batch.gemini.client.rpc import rpc_error
from airflow_provider_batch.gemini.rows.results import NOT_JSON

TIMEOUT_S = 900.0
"""Of a call that names none, seconds: a flex call is answered in 1 to 15 minutes."""

GRACE_S = 15.0
"""Seconds that we listen longer than the API is told to work, so that its own answer arrives."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Largest answer that is read, bytes, as that of a line of results: an answer may hold images."""

TIER_HEADER = "x-gemini-service-tier"

_TIER_FIELDS = frozenset({"serviceTier", "service_tier"})

_MAYBE_SERVED = frozenset({408, 499})
"""Refusals below 500 that speak of time: a call may have been served until then. The others come before."""

_FAILED = frozenset({500, 501, 503})
"""With the API's own error they cost nothing. Without it they are a gateway's, which knows nothing of the bill."""


@dataclass(frozen=True)
class SingleAnswer:
    """What the API answered a single call with.

    :param raw: The GenerateContentResponse as JSON in one line. Its values stand as the API wrote them.
    :param tier: That served the call, and so decides its price.
    :param is_tier_said: The API named that tier. Else it is the one that was asked for.
    """

    raw: bytes = field(repr=False)
    tier: Tier
    is_tier_said: bool

    @property
    def response(self) -> dict[str, Any]:
        """The GenerateContentResponse, read anew each time.

        :raises ProtocolError: It holds a text that is not UTF-8.
        """
        try:
            return msgspec.json.decode(self.raw, type=dict[str, Any])
        except NOT_JSON as error:
            raise ProtocolError(
                f"The answer to a single call cannot be read ({type(error).__name__}).",
                code="AGB-A01",
                remedy="It is billed. The field raw holds it as it came.",
            ) from None


def generate_content(
    model: str, request: Mapping[str, object], tier: Tier | str, timeout_s: float = TIMEOUT_S
) -> Script[SingleAnswer]:
    """One answer. A refusal for now is repeated for a while.

    :param request: A GenerateContentRequest as in the row of a batch. Values may be JSON (``msgspec.Raw``).
    :param timeout_s: After which the API is to give up, seconds.
    :raises ApiError: A definite no. Nothing is billed.
    :raises ApiUnreachableError: The request did not leave this machine. Nothing is billed.
    :raises AnswerLostError: The answer may be billed. It was not asked for again.
    """
    asked = _asked(tier)
    call = _request(model, request, asked, timeout_s)
    return _read(call.call, asked, (yield from persist_refused(call)))


def generate_content_once(
    model: str, request: Mapping[str, object], tier: Tier | str, timeout_s: float
) -> Script[SingleAnswer]:
    """The same with exactly one request on the wire, for a caller who paces by itself."""
    asked = _asked(tier)
    call = _request(model, request, asked, timeout_s)
    return _read(call.call, asked, (yield from once(call)))


def _asked(tier: Tier | str) -> Tier:
    try:
        return Tier(tier)
    except ValueError:
        raise ConfigError(
            f"{str(tier)[:40]!r} is no tier of a single call.",
            code="AGB-C06",
            remedy=f"Nothing was sent. There are {', '.join(Tier)}.",
        ) from None


def _request(model: str, request: Mapping[str, object], tier: Tier, timeout_s: float) -> ApiRequest:
    name = model_path(model)
    if not _TIER_FIELDS.isdisjoint(request):
        raise ConfigError(
            "The request of a single call names a tier itself.",
            code="AGB-C06",
            remedy="Nothing was sent. Leave serviceTier out of the request: the tier is an argument of the call.",
        )
    seconds = max(1, math.ceil(timeout_s))
    fields = dict(request) if tier is Tier.STANDARD else {**request, "serviceTier": tier.value}
    return ApiRequest(
        f"generate content with {name} ({tier})",
        "POST",
        f"/{{v}}/{name}:generateContent",
        headers={"Content-Type": "application/json", "X-Server-Timeout": str(seconds)},
        content=msgspec.json.encode(fields),
        timeout_s=seconds + GRACE_S,
        max_bytes=MAX_ANSWER_BYTES,
    )


def _read(call: str, asked: Tier, outcome: ApiAnswer | Lost) -> SingleAnswer:
    try:
        return _answer(call, asked, answers.expect_ok(call, outcome))
    except (ApiError, ApiUnreachableError, ProtocolError) as error:
        if not _may_be_billed(outcome):
            raise
        raise AnswerLostError(
            f"The answer was lost and may be billed. {error.message}",
            cause=error,
            code="AGB-A13",
            remedy="It was not asked for again. Another call may be billed as well.",
        ) from error


def _answer(call: str, asked: Tier, answer: ApiAnswer) -> SingleAnswer:
    fields = answers.fields_of(call, answer)
    said = _known(answer.headers.get(TIER_HEADER)) or _known(_tier_of_usage(fields))
    # One line, as in a file of results. The API writes its JSON on many.
    raw = msgspec.json.format(answer.body, indent=-1)
    return SingleAnswer(raw, said or asked, is_tier_said=said is not None)


def _tier_of_usage(fields: Mapping[str, msgspec.Raw]) -> object:
    try:
        usage = msgspec.json.decode(fields.get("usageMetadata", b"null"))
    except NOT_JSON:
        return None
    return usage.get("serviceTier") if isinstance(usage, dict) else None


def _known(word: object) -> Tier | None:
    """The tier of a word of the API. None for one that says no more than that the answer is paid for."""
    try:
        return Tier(word.strip().lower()) if isinstance(word, str) else None
    except ValueError:
        return None


def _may_be_billed(outcome: ApiAnswer | Lost) -> bool:
    if isinstance(outcome, Lost):
        return outcome.was_sent
    if 300 <= outcome.status < 500:
        return outcome.status in _MAYBE_SERVED
    return outcome.status not in _FAILED or rpc_error(outcome.body) is None
