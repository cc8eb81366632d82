"""A result line in: what the API answered a row with, and whether that is an answer.

A null says the same as a field that is left out, at every depth: the protocol's JSON allows both.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from airflow_provider_batch.redaction import blanked
from airflow_provider_batch.rows.dialect import (
    NULL,
    BadRowError,
    LandedRow,
    RowError,
    RowStatus,
    Usage,
    is_blank,
)

_CANCELLED = 1
"""google.rpc.Code of a row whose job was cancelled before the row's turn."""

CODES = {
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "DATA_LOSS": 15,
    "UNAUTHENTICATED": 16,
}
"""google.rpc.Code by its words."""

_COMPLETE = frozenset({"STOP", "FINISH_REASON_UNSPECIFIED", ""})
_CUT_OFF = frozenset({"MAX_TOKENS", "CONTINUATION"})

_ODD = frozenset(
    {"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE", "NO_IMAGE"}
)
"""The model did not do as it was asked, and may the next time."""

_WRONG_REQUEST = frozenset({"MISSING_THOUGHT_SIGNATURE"})
"""The API finds fault with the request. The same request cannot succeed."""

_UNSPECIFIED = frozenset({"", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED"})

_NO_ANSWER = frozenset(
    {"text", "thought", "thoughtSignature", "videoMetadata", "partMetadata", "mediaResolution", "mediaProcessing"}
)
"""Fields of a part that say something about it, and text, which is read by itself. Any other is content."""

_MOST = 2**63
"""What a column of whole numbers can hold in most tables. Nothing counts so far."""

_EMPTY = msgspec.Raw(b"{}")


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


class _Status(msgspec.Struct):
    """Why a row failed. Others have met a ``status`` word in place of the number."""

    code: int | str = 0
    message: str = ""
    status: str = ""


class _ResultLine(msgspec.Struct):
    key: str | None = None
    response: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    status: msgspec.Raw = NULL
    metadata: msgspec.Raw = NULL


_read_line = msgspec.json.Decoder(_ResultLine).decode
_read_status = msgspec.json.Decoder(_Status | str).decode
_read_response = msgspec.json.Decoder(_Response, strict=False).decode
NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no JSON, or for JSON that is nested too deep to be meant."""


def read_result(line: bytes, lengths: frozenset[int] | None = None) -> LandedRow:
    """Classify a result line.

    :param lengths: How many numbers a vector may have. Empty = any number. None = the job is not one of vectors.
    :raises BadRowError: Not a result line, or one without a key.
    """
    try:
        row = _read_line(line)
        key = row.key or _key_of(row.metadata)
        has_response = row.response not in (NULL, _EMPTY)
        failure = _failure(row.error) or _failure(row.status)
        is_mere_word = failure is not None and not failure.code and row.error == NULL and has_response
    except NOT_JSON as error:
        raise BadRowError("AGB-R03", f"not a result line ({error})") from None
    if not key:
        raise BadRowError("AGB-R03", "a result line without a key")
    # A word alone beside an answer, such as "OK", is no failure.
    if failure is not None and not is_mere_word:
        status = RowStatus.CANCELLED if failure.code == _CANCELLED else RowStatus.ERROR
        return LandedRow(key, status, error=failure, response=row.response)
    if row.response == NULL:
        raise BadRowError("AGB-R03", "neither a response nor an error", key)
    return _answered(key, row.response, lengths)


def _key_of(metadata: msgspec.Raw) -> str | None:
    """The key of a row of a job with inline requests."""
    found = msgspec.json.decode(metadata)
    key = found.get("key") if isinstance(found, dict) else None
    return key if isinstance(key, str) else None


def _failure(raw: msgspec.Raw) -> RowError | None:
    """The reason of a failure, however it is told. None if there is none."""
    if raw == NULL:
        return None
    try:
        status = _read_status(raw)
    except msgspec.ValidationError:
        bare = without_nulls(msgspec.json.decode(raw))
        status = msgspec.convert(bare, _Status, strict=False) if isinstance(bare, dict) else str(bare)
    if isinstance(status, str):
        status = _Status(status=status)
    if not (status.code or status.message or status.status):
        return None
    word = status.code if isinstance(status.code, str) and not _is_number(status.code) else ""
    parts = (word, status.status, status.message)
    return RowError(_code(status), blanked(" ".join(part for part in parts if part)))


def _is_number(text: str) -> bool:
    return text.lstrip("-").isdecimal() and len(text) < 20


def _code(status: _Status) -> int:
    """The number of a failure. By its word where no number can be one."""
    code = status.code
    if isinstance(code, str):
        code = int(code) if _is_number(code) else CODES.get(code, 0)
    return code if code and abs(code) < _MOST else CODES.get(status.status, 0)


def without_nulls(value: object) -> Any:
    """A JSON value without what is null: fields of objects, and items of lists of objects."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    if isinstance(value, list):
        # A null among numbers is a hole, which must not move the others.
        has_holes = not any(isinstance(one, int | float) for one in value)
        return [without_nulls(one) for one in value if one is not None or not has_holes]
    return value


def _decoded(raw: msgspec.Raw) -> _Response:
    """The fields that matter.

    :raises msgspec.MsgspecError: They are not of their types.
    """
    try:
        return _read_response(raw)
    except msgspec.ValidationError:
        bare = without_nulls(msgspec.json.decode(raw))
    encode = msgspec.json.encode
    try:
        return _read_response(encode(bare))
    except msgspec.ValidationError:
        if not isinstance(bare, dict):
            raise
        # An answer is not lost for a count of its tokens that cannot be read. It counts as unmetered.
        return _read_response(encode({n: v for n, v in bare.items() if n not in ("usageMetadata", "tokenCount")}))


def _answered(key: str, raw: msgspec.Raw, lengths: frozenset[int] | None) -> LandedRow:
    """A response is not yet an answer: it may be blocked, cut off, or hold thoughts only."""
    try:
        response = _decoded(raw)
        candidate = response.candidates[0] if response.candidates else None
        text = _text(candidate)
        has_other = text.blank and candidate is not None and _has_content(raw)
    except NOT_JSON as damage:
        unreadable = RowError(message=f"unreadable response: {damage}")
        return LandedRow(key, RowStatus.ERROR, error=unreadable, response=raw)
    if response.embedding is not None or lengths is not None:
        return _embedded(key, response, lengths or frozenset(), raw)
    reason = candidate.finish_reason if candidate else ""
    value = NULL if has_other else text.value
    status, error = _judge(response, candidate, has_answer=has_other or value is not NULL, is_blank=text.blank)
    return LandedRow(
        key,
        status,
        text=value,
        finish_reason=reason or None,
        usage=_usage(response.usage_metadata),
        error=error,
        response=raw,
    )


def _embedded(key: str, response: _Response, lengths: frozenset[int], raw: msgspec.Raw) -> LandedRow:
    """A vector, or why there is none."""
    usage = _usage(response.usage_metadata)
    if (usage is None or not usage.input) and 0 < response.token_count < _MOST:
        usage = Usage(response.token_count)
    vector = response.embedding.values if response.embedding else []
    if not vector and (why := _blocked(response)):
        return LandedRow(key, RowStatus.BLOCKED, usage=usage, error=why, response=raw)
    wrong = ""
    if not vector:
        wrong = "no vector in the answer"
    elif not math.isfinite(sum(vector)):
        wrong = "a vector with something in it that is no number"
    elif lengths and len(vector) not in lengths:
        wrong = f"a vector of {len(vector)} numbers, and {' or '.join(map(str, sorted(lengths)))} were asked for"
    if wrong:
        error = RowError(message=wrong)
        return LandedRow(key, RowStatus.INVALID_OUTPUT, usage=usage, error=error, response=raw)
    # The vector is the whole answer. Keeping the response as well would say everything twice.
    return LandedRow(key, RowStatus.SUCCESS, usage=usage, vector=vector)


def _judge(
    response: _Response, candidate: _Candidate | None, *, has_answer: bool, is_blank: bool
) -> tuple[RowStatus, RowError | None]:
    """What an answer is worth. The one place that decides it."""
    reason = candidate.finish_reason if candidate else ""
    if reason in _CUT_OFF:
        what = "nothing but thinking; raise maxOutputTokens" if is_blank else "the answer"
        return RowStatus.TRUNCATED, RowError(message=f"stopped at the token limit after {what}")
    if reason in _ODD:
        return RowStatus.INVALID_OUTPUT, RowError(message=f"no usable answer: {reason}")
    if reason in _WRONG_REQUEST:
        return RowStatus.ERROR, RowError(message=f"the request cannot be answered: {reason}")
    if reason not in _COMPLETE:
        return RowStatus.BLOCKED, RowError(message=f"the answer was held back: {reason}")
    if has_answer:
        return RowStatus.SUCCESS, None
    if why := _blocked(response):
        return RowStatus.BLOCKED, why
    if candidate is None:
        return RowStatus.INVALID_OUTPUT, RowError(message="no answer, and no reason given")
    return RowStatus.INVALID_OUTPUT, RowError(message="finished without an answer: no text, call or other content")


def _blocked(response: _Response) -> RowError | None:
    """Why the prompt was blocked, None if nothing says that it was."""
    why = response.prompt_feedback.block_reason if response.prompt_feedback else ""
    return None if why in _UNSPECIFIED else RowError(message=f"no answer; the prompt was blocked: {why}")


class _Text(msgspec.Struct, frozen=True):
    """The text of an answer.

    :param value: A JSON string. NULL if there is none at all.
    :param blank: There is none, or nothing but white space.
    """

    value: msgspec.Raw
    blank: bool


_NO_TEXT = _Text(NULL, blank=True)


def _text(candidate: _Candidate | None) -> _Text:
    """The texts of an answer as one JSON string. They are only passed on, so they stay as they are written.

    :raises msgspec.ValidationError: One is no string.
    :raises UnicodeDecodeError: One is not UTF-8, which reading it as undecoded JSON does not show.
    """
    if candidate is None or candidate.content is None:
        return _NO_TEXT
    texts = [part.text for part in candidate.content.parts if not part.thought and part.text != NULL]
    for text in texts:
        piece = bytes(text)
        if not piece.startswith(b'"'):
            raise msgspec.ValidationError("a text that is no string")
        if not piece.isascii():
            piece.decode()
    if not texts:
        return _NO_TEXT
    value = texts[0] if len(texts) == 1 else msgspec.Raw(b'"%b"' % b"".join(bytes(text)[1:-1] for text in texts))
    return _Text(value, blank=is_blank(value))


def _has_content(raw: msgspec.Raw) -> bool:
    """The first candidate has something that is no text: a call, an image, code, or what a newer API has."""
    candidates = without_nulls(msgspec.json.decode(raw)).get("candidates") or [{}]
    parts = (candidates[0].get("content") or {}).get("parts") or []
    return any(
        name not in _NO_ANSWER and _is_something(value)
        for part in parts
        if not part.get("thought")
        for name, value in part.items()
    )


def _is_something(value: object) -> bool:
    """``inlineData`` may say a type and hold no data."""
    if isinstance(value, dict):
        return any(_is_something(one) for name, one in value.items() if name not in ("mimeType", "displayName"))
    return value not in ("", [], None)


def _usage(metadata: _UsageMetadata | None) -> Usage | None:
    """The tokens of an answer, None if the API reported none, or what cannot be a number of them."""
    if metadata is None:
        return None
    counts = (
        metadata.prompt_token_count + metadata.tool_use_prompt_token_count,
        metadata.cached_content_token_count,
        metadata.candidates_token_count,
        metadata.thoughts_token_count,
        sum(part.token_count for part in metadata.prompt_tokens_details if part.modality == "AUDIO"),
    )
    return Usage(*counts) if min(counts) >= 0 and max(counts) < _MOST else None
