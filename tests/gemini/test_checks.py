"""Requests that the API would refuse or read otherwise than meant are caught, with the right place named."""

import json
import random

import pytest

from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.embeddings import EmbeddingRows
from airflow_provider_batch.rows.dialect import BadRowError

TEXT = {"parts": [{"text": "hi"}]}
MODEL = "gemini-2.5-flash"
JSON = "application/json"


def check(row, **settings):
    return GeminiRows(MODEL, **settings).check_request(json.dumps(row).encode())


def row(**request):
    return {"key": "a", "request": {"contents": [TEXT], **request}}


def config(**fields):
    return row(generationConfig=fields)


def content(*parts, **more):
    return row(contents=[{"parts": list(parts), **more}])


def beside(**fields):
    return row() | fields


CONFIG = "request.generationConfig"

MISPLACED = [
    # python-genai issue 1608: a config beside the request was silently ignored.
    ("config beside the request", beside(config={}), f'"config" beside "request". Did you mean {CONFIG}?'),
    ("generationConfig beside it", beside(generationConfig={}), f"Did you mean {CONFIG}?"),
    ("generation_config beside it", beside(generation_config={}), f"Did you mean {CONFIG}?"),
    ("temperature beside it", beside(temperature=0), f"Did you mean {CONFIG}.temperature?"),
    ("system text beside it", beside(system_instruction="x"), "Did you mean request.systemInstruction?"),
    ("contents beside it", beside(contents=[]), "Did you mean request.contents?"),
    ("tools beside it", beside(tools=[]), "Did you mean request.tools?"),
    ("a schema beside it", beside(response_schema={}), f"Did you mean {CONFIG}.responseSchema?"),
    ("OpenAI's body", {"key": "a", "body": {}}, 'its rows have "custom_id", "body", no "request"'),
    # inspect_ai issue 3257: thinking_config at the top of the request.
    ("flat thinking_config", row(thinking_config={}), f"Did you mean {CONFIG}.thinkingConfig?"),
    ("flat temperature", row(temperature=0), f"Did you mean {CONFIG}.temperature?"),
    ("flat maxOutputTokens", row(maxOutputTokens=5), f"Did you mean {CONFIG}.maxOutputTokens?"),
    ("flat max_tokens", row(max_tokens=5), f"Did you mean {CONFIG}.maxOutputTokens?"),
    ("flat responseMimeType", row(responseMimeType="x"), f"Did you mean {CONFIG}.responseMimeType?"),
    ("the client's config", row(config={}), f'"config" in request. Did you mean {CONFIG}?'),
    ("messages", row(messages=[]), "Did you mean request.contents?"),
    ("system", row(system="x"), "Did you mean request.systemInstruction?"),
    ("a typing error", row(safetySetings=[]), "Did you mean safetySettings?"),
    ("system text in the config", config(systemInstruction=TEXT), "Did you mean request.systemInstruction?"),
    ("tools in the config", config(tools=[]), "Did you mean request.tools?"),
    ("safety in the config", config(safety_settings=[]), "Did you mean request.safetySettings?"),
    ("flat thinkingBudget", config(thinkingBudget=0), f"Did you mean {CONFIG}.thinkingConfig.thinkingBudget?"),
    ("flat thinking_level", config(thinking_level="low"), f"Did you mean {CONFIG}.thinkingConfig.thinkingLevel?"),
    ("max_tokens in the config", config(max_tokens=5), "Did you mean request.generationConfig.maxOutputTokens?"),
    ("stop", config(stop=["x"]), f"Did you mean {CONFIG}.stopSequences?"),
    (
        "a field nobody knows",
        row(quux=1),
        'unknown field "quux" in request. Remove it, or set allow_unknown_fields',
    ),
    (
        "an OpenAI part",
        content({"type": "text", "text": "x"}),
        'unknown field "type" in request.contents[0].parts[0]',
    ),
    ("a message's content", row(contents=[{"content": "x"}]), 'unknown field "content" in request.contents[0]'),
]


@pytest.mark.parametrize(("bad", "words"), [c[1:] for c in MISPLACED], ids=[c[0] for c in MISPLACED])
def test_a_field_in_the_wrong_place_is_named_with_the_right_one(bad, words):  # I15
    with pytest.raises(BadRowError) as caught:
        check(bad)
    assert (caught.value.code, caught.value.key) == ("AGB-I15", "a")
    assert words in caught.value.what


