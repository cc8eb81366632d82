"""The Gemini API as a :class:`~airflow_provider_batch.contract.CallingService`: a row in, an outcome out.

A row that is answered becomes a line as in the results of a job. So what reads those reads these. What the API
says of one row is that row's error. What it says of the credential, the model or the tier ends all calls.
"""

from __future__ import annotations

import re

import msgspec

from airflow_provider_batch.contract_calls import CallOutcome, LostCall, NoCapacity, RowAnswer, Tier, TooManyCalls
from airflow_provider_batch.errors import (
    AnswerLostError,
    ApiError,
    ApiUnreachableError,
    AuthError,
    ConfigError,
    ProtocolError,
)
from airflow_provider_batch.gemini.client.asynchronous import AsyncGeminiClient
from airflow_provider_batch.gemini.rows.results import CODES

INVALID, FORBIDDEN, NOT_FOUND, TOO_LARGE, TOO_MANY, FAILED, UNAVAILABLE = 400, 403, 404, 413, 429, 500, 503
"""HTTP statuses."""

_OF_TIER = re.compile(
    r"service[ _-]?tier|\bflex\b.*\b(?:support|available|enabled|allowed)", re.IGNORECASE | re.DOTALL
)
"""How a refusal may speak of a tier. No wording was published. *Flex API is not supported for model* was seen."""

_OF_FILE = re.compile(r"\bfile\b|\bcached ?content", re.IGNORECASE)
"""How a refusal speaks of what a row refers to: *... permission to access the File x or it may not exist*."""


class _Row(msgspec.Struct):
    request: dict[str, msgspec.Raw]


_read_row = msgspec.json.Decoder(_Row).decode


class GeminiCallingService:
    """Single calls, over the async client. It paces nothing and repeats nothing."""

    def __init__(self, client: AsyncGeminiClient) -> None:
        self._client = client

    async def answer(self, model: str, key: str, line: bytes, tier: Tier, timeout_s: float) -> CallOutcome:
        """Have one row answered, with exactly one request on the wire.

        :param line: The checked row, as it stands in a batch.
        :param timeout_s: After which the API is to give up, seconds. We listen a little longer.
        :raises ConfigError: The model is not served in this tier.
        :raises BatchError: The credential or the model is refused, or the host is not the API's.
        """
        request = _read_row(line).request
        try:
            answer = await self._client.generate_content_once(model, request, tier=tier, timeout_s=timeout_s)
        except AnswerLostError as error:
            return LostCall(error)
        except ApiUnreachableError as error:
            return LostCall(error, may_be_billed=False)
        except ApiError as error:
            return _refused(error, model, key, tier)
        except ProtocolError as error:
            if error.code != "AGB-A09":
                raise
            # Another call would be answered, and billed, alike.
            return RowAnswer(_failure(key, CODES["OUT_OF_RANGE"], error.message), tier, is_tier_said=False)
        line = msgspec.json.encode({"key": key, "response": msgspec.Raw(answer.raw)})
        return RowAnswer(line, answer.tier, answer.is_tier_said)

    def now(self) -> float:
        """Unix time, seconds, by the API's clock."""
        return self._client.clock.now()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _refused(error: ApiError, model: str, key: str, tier: Tier) -> CallOutcome:
    """What a definite no means. Nothing is billed."""
    if error.http_status == TOO_MANY:
        return TooManyCalls(error, error.retry_after_s)
    if error.http_status == UNAVAILABLE:
        return NoCapacity(error, error.retry_after_s)
    if error.http_status == FAILED:
        # By the API's page on billing it costs nothing. It may pass, or it may be the row. The caller decides.
        return LostCall(error, may_be_billed=False)
    if tier is not Tier.STANDARD and _OF_TIER.search(error.detail):
        raise ConfigError(
            f"The model {model!r} is not served in the tier {tier}: {error.detail}",
            code="AGB-C16",
            remedy='Set tiers=("standard",), which costs twice as much as batch mode, or take another model.',
        ) from error
    if not _is_of_row(error):
        raise error
    code = CODES.get(error.rpc_status, CODES["INVALID_ARGUMENT"])
    return RowAnswer(_failure(key, code, error.detail or error.message), tier, is_tier_said=False)


def _is_of_row(error: ApiError) -> bool:
    """The refusal is of this row. Else no other row would fare better.

    *Failed precondition* is said of a file that is not ready, and of a country or a project without billing. *Not
    permitted* is said of a file that is gone, and of a credential. A reason is given for a credential only.
    """
    if error.http_status == TOO_LARGE:
        return True
    if isinstance(error, AuthError) and error.http_status != FORBIDDEN:
        return False
    if error.rpc_status in ("INVALID_ARGUMENT", "OUT_OF_RANGE"):
        return True
    is_of_what_it_names = _OF_FILE.search(error.detail) is not None and not error.reason
    return is_of_what_it_names and error.rpc_status in ("FAILED_PRECONDITION", "PERMISSION_DENIED", "NOT_FOUND")


def _failure(key: str, code: int, message: str) -> bytes:
    return msgspec.json.encode({"key": key, "error": {"code": code, "message": message}})
