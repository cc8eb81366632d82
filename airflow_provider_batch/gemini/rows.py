"""The Gemini row dialect: a request line out, a response line in.

Request: ``{"key": "r1", "request": {GenerateContentRequest}}``. Response: the same key with ``response`` or
``error``. Rows are matched by key only: results have been seen out of order (python-genai issue 1909).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import msgspec

from airflow_provider_batch.gemini.attachments import Address, attached
from airflow_provider_batch.gemini.checks import RequestCheck
from airflow_provider_batch.rows.dialect import (
    NULL,
    BadRowError,
    CheckedRow,
    LandedRow,
    RowError,
    RowStatus,
    Usage,
)
from airflow_provider_batch.rows.prompts import names_in
from airflow_provider_batch.rows.strict_json import json_type, parse_row

MAX_KEY_CHARS = 256
"""Our own limit; the API documents none."""

_CANCELLED = 1
"""google.rpc.Code of a row whose job was cancelled before the row's turn."""

_COMPLETE = frozenset({"STOP", "FINISH_REASON_UNSPECIFIED", ""})


class _Part(msgspec.Struct, rename="camel"):
    text: msgspec.Raw = NULL
    thought: bool = False


class _Content(msgspec.Struct, rename="camel"):
    parts: list[_Part] = []


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str = ""


class _PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: str = ""


class _ModalityCount(msgspec.Struct, rename="camel"):
    modality: str = ""
    token_count: int = 0


