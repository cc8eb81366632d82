"""Rows between common-ai's words and the API's: prompts to request lines, result lines to items."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Literal

import msgspec
from airflow.providers.common.ai.batch.base import BatchRequest, RawResultItem
from airflow.providers.common.ai.batch.output_schema import OutputSpec
from airflow.providers.common.ai.exceptions import LLMBatchInputError, LLMBatchOutputTypeError

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.requests import laid_over
from airflow_provider_batch.gemini.rows.schema import response_schema
from airflow_provider_batch.rows.check.staging import encode_row
from airflow_provider_batch.rows.dialect import BadRowError, LandedRow, RowStatus, Usage
from airflow_provider_batch.rows.read.lines import read_lines

log = logging.getLogger(__name__)

_RowStatus = Literal["success", "errored", "expired", "cancelled"]
_STATUSES: dict[RowStatus, _RowStatus] = {
    RowStatus.SUCCESS: "success",
    RowStatus.CANCELLED: "cancelled",
    RowStatus.EXPIRED: "expired",
}


def output_fields(spec: OutputSpec) -> dict[str, object]:
    """The fields of ``generationConfig`` that ask for answers of an output type.

    :raises LLMBatchOutputTypeError: The API cannot express it. Names the place.
    """
    if not spec.is_structured:
        return {}
    schema = spec.json_schema
    if spec.wrapped:
        # The definitions were wrapped with the rest, and the references to them lead to the root.
        inner = dict(schema["properties"]["response"])
        schema = {**schema, "$defs": inner.pop("$defs", {}), "properties": {"response": inner}}
    try:
        return {"responseMimeType": "application/json", "responseSchema": response_schema(schema)}
    except ConfigError as error:
        raise LLMBatchOutputTypeError(str(error)) from None


def request_lines(
    requests: list[BatchRequest],
    *,
    model: str,
    idempotency_key: str,
    output_spec: OutputSpec,
    system_prompt: str = "",
    max_tokens: int = 1024,
    request_params: Mapping[str, object] | None = None,
    **_: object,
) -> Iterator[bytes]:
    """Checked request lines, without their line breaks.

    What the operator manages is laid over ``params`` of the request, and those over ``request_params``.

    :raises LLMBatchInputError: The API would refuse a request, or read it otherwise than it was meant.
    """
    output = output_fields(output_spec)
    dialect = GeminiRows(model.removeprefix("models/"))
    for index, request in enumerate(requests):
        system = request.get("system_prompt") or system_prompt
        managed: dict[str, object] = {
            "contents": [{"role": "user", "parts": [{"text": request["prompt"]}]}],
            "generationConfig": {"maxOutputTokens": request.get("max_tokens") or max_tokens, **output},
            **({"systemInstruction": {"parts": [{"text": system}]}} if system else {}),
        }
        given = laid_over(request_params or {}, request.get("params") or {})
        key = f"{idempotency_key}-{index}"
        try:
            line = encode_row({"key": key, "request": laid_over(given, managed)}, key)
            dialect.check_request(line)
        except BadRowError as bad:
            raise LLMBatchInputError(f"Request {index}: {bad.what} ({bad.code}). Nothing was sent.") from None
        yield line


def result_items(lines: BinaryIO, batch_id: str) -> Iterator[RawResultItem]:
    """The items of a file of result lines, which is closed at the end. What answers no request is left out."""
    dialect = GeminiRows()
    with lines:
        for number, data in read_lines(lines):
            try:
                yield _item(dialect.read_result(data or b""))
            except (BadRowError, ValueError) as error:
                # The same line would come on every retry. Its request counts as missing.
                log.warning("Result line %d of %s belongs to no request: %s", number, batch_id, error)


def _item(row: LandedRow) -> RawResultItem:
    """:raises ValueError: Not a key of ours, or a text that is none."""
    status: _RowStatus = _STATUSES.get(row.status, "errored")
    text = msgspec.json.decode(row.text, type=str | None)
    error: dict[str, object] | None = None
    if status != "success":
        failed = row.status is RowStatus.ERROR
        error = {
            "type": "provider_error" if failed else row.status.value,
            "message": row.error.message if row.error else "",
            "provider_code": (str(row.error.code) if row.error and row.error.code else row.finish_reason),
            "stage": "provider",
            **({"partial_output": text} if text else {}),
        }
    return RawResultItem(
        custom_id=row.key,
        index=int(row.key.rpartition("-")[2]),
        provider_status=status,
        model=_model(row.response),
        usage=_usage(row.usage),
        finish_reason=row.finish_reason,
        error=error,
        raw=text,
    )


class _Answer(msgspec.Struct, rename="camel"):
    model_version: str | None = None


def _model(response: msgspec.Raw) -> str | None:
    try:
        return (msgspec.json.decode(response, type=_Answer | None) or _Answer()).model_version
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _usage(usage: Usage | None) -> dict[str, int] | None:
    """Tokens by common-ai's names. Thinking is billed as output, so it is a part of it here."""
    if usage is None:
        return None
    parts = {"cached_tokens": usage.cached, "thinking_tokens": usage.thinking}
    return {
        "input_tokens": usage.input,
        "output_tokens": usage.output + usage.thinking,
        **{name: count for name, count in parts.items() if count},
    }
