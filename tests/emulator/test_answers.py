"""The built-in answers: deterministic, with plausible tokens, and valid for a response schema."""

from __future__ import annotations

import json
import math
from typing import Any

import jsonschema
import pytest

from airflow_provider_batch.emulator.answers.texts import embedded, generated, load_answer_function, tokens_in

EMBEDDER = "models/gemini-embedding-001"


def request(text: str = "hello", **config: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": config}


def text_of(response: dict[str, Any]) -> str:
    text: str = response["candidates"][0]["content"]["parts"][0]["text"]
    return text


def test_same_request_gets_the_same_answer() -> None:
    assert generated(request(), "models/m") == generated(request(), "models/m")
    assert generated(request("other"), "models/m") != generated(request(), "models/m")


def test_answer_repeats_the_start_of_the_prompt() -> None:
    assert text_of(generated(request("Why is the sky blue?"), "m")) == "Answer to: Why is the sky blue?"
    assert len(text_of(generated(request("x" * 1000), "m"))) < 100


def test_tokens_are_counted_and_add_up() -> None:
    usage = generated(request("x" * 40, thinkingConfig={"thinkingBudget": 10}), "m")["usageMetadata"]

    assert (usage["promptTokenCount"], usage["thoughtsTokenCount"]) == (10, 10)
    assert usage["totalTokenCount"] == 10 + 10 + usage["candidatesTokenCount"]


def test_answer_over_the_output_limit_is_truncated() -> None:
    response = generated(request(max_output_tokens=2), "m")

    assert text_of(response) == "Answer t"
    assert response["candidates"][0]["finishReason"] == "MAX_TOKENS"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a", 1),
        ("twelve chars", 3),
        ("größe größe", 3),
        ("日本語", 3),
        ("ひらがな", 4),
        ("カタカナ", 4),
        ("ｶﾀｶﾅ", 4),
        ("한국어", 3),
        ("你好，世界。", 6),
        ("Ｆｕｌｌ　ｗｉｄｔｈ", 10),
        ("𠮷野家", 3),
        ("😀🎉", 2),
        ("☀️", 2),
        ("東京 is Tokyo", 5),
        ("日本語" * 1_000 + "abcd" * 1_000, 4_000),
    ],
)
def test_a_character_of_cjk_text_is_one_token(text: str, tokens: int) -> None:
    assert tokens_in(text) == tokens
    assert generated(request(text), "m")["usageMetadata"]["promptTokenCount"] == tokens


@pytest.mark.parametrize("text", ["日本語のとても長い答え", "abc日本語", "日abcdefgh", "😀 smile"])
@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_truncated_answer_has_no_more_tokens_than_the_limit(text: str, limit: int) -> None:
    response = generated(request(maxOutputTokens=limit), "m", text)

    counted = response["usageMetadata"]["candidatesTokenCount"]
    assert counted <= limit
    assert counted == min(limit, tokens_in(text))
    assert text.startswith(text_of(response))


SCHEMAS: dict[str, dict[str, Any]] = {
    "object": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "n": {"type": "integer"}},
        "required": ["a"],
    },
    "enum": {"type": "string", "enum": ["red", "green"]},
    "array": {"type": "array", "items": {"type": "number", "minimum": 3, "maximum": 4}, "minItems": 2},
    "tuple": {"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "string"}], "items": False},
    "limits": {"type": "string", "minLength": 30, "maxLength": 31},
    "any of": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "nullable": {"type": ["null", "string"]},
    "reference": {
        "$ref": "#/$defs/P",
        "$defs": {"P": {"type": "object", "properties": {"x": {"type": "integer"}}}},
    },
    "recursive": {
        "$ref": "#/$defs/N",
        "$defs": {
            "N": {
                "type": "object",
                "properties": {"next": {"$ref": "#/$defs/N"}, "v": {"const": 1}},
                "required": ["v"],
            }
        },
    },
    "all of": {"allOf": [{"type": "object"}, {"properties": {"z": {"type": "boolean"}}, "required": ["z"]}]},
    "exclusive": {"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6, "multipleOf": 5},
    "date": {"type": "string", "format": "date"},
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_answer_is_valid_for_a_json_schema(schema: dict[str, Any]) -> None:
    response = generated(request(responseMimeType="application/json", responseJsonSchema=schema), "m")

    jsonschema.validate(json.loads(text_of(response)), schema)


def test_answer_follows_a_schema_of_the_older_dialect() -> None:
    label = {"type": "STRING", "enum": ["bug", "idea"]}
    properties = {"label": label, "tags": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "2"}}
    schema = {"type": "OBJECT", "properties": properties, "propertyOrdering": ["tags", "label"]}

    answer = json.loads(text_of(generated(request("t", response_schema=schema), "m")))

    assert answer == {"tags": ["Answer to: t", "Answer to: t"], "label": "bug"}
    assert list(answer) == ["tags", "label"]


def test_json_without_a_schema_is_a_small_object() -> None:
    answer = generated(request("t", responseMimeType="application/json"), "m")

    assert json.loads(text_of(answer)) == {"answer": "Answer to: t"}


@pytest.mark.parametrize(
    ("wanted", "length"), [({}, 3072), ({"output_dimensionality": 64}, 64)], ids=["default", "64"]
)
def test_embedding_is_a_stable_unit_vector(wanted: dict[str, Any], length: int) -> None:
    content = {"content": {"parts": [{"text": "x"}]}, **wanted}

    values = embedded(content, EMBEDDER)["embedding"]["values"]

    assert len(values) == length
    assert math.isclose(sum(value * value for value in values), 1, rel_tol=1e-4)
    assert embedded(content, EMBEDDER)["embedding"]["values"] == values


def test_token_count_of_an_embedding_stands_where_its_model_has_it() -> None:
    content = {
        "content": {"parts": [{"text": "x" * 40}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}]}
    }

    first, second = (embedded(content, f"models/gemini-embedding-{model}") for model in ("001", "2"))

    assert (first["tokenCount"], "usageMetadata" in first) == ("268", False)
    details = [{"modality": "TEXT", "tokenCount": 10}, {"modality": "IMAGE", "tokenCount": 258}]
    assert second["usageMetadata"] == {"promptTokenCount": 268, "promptTokenDetails": details}


@pytest.mark.parametrize("reference", ["json", "json:none"], ids=["no colon", "no such function"])
def test_reference_to_no_function_is_refused(reference: str) -> None:
    with pytest.raises(ValueError, match=r"json"):
        load_answer_function(reference)
