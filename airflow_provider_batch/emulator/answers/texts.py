"""The answer to a request: a pure function, the same for the same request every time.

No model is asked. The text repeats the start of the prompt, so that a reader sees which prompt was answered. A
response schema is honoured. A token has four characters, or one that stands for a word or a syllable.
"""

from __future__ import annotations

import bisect
import hashlib
import importlib
import math
import re
from collections.abc import Callable, Iterator

import msgspec

from airflow_provider_batch.emulator.answers.instances import instance_of
from airflow_provider_batch.emulator.wire.json import Message, field, repeated

AnswerFunction = Callable[[Message, "str | None"], "str | Message"]

DEFAULT_DIMENSION = 3072

_ECHOED_CHARACTERS = 80
_CHARACTERS_PER_TOKEN = 4
# Han, kana, Hangul, Yi, full-width forms and emoji: about one token each.
_WHOLE_TOKEN = re.compile(
    "[\u1100-\u115f\u2600-\u27bf\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uffef"
    "\U00016fe0-\U00018fff\U0001aff0-\U0001b2ff\U0001f000-\U0001faff\U00020000-\U0003ffff]"
)
# An image or another media file counts as a flat number, like the API's 258 tokens per image tile.
_TOKENS_PER_MEDIA = 258
_THOUGHT_TOKENS = 64
_FILE_ADDRESS = re.compile(r"/(?:\w+/)?files/([a-z0-9-]{1,40})$")


def load_answer_function(reference: str) -> AnswerFunction:
    """Import ``package.module:function``.

    :raises ValueError: the reference has no colon, or names nothing callable.
    """
    module_name, separator, function_name = reference.partition(":")
    if not separator:
        raise ValueError(f"{reference!r} is not of the form package.module:function")
    function = getattr(importlib.import_module(module_name), function_name, None)
    if not callable(function):
        raise ValueError(f"{reference!r} names no function")
    answer: AnswerFunction = function
    return answer


def answer_row(
    request: Message, key: str | None, model: str, function: AnswerFunction | None
) -> dict[str, object]:
    """Answer one generation request: ``{"response": ...}`` or ``{"error": ...}``.

    :param function: the user's own. What it raises becomes the error of this row alone.
    """
    if function is None:
        return {"response": generated(request, model)}
    try:
        given = function(request, key)
    except Exception as problem:  # noqa: BLE001 - a user's function must not end the whole batch
        return {"error": {"code": 13, "message": f"{type(problem).__name__}: {problem}"}}
    if isinstance(given, str):
        return {"response": generated(request, model, given)}
    if "error" in given:
        return {"error": given["error"]}
    return {"response": given}


def generated(request: Message, model: str, text: str | None = None) -> dict[str, object]:
    """Build a GenerateContentResponse.

    :param text: what the model says. The default follows from the prompt and the schema.
    """
    config = field(request, "generationConfig", {})
    if text is None:
        text = _default_text(request, config)
    limit = field(config, "maxOutputTokens")
    truncated = limit is not None and tokens_in(text) > int(limit)
    if truncated:
        text = _first_tokens(text, int(limit))
    content = {"parts": [{"text": text}], "role": "model"}
    return {
        "candidates": [
            {"content": content, "finishReason": "MAX_TOKENS" if truncated else "STOP", "index": 0},
        ],
        "usageMetadata": _usage(request, config, tokens_in(text)),
        "modelVersion": model.removeprefix("models/"),
        "responseId": request_digest(request),
    }


def embedded(request: Message, model: str) -> dict[str, object]:
    """Build an EmbedContentResponse: a unit vector that depends on the content alone, and the count of its tokens.

    The count stands where it was seen for the model. For gemini-embedding-001 that is ``tokenCount`` in a row that
    Google's cookbook shows, an int64 and so a string. Since gemini-embedding-2 it is ``usageMetadata`` (bifrost
    pull request 7295). The published document has neither.
    """
    dimension = int(field(request, "outputDimensionality", DEFAULT_DIMENSION))
    raw = hashlib.shake_256(msgspec.json.encode(field(request, "content"), order="sorted")).digest(dimension * 2)
    centred = [int.from_bytes(raw[at : at + 2], "big") - 32767.5 for at in range(0, len(raw), 2)]
    norm = math.sqrt(sum(value * value for value in centred))
    answer = {"embedding": {"values": [round(value / norm, 8) for value in centred]}}
    tokens = sum(prompt_tokens(request))
    if model.endswith("embedding-001"):
        return {**answer, "tokenCount": str(tokens)}
    return {**answer, "usageMetadata": {"promptTokenCount": tokens, "promptTokenDetails": _token_details(request)}}


