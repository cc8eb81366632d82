"""OpenAI's batch rows as Gemini's: ``{"custom_id", "method", "url", "body"}`` of chat completions.

What has no counterpart is refused by name. Nothing is dropped silently but the model's name, as a batch job has
one model for all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider_batch.rows.dialect import BadRowError

_CONFIG = {
    "temperature": "temperature",
    "top_p": "topP",
    "n": "candidateCount",
    "seed": "seed",
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_LEFT_OUT = frozenset({"model", "messages", "stop", "response_format", "user", "store", "metadata"})
"""Read elsewhere, or about OpenAI's own bookkeeping."""


NAME_OF_KEY = b'"custom_id"'
"""In each row of that format, as bytes."""


def is_openai(row: Mapping[str, object]) -> bool:
    """Whether a row is in OpenAI's batch format: no row of the Gemini API has a ``custom_id`` and a ``body``."""
    return "custom_id" in row and "body" in row and "request" not in row


def converted(row: Mapping[str, object]) -> dict[str, object]:
    """The row in Gemini's form.

    :raises BadRowError: It is not a chat completion, or asks for something that has no counterpart.
    """
    key = row.get("custom_id")
    named = key if isinstance(key, str) else None
    body = row.get("body")
    if not isinstance(body, Mapping) or not isinstance(body.get("messages"), list):
        raise BadRowError("AGB-I15", 'not a chat completion in OpenAI\'s batch format (no "body.messages")', named)
    unknown = sorted(set(body) - _LEFT_OUT - set(_CONFIG))
    if unknown:
        raise BadRowError("AGB-I15", f"body.{ascii(unknown[0])[1:-1][:40]} has no counterpart", named)
    request: dict[str, object] = {"contents": []}
    for message in body["messages"]:
        _add_message(request, message, named)
    if config := _config(body, named):
        request["generationConfig"] = config
    return {"key": key, "request": request}


def _add_message(request: dict[str, Any], message: Any, key: str | None) -> None:
    role = message.get("role") if isinstance(message, Mapping) else None
    if role in ("system", "developer"):
        system = request.setdefault("systemInstruction", {"parts": []})
        system["parts"].extend(_parts(message.get("content"), key))
    elif role in ("user", "assistant"):
        if set(message) - {"role", "content", "name"}:
            raise BadRowError("AGB-I15", "messages with tool calls are not converted", key)
        turn = "user" if role == "user" else "model"
        request["contents"].append({"role": turn, "parts": _parts(message.get("content"), key)})
    else:
        raise BadRowError("AGB-I15", f"messages of role {ascii(role)[:40]} are not converted", key)


def _parts(content: object, key: str | None) -> list[dict[str, object]]:
    if isinstance(content, str):
        return [{"text": content}]
    if not isinstance(content, Sequence):
        raise BadRowError("AGB-I16", "a message has no content", key)
    return [_part(part, key) for part in content]


def _part(part: Any, key: str | None) -> dict[str, object]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"text": part["text"]}
    image = part.get("image_url") if kind == "image_url" else None
    url = image.get("url") if isinstance(image, Mapping) else None
    if isinstance(url, str) and url.startswith("data:") and ";base64," in url:
        mime, _, data = url[5:].partition(";base64,")
        return {"inlineData": {"mimeType": mime, "data": data}}
    raise BadRowError(
        "AGB-I15", f"content of type {ascii(kind)[:40]} is not converted (text and data: images are)", key
    )


def _config(body: Mapping[str, object], key: str | None) -> dict[str, object]:
    config = {_CONFIG[name]: value for name, value in body.items() if name in _CONFIG and value is not None}
    if (stop := body.get("stop")) is not None:
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    if kind in ("json_object", "json_schema"):
        config["responseMimeType"] = "application/json"
    if kind == "json_schema" and isinstance(wanted, Mapping):
        schema = wanted.get("json_schema")
        config["responseJsonSchema"] = schema.get("schema") if isinstance(schema, Mapping) else None
    elif kind not in (None, "text", "json_object"):
        raise BadRowError("AGB-I15", f"response_format {ascii(kind)[:40]} is not converted", key)
    return config