WRONG = [
    ("no request", {"key": "a"}, "AGB-I15", '"request" is missing'),
    ("a text as request", {"key": "a", "request": "hi"}, "AGB-I15", "must be an object, got string"),
    # inspect_ai issue 5100: system text as a list fails every row.
    (
        "system text as a list",
        row(systemInstruction=["x"]),
        "AGB-I15",
        'must be {"parts": [{"text": ...}]}, got array',
    ),
    ("system text as a string", row(systemInstruction="x"), "AGB-I15", "got string"),
    (
        "contents as a string",
        row(contents="hi"),
        "AGB-I16",
        "must be a list with at least one content, got string",
    ),
    ("contents as an object", row(contents=TEXT), "AGB-I16", "got object"),
    ("no contents", row(contents=[]), "AGB-I16", "at least one content"),
    ("content as a string", row(contents=["hi"]), "AGB-I16", "request.contents[0] must be"),
    ("no parts", row(contents=[{"parts": []}]), "AGB-I16", "request.contents[0] needs parts"),
    ("parts left out", row(contents=[TEXT, {"role": "user"}]), "AGB-I16", "request.contents[1] needs parts"),
    ("a part as a string", content("hi"), "AGB-I16", 'Write {"text": ...}'),
    ("an empty part", content({}), "AGB-I16", "parts[0] has nothing in it"),
    ("only a signature", content({"thought": True}), "AGB-I16", "parts[0] has nothing in it"),
    ("an empty text", content({"text": ""}), "AGB-I16", "nothing but empty texts"),
    ("a number as text", content({"text": 5}), "AGB-I15", "parts[0].text must be a string, got number"),
    ("data without a type", content({"inlineData": {"data": "AA=="}}), "AGB-I16", "inlineData needs mimeType"),
    (
        "a file without address",
        content({"fileData": {"mimeType": "image/png"}}),
        "AGB-I16",
        "fileData needs fileUri",
    ),
    (
        "a bucket's address",
        content({"fileData": {"fileUri": "gs://b/cat.png"}}),
        "AGB-I18",
        "neither a file of the",
    ),
    (
        "an address without encryption",
        content({"fileData": {"fileUri": "http://x.org/a.png"}}),
        "AGB-I18",
        "Give the media folder to have files uploaded",
    ),
    ("OpenAI's role", content({"text": "x"}, role="assistant"), "AGB-I15", "Use model"),
    ("a system role", content({"text": "x"}, role="system"), "AGB-I15", "request.systemInstruction"),
    ("another model", row(model="models/gemini-2.5-pro"), "AGB-I17", "differs from the job's 'gemini-2.5-flash'"),
    ("a seed too large", config(seed=9223372036854775808), "AGB-I09", "seed=9223372036854775808 exceeds int32"),
    ("half a token", config(maxOutputTokens=0.5), "AGB-I15", "maxOutputTokens must be a whole number"),
    ("no token", config(maxOutputTokens=0), "AGB-I15", "maxOutputTokens must be at least 1, got 0"),
    ("a word as number", config(temperature="hot"), "AGB-I15", "temperature must be a number, got string"),
    ("too hot", config(temperature=3), "AGB-I15", "temperature must be 0 to 2, got 3"),
    ("a text as list", config(stopSequences="x"), "AGB-I15", "stopSequences must be a list, got string"),
    ("a config as list", row(generationConfig=[]), "AGB-I15", "generationConfig must be an object, got array"),
    ("two spellings", config(topK=1, top_k=2), "AGB-I10", "topK is given in two spellings"),
    (
        "a schema for plain text",
        config(responseSchema={"type": "OBJECT"}),
        "AGB-I15",
        'needs "responseMimeType": "application/json"',
    ),
    (
        "a JSON schema for plain text",
        config(response_json_schema={"type": "object"}, response_mime_type="text/plain"),
        "AGB-I15",
        'needs "responseMimeType": "application/json"',
    ),
    (
        "two schemas",
        config(responseSchema={}, responseJsonSchema={}, responseMimeType=JSON),
        "AGB-I15",
        "exclude each other",
    ),
    # python-genai issue 811: thinking eats maxOutputTokens.
    (
        "a cap below the thinking",
        config(maxOutputTokens=512, thinkingConfig={"thinkingBudget": 1024}),
        "AGB-I27",
        "nothing would be left for the answer",
    ),
]