def request_digest(request: Message) -> str:
    """Return 22 hexadecimal digits that are the same for the same request only."""
    return hashlib.sha256(msgspec.json.encode(request, order="sorted")).hexdigest()[:22]


def prompt_tokens(request: Message) -> tuple[int, int]:
    """Count the tokens of a request's contents and system instruction: text and media."""
    parts = [part for content in _contents(request) for part in repeated(content, "parts")]
    media = sum(1 for part in parts if field(part, "inlineData") or field(part, "fileData"))
    text_tokens = sum(tokens_in(part["text"]) for part in parts if part.get("text"))
    return text_tokens, media * _TOKENS_PER_MEDIA


def files_in(request: Message) -> Iterator[str]:
    """Yield the ids of the uploaded files that a request's parts refer to. Other addresses are not looked at."""
    for content in _contents(request):
        for part in repeated(content, "parts"):
            address = field(field(part, "fileData") or {}, "fileUri", "")
            if found := _FILE_ADDRESS.search(address):
                yield found[1]


def tokens_in(text: str) -> int:
    """Return a plausible count: one for each whole-token character, and four of all others a token, rounded up."""
    whole = 0 if text.isascii() else len(_WHOLE_TOKEN.findall(text))
    return whole - (whole - len(text)) // _CHARACTERS_PER_TOKEN


def _first_tokens(text: str, limit: int) -> str:
    """Cut a text so that it has no more tokens than the limit."""
    sizes = range(1, len(text) + 1)
    return text[: bisect.bisect_right(sizes, limit, key=lambda size: tokens_in(text[:size]))]


def _default_text(request: Message, config: Message) -> str:
    echo = f"Answer to: {_prompt_start(request)}"
    schema = (
        field(config, "responseJsonSchema") or field(config, "responseSchema") or config.get("_responseJsonSchema")
    )
    if schema is not None:
        return msgspec.json.encode(instance_of(schema, echo)).decode()
    if field(config, "responseMimeType") == "application/json":
        return msgspec.json.encode({"answer": echo}).decode()
    return echo


def _prompt_start(request: Message) -> str:
    last = repeated(request, "contents")[-1]
    text = " ".join(part["text"] for part in repeated(last, "parts") if part.get("text"))
    return text[:_ECHOED_CHARACTERS]


def _contents(request: Message) -> list[dict[str, object]]:
    found = list(repeated(request, "contents"))
    for name in ("systemInstruction", "content"):
        if field(request, name):
            found.append(field(request, name))
    return found


def _usage(request: Message, config: Message, answer_tokens: int) -> dict[str, object]:
    thoughts = _thought_tokens(config)
    prompt = sum(prompt_tokens(request))
    usage: dict[str, object] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": answer_tokens,
        "totalTokenCount": prompt + answer_tokens + thoughts,
        "promptTokensDetails": _token_details(request),
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    return usage


def _token_details(request: Message) -> list[dict[str, object]]:
    text_tokens, media_tokens = prompt_tokens(request)
    details = [{"modality": "TEXT", "tokenCount": text_tokens}]
    if media_tokens:
        details.append({"modality": "IMAGE", "tokenCount": media_tokens})
    return details


def _thought_tokens(config: Message) -> int:
    thinking = field(config, "thinkingConfig")
    if not isinstance(thinking, dict):
        return 0
    budget = int(field(thinking, "thinkingBudget", _THOUGHT_TOKENS))
    # A negative budget leaves the amount to the model.
    return _THOUGHT_TOKENS if budget < 0 else min(budget, _THOUGHT_TOKENS)
