"""Rows answered by a model of the user's own: any server with an OpenAI-compatible ``/chat/completions``.

A row whose request cannot be said in that language becomes an error of that row which names the field. Sampling
hints that the other side has no word for (``topK``, ``thinkingConfig``, ``safetySettings``) are left out.
"""

from __future__ import annotations

import random
import time

import httpx

from airflow_provider_batch.emulator.wire.json import Message, camel_case, field, repeated

TRIES = 5
MAX_WAIT_S = 30.0
TIMEOUT = httpx.Timeout(600.0, connect=10.0)

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_RPC_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 408: 4, 429: 8, 504: 4}
_UNAVAILABLE = 14
_INVALID = 3

_REQUEST_FIELDS = frozenset({"contents", "systemInstruction", "generationConfig", "model", "safetySettings"})
_IGNORED_CONFIG = frozenset({"topK", "thinkingConfig", "responseMimeType", "responseSchema", "responseJsonSchema"})
_CONFIG = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "candidateCount": "n",
}
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "tool_calls": "STOP"}


class CannotSayError(Exception):
    """A request with something for which a chat request has no word."""


class Upstream:
    """Answers rows by asking another server. Used from several threads at once.

    :param url: base URL such as ``http://127.0.0.1:11434/v1``.
    :param model: its name for the model.
    :param key: sent as a bearer token. Empty for a server without.
    """

    def __init__(self, url: str, model: str, key: str = "") -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT)
        self._model = model

    def __call__(self, request: Message, key: str | None) -> dict[str, object]:
        """Return the GenerateContentResponse, or ``{"error": ...}``."""
        try:
            body = {"model": self._model, **chat_request(request)}
        except CannotSayError as missing:
            return _error(_INVALID, f"The upstream cannot be asked this: {missing}")
        for attempt in range(1, TRIES + 1):
            answer = self._ask(body)
            if isinstance(answer, httpx.Response) and answer.status_code not in _PASSING:
                return _read(answer)
            if attempt < TRIES:
                time.sleep(_wait_s(attempt, answer))
        return _refused(answer)

    def _ask(self, body: dict[str, object]) -> httpx.Response | httpx.TransportError:
        try:
            return self._http.post("/chat/completions", json=body)
        except httpx.TransportError as problem:
            return problem


def chat_request(request: Message) -> dict[str, object]:
    """Say a GenerateContentRequest as a chat request.

    :raises CannotSayError: naming the field.
    """
    _refuse_others("", request, _REQUEST_FIELDS)
    messages: list[Message] = [{"role": "system", "content": _text(part)} for part in _system_parts(request)]
    for content in repeated(request, "contents"):
        role = "assistant" if content.get("role") == "model" else "user"
        messages.append({"role": role, "content": _content(repeated(content, "parts"))})
    config = field(request, "generationConfig", {})
    _refuse_others("generationConfig.", config, _CONFIG.keys() | _IGNORED_CONFIG)
    chat: dict[str, object] = {"messages": messages}
    for name, theirs in _CONFIG.items():
        value = field(config, name)
        if value is not None:
            chat[theirs] = value
    return chat | _response_format(config)


def _refuse_others(prefix: str, message: Message, known: frozenset[str] | set[str]) -> None:
    for name, value in message.items():
        if value is not None and camel_case(name) not in known:
            raise CannotSayError(f"{prefix}{name}")


def _system_parts(request: Message) -> list[dict[str, object]]:
    return repeated(field(request, "systemInstruction", {}), "parts")


def _content(parts: list[Message]) -> str | list[Message]:
    if all(set(part) == {"text"} for part in parts):
        return "".join(part["text"] for part in parts)
    return [_part(part) for part in parts]


def _part(part: Message) -> dict[str, object]:
    blob = field(part, "inlineData")
    if blob is None:
        return {"type": "text", "text": _text(part)}
    kind = str(field(blob, "mimeType", ""))
    if not kind.startswith("image/"):
        raise CannotSayError(f"inlineData of type {kind}")
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{blob.get('data', '')}"}}


def _text(part: Message) -> str:
    others = [name for name in part if name not in ("text", "thought")]
    if others:
        raise CannotSayError(f"parts.{others[0]}")
    return str(part.get("text", ""))


def _response_format(config: Message) -> dict[str, object]:
    schema = field(config, "responseJsonSchema")
    if schema is None and (older := field(config, "responseSchema")) is not None:
        schema = _json_schema(older)
    if schema is not None:
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}}
    if field(config, "responseMimeType") == "application/json":
        return {"response_format": {"type": "json_object"}}
    return {}


def _json_schema(schema: object) -> object:
    """The API's older dialect, whose types are words in capitals, as JSON Schema."""
    if isinstance(schema, list):
        return [_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: of.lower() if name == "type" and isinstance(of, str) else _json_schema(of)
        for name, of in schema.items()
    }


def _read(answer: httpx.Response) -> dict[str, object]:
    if not answer.is_success:
        return _refused(answer)
    try:
        reply = answer.json()
        choices = [_candidate(index, choice) for index, choice in enumerate(reply["choices"])]
    except (ValueError, KeyError, TypeError):
        return _error(13, "The upstream answered with something that is no chat completion.")
    return {
        "candidates": choices,
        "usageMetadata": _usage(reply.get("usage") or {}),
        "modelVersion": reply.get("model", ""),
    }


def _candidate(index: int, choice: Message) -> dict[str, object]:
    finish = _FINISH.get(str(choice.get("finish_reason")), "OTHER")
    text = choice["message"].get("content") or ""
    content = {"role": "model", "parts": [{"text": text}] if text else []}
    return {"content": content, "finishReason": finish, "index": index}


def _usage(usage: Message) -> dict[str, object]:
    thinking = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    counted = {
        "promptTokenCount": usage.get("prompt_tokens") or 0,
        "candidatesTokenCount": (usage.get("completion_tokens") or 0) - thinking,
        "thoughtsTokenCount": thinking,
        "cachedContentTokenCount": cached,
        "totalTokenCount": usage.get("total_tokens") or 0,
    }
    return {name: count for name, count in counted.items() if count}


def _refused(answer: httpx.Response | httpx.TransportError) -> dict[str, object]:
    if isinstance(answer, httpx.TransportError):
        return _error(_UNAVAILABLE, f"The upstream does not answer: {type(answer).__name__}")
    code = _RPC_CODES.get(answer.status_code, _UNAVAILABLE)
    return _error(code, f"The upstream answered {answer.status_code}: {answer.text[:300]}")


def _wait_s(attempt: int, answer: httpx.Response | httpx.TransportError) -> float:
    hint = answer.headers.get("retry-after", "") if isinstance(answer, httpx.Response) else ""
    longest = min(MAX_WAIT_S, 2.0 ** (attempt - 1))
    return min(MAX_WAIT_S, float(hint)) if hint.isdigit() else random.uniform(0.5, 1) * longest  # noqa: S311


def _error(code: int, message: str) -> dict[str, object]:
    return {"error": {"code": code, "message": message}}