@pytest.mark.parametrize(("bad", "code", "words"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_a_request_the_api_would_refuse_is_caught_before(bad, code, words):
    with pytest.raises(BadRowError) as caught:
        check(bad)
    assert (caught.value.code, caught.value.key) == (code, "a")
    assert words in caught.value.what


def test_a_field_that_only_a_newer_api_knows_can_be_let_through():
    assert check(row(quux=1), allow_unknown_fields=True).key == "a"
    with pytest.raises(BadRowError, match="Did you mean"):
        check(row(temperature=1), allow_unknown_fields=True)


GOOD = [
    row(),
    row(model=f"models/{MODEL}"),
    row(model=None, tools=None),
    {"key": "a", "metadata": {"x": 1}, "request": {"contents": [TEXT]}},
    row(system_instruction=TEXT, generation_config={"max_output_tokens": "200", "top_k": 40.0, "seed": -1}),
    config(temperature=0, topP=0.95, thinkingConfig={"thinkingBudget": 0}, maxOutputTokens=16),
    config(thinkingConfig={"thinkingBudget": -1, "includeThoughts": True}, maxOutputTokens=4096),
    config(responseMimeType="application/json", responseSchema={"type": "OBJECT", "anything": {"goes": 1}}),
    config(responseMimeType="text/x.enum", responseSchema={"type": "STRING", "enum": ["a", "b"]}),
    config(response_mime_type=JSON, response_json_schema={"type": "object"}),
    config(responseModalities=["TEXT", "IMAGE"], imageConfig={"aspectRatio": "1:1"}, speechConfig={}),
    row(contents=[TEXT | {"role": "user"}, TEXT | {"role": "model"}, TEXT | {"role": "user"}]),
    row(tools=[{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}]}], toolConfig={"x": 1}),
    row(safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
    row(cachedContent="cachedContents/abc"),
    content({"inlineData": {"mimeType": "image/png", "data": "AA=="}}),
    content({"inline_data": {"mime_type": "image/png", "data": "AA=="}}, {"text": ""}),
    content({"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc-1"}}),
    content({"fileData": {"fileUri": "https://www.youtube.com/watch?v=x"}, "videoMetadata": {"fps": 1}}),
    content({"text": "x", "thought": True, "thoughtSignature": "AA=="}),
    content({"functionCall": {"name": "f", "args": {"deep": [1, {"x": None}]}}}),
    content({"functionResponse": {"name": "f", "response": {}}}, role="user"),
    content({"text": 'Ünï \U0001f600 \u2028 \\u0000 \\ud800 "}]'}),
]


@pytest.mark.parametrize("good", GOOD, ids=range(len(GOOD)))
def test_a_good_row_passes(good):
    assert check(good).key == "a"


def test_a_thousand_good_rows_raise_no_false_alarm():
    chance = random.Random(5)
    for _ in range(1000):
        parts = [part for good in chance.sample(GOOD, 3) for part in good["request"]["contents"][0]["parts"]]
        fields = chance.choice(GOOD)["request"]
        line = json.dumps(row(**fields | {"contents": [{"parts": parts}]}), ensure_ascii=chance.random() < 0.5)
        assert GeminiRows(MODEL).check_request(line.encode()).key == "a"


def test_what_matters_for_the_cost_is_counted():
    asked = row(
        contents=[{"parts": [{"text": "größer"}, {"inlineData": {"mimeType": "image/png", "data": "A" * 999}}]}],
        systemInstruction={"parts": [{"text": "1234"}]},
        tools=[{"functionDeclarations": [{"name": "f"}]}],
        generationConfig={"maxOutputTokens": 2000, "responseMimeType": JSON, "responseSchema": {"type": "STRING"}},
    )
    found = check(asked)
    assert found.text_bytes == 8 + 4 + len("functionDeclarationsnamef") + len("typeSTRING")
    assert (found.media, found.max_output, found.files, found.caution) == (1, 2000, (), None)


def test_files_of_the_files_api_are_named():
    uri = "https://generativelanguage.googleapis.com/v1beta/files/abc-1"
    assert check(content({"fileData": {"fileUri": uri}})).files == ("files/abc-1",)


