"""Models: list, get, countTokens."""

from __future__ import annotations

from typing import NamedTuple

from starlette.responses import Response

from airflow_provider_batch.emulator.answers.texts import prompt_tokens
from airflow_provider_batch.emulator.state.records import Kind
from airflow_provider_batch.emulator.wire.context import Call, number, page_size, reply
from airflow_provider_batch.emulator.wire.errors import invalid, not_found
from airflow_provider_batch.emulator.wire.json import field

_GENERATION = ["generateContent", "countTokens", "createCachedContent", "batchGenerateContent"]
_EMBEDDING = ["embedContent", "countTextTokens", "countTokens", "asyncBatchEmbedContent"]


class _Model(NamedTuple):
    name: str
    version: str
    input_tokens: int
    output_tokens: int
    embeds: bool = False
    flex: bool = True


# The models of the public price list of November 2026. The token limits are round figures. Models without flex are
# not on the guide's page of flex inference (2026-05-13). They are no newer than the models on it.
_MODELS = [
    _Model("gemini-4-argon", "4", 1_048_576, 65_536),
    _Model("gemini-3.8-flash", "3.8", 1_048_576, 65_536),
    _Model("gemini-3.7-flash", "3.7", 1_048_576, 65_536),
    _Model("gemini-3.6-flash", "3.6", 1_048_576, 65_536),
    _Model("gemini-3.5-flash", "3.5", 1_048_576, 65_536),
    _Model("gemini-3.5-flash-lite", "3.5", 1_048_576, 65_536),
    _Model("gemini-3.1-pro-preview", "3.1", 1_048_576, 65_536),
    _Model("gemini-3.1-flash-lite", "3.1", 1_048_576, 65_536),
    _Model("gemini-3-pro-preview", "3", 1_048_576, 65_536, flex=False),
    _Model("gemini-3-flash-preview", "3", 1_048_576, 65_536),
    _Model("gemini-2.5-pro", "2.5", 1_048_576, 65_536),
    _Model("gemini-2.5-flash", "2.5", 1_048_576, 65_536),
    _Model("gemini-2.5-flash-lite", "2.5", 1_048_576, 65_536),
    _Model("gemini-2.0-flash", "2.0", 1_048_576, 8_192, flex=False),
    _Model("gemini-3-pro-image-preview", "3", 65_536, 32_768),
    _Model("gemini-embedding-2", "2", 8_192, 1, embeds=True),
    _Model("gemini-embedding-001", "001", 2_048, 1, embeds=True),
]
_BY_NAME = {model.name: model for model in _MODELS}


def known_model(name: str, kind: Kind, method: str) -> str:
    """Check that a model exists and is of this kind.

    :param method: what it is asked to do, such as ``batchGenerateContent``.
    :raises ApiError: 404 in both cases, as the API words it.
    """
    model = _BY_NAME.get(name)
    if model is None or model.embeds != (kind == "embed"):
        raise not_found(
            f"models/{name} is not found for API version v1beta, or is not supported for {method}. "
            "Call ListModels to see the list of available models and their supported methods."
        )
    return name


def check_flex(name: str) -> None:
    """Check that a known model has the flex tier.

    :raises ApiError: 400. The wording is the emulator's, as no refusal was published.
    """
    if not _BY_NAME[name].flex:
        raise invalid(f"Service tier flex is not supported for models/{name}.")


async def list_models(call: Call) -> Response:
    """Return a page of models."""
    size = page_size(call, 50, 1000)
    start = number(call.request.query_params.get("pageToken") or "0")
    if start is None or start >= len(_MODELS):
        raise invalid("Invalid page token.")
    listed: dict[str, object] = {"models": [_model_json(model) for model in _MODELS[start : start + size]]}
    if start + size < len(_MODELS):
        listed["nextPageToken"] = str(start + size)
    return reply(listed)


async def get_model(call: Call) -> Response:
    """Return one model."""
    model = _BY_NAME.get(call.parameter("model"))
    if model is None:
        raise not_found(f"Model is not found: models/{call.parameter('model')} for api version v1beta")
    return reply(_model_json(model))


async def count_tokens(call: Call) -> Response:
    """Count the tokens of contents, or of a whole request."""
    if call.parameter("model") not in _BY_NAME:
        raise not_found(f"models/{call.parameter('model')} is not found for API version v1beta.")
    message = await call.json("CountTokensRequest")
    request = field(message, "generateContentRequest") or message
    if not field(request, "contents"):
        raise invalid("* CountTokensRequest.contents: contents is not specified")
    text_tokens, media_tokens = prompt_tokens(request)
    details = [{"modality": "TEXT", "tokenCount": text_tokens}]
    return reply({"totalTokens": text_tokens + media_tokens, "promptTokensDetails": details})


def _model_json(model: _Model) -> dict[str, object]:
    return {
        "name": f"models/{model.name}",
        "baseModelId": model.name,
        "version": model.version,
        "displayName": model.name.replace("-", " ").title(),
        "inputTokenLimit": model.input_tokens,
        "outputTokenLimit": model.output_tokens,
        "supportedGenerationMethods": _EMBEDDING if model.embeds else _GENERATION,
    }