class _UsageMetadata(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    cached_content_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    prompt_tokens_details: list[_ModalityCount] = []


class _Embedding(msgspec.Struct):
    values: list[float] = []


class _Response(msgspec.Struct, rename="camel"):
    """An answer. ``tokenCount``, beside an embedding, is read by the official SDK and in no published document."""

    embedding: _Embedding | None = None
    token_count: int = 0
    candidates: list[_Candidate] = []
    prompt_feedback: _PromptFeedback | None = None
    usage_metadata: _UsageMetadata | None = None


class _Error(msgspec.Struct):
    """A row error. Others have met a ``status`` word in place of the number."""

    code: int = 0
    message: str = ""
    status: str = ""


class _ResultLine(msgspec.Struct):
    key: str | None = None
    response: msgspec.Raw = NULL
    error: _Error | None = None


class _Keyed(msgspec.Struct):
    key: str


_read_key = msgspec.json.Decoder(_Keyed).decode
_read_line = msgspec.json.Decoder(_ResultLine).decode
_read_response = msgspec.json.Decoder(_Response, strict=False).decode


class GeminiRows:
    """Implements :class:`~airflow_provider_batch.rows.dialect.RowDialect`.

    :param model: The job's model without ``models/``; None = a row may name any.
    :param allow_unknown_fields: Pass fields that nobody here has heard of, as a newer API may know them.
    :param with_files: Pass files that are uploaded before the row is sent.
    """

    _checks: ClassVar[type[RequestCheck]] = RequestCheck

    def __init__(
        self, model: str | None = None, *, allow_unknown_fields: bool = False, with_files: bool = False
    ) -> None:
        self._check = self._checks(model, allow_unknown_fields=allow_unknown_fields, with_files=with_files)

    def check_request(self, line: bytes) -> CheckedRow:
        """Check an input line: its JSON, its key, and each field of its request in the right place.

        :raises BadRowError: The API would refuse it, or read it otherwise than it was meant.
        """
        key, request = checked_row(line, self._check)
        try:
            return CheckedRow(key, *self._check.request(request))
        except BadRowError as bad:
            bad.key = key
            raise

    def read_key(self, line: bytes) -> str:
        """The key of a line that :meth:`check_request` accepted."""
        return _read_key(line).key

    def attach(self, line: bytes, address: Address) -> bytes:
        """Put the address of each file, told by its name and its media type, into a checked line."""
        return attached(line, address)

    def read_result(self, line: bytes) -> LandedRow:
        """Classify a result line.

        :raises BadRowError: Not a result line, or one without a key.
        """
        try:
            row = _read_line(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadRowError("AGB-R03", f"not a result line ({error})") from None
        if not row.key:
            raise BadRowError("AGB-R03", "a result line without a key")
        if row.error is not None:
            return _failed(row.key, row.error, row.response)
        if row.response == NULL:
            raise BadRowError("AGB-R03", "neither a response nor an error", row.key)
        return _answered(row.key, row.response)


def checked_row(line: bytes, check: RequestCheck) -> tuple[str, dict[str, Any]]:
    """The key and the request of an input line.

    :raises BadRowError: Not JSON, not an object, no usable key, no request, or something that is neither.
    """
    row = parse_row(line)
    key = _key(row)
    request = row.get("request")
    try:
        # A name that belongs into a request says more than that there is none.
        if len(row) > 2 if "request" in row else any(map(check.has_place, row)):
            check.row(row)
        if not isinstance(request, dict):
            got = f"must be an object, got {json_type(request)}" if "request" in row else "is missing"
            raise BadRowError("AGB-I15", f'"request" {got}; a row is {{"key": ..., "request": {{...}}}}')
    except BadRowError as bad:
        raise BadRowError(bad.code, bad.what + _hint(row), key) from None
    return key, request


def _hint(row: dict[str, Any]) -> str:
    """What a row without a request may be instead."""
    columns = row.keys() - {"key"}
    if "request" in row or "skipped" in row or not columns:
        return ""
    if "custom_id" in row and {"body", "method", "url"} & columns:
        return '; this looks like OpenAI\'s batch format, set input_format="openai"'
    return f"; to make requests of columns ({names_in(row)}), set prompt= (key= applies only then)"


def _key(row: dict[str, Any]) -> str:
    if "key" not in row:
        raise BadRowError(
            "AGB-I13", f'no "key"; results come back in any order, so each row needs one{_hint(row)}'
        )
    key = row["key"]
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_CHARS:
        size = f" of {len(key)} characters" if isinstance(key, str) else ""
        raise BadRowError(
            "AGB-I13",
            f'"key" must be a string of 1 to {MAX_KEY_CHARS} characters, got {json_type(key)}{size}',
        )
    return key


def _failed(key: str, error: _Error, response: msgspec.Raw) -> LandedRow:
    status = RowStatus.CANCELLED if error.code == _CANCELLED else RowStatus.ERROR
    message = " ".join(part for part in (error.status, error.message) if part)
    return LandedRow(key, status, error=RowError(error.code, message), response=response)


def _answered(key: str, raw: msgspec.Raw) -> LandedRow:
    """A response is not yet an answer: it may be blocked, cut off, or hold thoughts only."""
    try:
        response = _read_response(raw)
        candidate = response.candidates[0] if response.candidates else None
        text = _text(candidate)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as damage:
        unreadable = RowError(message=f"unreadable response: {damage}")
        return LandedRow(key, RowStatus.ERROR, error=unreadable, response=raw)
    if response.embedding is not None:
        return _embedded(key, response, response.embedding.values, raw)
    reason = candidate.finish_reason if candidate else ""
    status, error = _judge(response, candidate, reason, text)
    return LandedRow(
        key,
        status,
        text=text,
        finish_reason=reason or None,
        usage=_usage(response.usage_metadata),
        error=error,
        response=raw,
    )


def _embedded(key: str, response: _Response, vector: list[float], raw: msgspec.Raw) -> LandedRow:
    usage = _usage(response.usage_metadata)
    if usage is None and response.token_count > 0:
        usage = Usage(response.token_count)
    if not vector or not math.isfinite(sum(vector)):
        error = RowError(message="an embedding without a number, or with one that is none")
        return LandedRow(key, RowStatus.ERROR, usage=usage, error=error, response=raw)
    # The vector is the whole answer; keeping the response as well would say everything twice.
    return LandedRow(key, RowStatus.SUCCESS, usage=usage, vector=vector)


def _judge(
    response: _Response, candidate: _Candidate | None, reason: str, text: msgspec.Raw
) -> tuple[RowStatus, RowError | None]:
    if candidate is None:
        why = response.prompt_feedback.block_reason if response.prompt_feedback else ""
        return RowStatus.BLOCKED, RowError(
            message=f"no answer; the prompt was blocked: {why or 'no reason given'}"
        )
    if reason == "MAX_TOKENS":
        what = (
            "the answer" if bytes(text) not in (b"null", b'""') else "nothing but thinking; raise maxOutputTokens"
        )
        return RowStatus.TRUNCATED, RowError(message=f"stopped at the token limit after {what}")
    if reason not in _COMPLETE:
        return RowStatus.BLOCKED, RowError(message=f"the answer was held back: {reason}")
    if candidate.content is None or not candidate.content.parts:
        return RowStatus.ERROR, RowError(message="finished without any content")
    return RowStatus.SUCCESS, None


def _text(candidate: _Candidate | None) -> msgspec.Raw:
    """The texts of an answer as one JSON string. They are only passed on, so they stay as they are written.

    :raises msgspec.ValidationError: One is no string.
    :raises UnicodeDecodeError: One is not UTF-8, which reading it as undecoded JSON does not show.
    """
    if candidate is None or candidate.content is None:
        return NULL
    texts = [part.text for part in candidate.content.parts if not part.thought and part.text != NULL]
    for text in texts:
        piece = bytes(text)
        if not piece.startswith(b'"'):
            raise msgspec.ValidationError("a text that is no string")
        if not piece.isascii():
            piece.decode()
    if len(texts) == 1:
        return texts[0]
    return msgspec.Raw(b'"%b"' % b"".join(bytes(text)[1:-1] for text in texts)) if texts else NULL


def _usage(metadata: _UsageMetadata | None) -> Usage | None:
    """The tokens of an answer, None if the API reported none, or fewer than none."""
    if metadata is None:
        return None
    counts = (
        metadata.prompt_token_count + metadata.tool_use_prompt_token_count,
        metadata.cached_content_token_count,
        metadata.candidates_token_count,
        metadata.thoughts_token_count,
        _audio(metadata.prompt_tokens_details),
    )
    return Usage(*counts) if min(counts) >= 0 else None


def _audio(details: list[_ModalityCount]) -> int:
    count = 0
    for part in details:
        if part.modality == "AUDIO":
            count += part.token_count
    return count