@pytest.mark.parametrize(
    ("model", "fields", "warned"),
    [
        ("gemini-2.5-pro", {"maxOutputTokens": 64}, True),
        ("gemini-3-flash-preview", {"maxOutputTokens": 64}, True),
        ("gemini-2.5-pro", {"maxOutputTokens": 4096}, False),
        ("gemini-2.5-pro", {}, False),
        ("gemini-2.5-flash", {"maxOutputTokens": 64, "thinkingConfig": {"thinkingBudget": 0}}, False),
        ("gemini-2.5-flash-lite", {"maxOutputTokens": 64}, False),
        ("gemini-2.0-flash", {"maxOutputTokens": 64}, False),
    ],
)
def test_a_cap_that_thinking_uses_up_is_worth_a_warning(model, fields, warned):
    found = GeminiRows(model).check_request(json.dumps(config(**fields)).encode())
    assert (found.caution is not None) is warned


EMBEDDINGS = [
    ({"content": TEXT, "taskType": "CLUSTERING", "output_dimensionality": 256}, None, None),
    ({"content": TEXT, "dimensions": 5}, "AGB-I15", "Did you mean request.outputDimensionality?"),
    ({"contents": [TEXT]}, "AGB-I15", "Did you mean request.content (one for each row"),
    ({"content": TEXT, "generationConfig": {}}, "AGB-I15", 'unknown field "generationConfig" in request'),
    ({"content": "x"}, "AGB-I16", "request.content must be"),
    ({}, "AGB-I16", "request.content must be"),
    ({"content": {"parts": [{"text": ""}]}}, "AGB-I16", "an empty text"),
    ({"content": TEXT, "outputDimensionality": 0}, "AGB-I15", "outputDimensionality must be at least 1"),
    ({"content": TEXT, "model": "models/other"}, "AGB-I17", "differs from the job's"),
]


@pytest.mark.parametrize(("request_", "code", "words"), EMBEDDINGS)
def test_requests_for_vectors_are_checked_alike(request_, code, words):
    line = json.dumps({"key": "a", "request": request_}).encode()
    if code is None:
        assert EmbeddingRows("gemini-embedding-001").check_request(line).key == "a"
        return
    with pytest.raises(BadRowError) as caught:
        EmbeddingRows("gemini-embedding-001").check_request(line)
    assert (caught.value.code, caught.value.key) == (code, "a")
    assert words in caught.value.what


@pytest.mark.parametrize(
    "uri",
    [
        "https://x.org/a.png",
        "https://x.org",
        "HTTPS://X.org/a.pdf?X-Amz-Signature=abc#page=2",
        "https://storage.googleapis.com/b/cat.png",
        "https://youtu.be/abc",
    ],
)
@pytest.mark.parametrize("with_files", [False, True])
def test_an_address_on_the_web_is_left_to_the_api(uri, with_files):
    line = content({"fileData": {"fileUri": uri, "mimeType": "image/png"}})
    row = check(line, with_files=with_files)
    assert (row.media, row.files, row.uploads) == (1, (), 0)


@pytest.mark.parametrize("uri", ["https://", "https:///a.png", "https:// x/a", "ftp://x.org/a.png", "cat.png"])
def test_what_is_no_address_on_the_web_is_refused(uri):
    with pytest.raises(BadRowError, match="neither a file of the Files API nor an https:// address"):
        check(content({"fileData": {"fileUri": uri}}))


@pytest.mark.parametrize("name", ["maxOutputTokens", "candidateCount", "topK", "seed"])
@pytest.mark.parametrize(
    "value", ["nan", "inf", "-Infinity", "1e999", "1_0", " 7 ", "", "x", True, False, [], {}, "7.5"]
)
def test_what_is_no_whole_number_ends_in_a_code(name, value):
    with pytest.raises(BadRowError, match=f"{name} must be") as caught:
        check(config(**{name: value}))
    assert (caught.value.code, caught.value.key) == ("AGB-I15", "a")


@pytest.mark.parametrize("value", [1024, 1024.0, "1024", "1024.0", "1.024e3"])
def test_a_whole_number_is_one_in_every_form_of_the_protocol(value):
    assert check(config(maxOutputTokens=value)).max_output == 1024


def test_true_is_not_one_where_the_row_before_said_one():
    rows = GeminiRows(MODEL)
    rows.check_request(json.dumps(config(candidateCount=1)).encode())
    with pytest.raises(BadRowError, match="candidateCount must be"):
        rows.check_request(json.dumps(config(candidateCount=True)).encode())


@pytest.mark.parametrize("value", ["nan", "Infinity", True, "0x1"])
def test_what_is_no_number_of_a_setting_ends_in_a_code(value):
    with pytest.raises(BadRowError, match="temperature must be a number"):
        check(config(temperature=value))
