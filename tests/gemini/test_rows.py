"""How a line of a result file is classified: a response is not yet an answer."""

import json

import msgspec
import pytest

from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.rows.dialect import BadRowError, ResultRow, RowStatus, Usage


def read(**line):
    landed = GeminiRows().read_result(json.dumps(line).encode())
    return msgspec.json.decode(msgspec.json.encode(landed), type=ResultRow)


def response(parts=({"text": "hello"},), finish="STOP", **more):
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": finish}], **more}


def test_an_answer_is_a_success_with_text_and_reason():
    row = read(key="a", response=response())
    assert (row.key, row.status, row.text, row.finish_reason, row.error) == (
        "a",
        RowStatus.SUCCESS,
        "hello",
        "STOP",
        None,
    )


def test_tokens_are_read_with_thinking_apart():
    usage = {
        "promptTokenCount": 5,
        "candidatesTokenCount": 1373,
        "thoughtsTokenCount": 1582,
        "totalTokenCount": 2960,
        "cachedContentTokenCount": 2,
    }
    assert read(key="a", response=response(usageMetadata=usage)).usage == Usage(5, 2, 1373, 1582)


def test_tokens_written_as_strings_are_read_too():
    assert read(key="a", response=response(usageMetadata={"promptTokenCount": "5"})).usage == Usage(input=5)


def test_thoughts_are_left_out_of_the_text():
    parts = [{"text": "hmm", "thought": True}, {"text": "4"}, {"text": "2"}]
    assert read(key="a", response=response(parts)).text == "42"


NO_CONTENT = {
    "no parts": [],
    "a part with nothing": [{}],
    "a null part": [None],
    "a null text": [{"text": None}],
    "a thought only": [{"text": "hm", "thought": True}],
    "a signature only": [{"thoughtSignature": "AAAA"}],
    "a thought with a call in it": [{"thought": True, "functionCall": {"name": "f"}}],
    "an image without data": [{"inlineData": {"mimeType": "image/png", "data": ""}}],
    "an empty call": [{"functionCall": {}}],
}


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ({"error": {"code": 3, "message": "bad part"}}, RowStatus.ERROR, "bad part"),
        ({"error": {"code": 13}}, RowStatus.ERROR, ""),
        ({"error": {"status": "INTERNAL"}}, RowStatus.ERROR, "INTERNAL"),
        ({"error": {"code": 1}}, RowStatus.CANCELLED, ""),
        ({"response": {"promptFeedback": {"blockReason": "SAFETY"}}}, RowStatus.BLOCKED, "SAFETY"),
        ({"response": {}}, RowStatus.INVALID_OUTPUT, "no answer, and no reason given"),
        ({"response": {"candidates": []}}, RowStatus.INVALID_OUTPUT, "no answer"),
        ({"response": {"candidates": [None]}}, RowStatus.INVALID_OUTPUT, "no answer"),
        ({"response": {"promptFeedback": {"blockReason": None}}}, RowStatus.INVALID_OUTPUT, "no answer"),
        (
            {"response": {"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}}},
            RowStatus.INVALID_OUTPUT,
            "no answer",
        ),
        ({"response": response([], promptFeedback={"blockReason": "OTHER"})}, RowStatus.BLOCKED, "blocked: OTHER"),
        ({"response": response(finish="MALFORMED_FUNCTION_CALL")}, RowStatus.INVALID_OUTPUT, "MALFORMED_FUNCTION"),
        ({"response": response(finish="UNEXPECTED_TOOL_CALL")}, RowStatus.INVALID_OUTPUT, "UNEXPECTED_TOOL_CALL"),
        ({"response": response(finish="TOO_MANY_TOOL_CALLS")}, RowStatus.INVALID_OUTPUT, "TOO_MANY_TOOL_CALLS"),
        ({"response": response(finish="MALFORMED_RESPONSE")}, RowStatus.INVALID_OUTPUT, "MALFORMED_RESPONSE"),
        ({"response": response([], finish="NO_IMAGE")}, RowStatus.INVALID_OUTPUT, "NO_IMAGE"),
        ({"response": response(finish="MISSING_THOUGHT_SIGNATURE")}, RowStatus.ERROR, "the request cannot be"),
        ({"response": response(finish="CONTINUATION")}, RowStatus.TRUNCATED, "token limit"),
        ({"response": response(finish="RECITATION")}, RowStatus.BLOCKED, "RECITATION"),
        ({"response": response(finish="SOMETHING_NEW")}, RowStatus.BLOCKED, "SOMETHING_NEW"),
        ({"response": response(finish="MAX_TOKENS")}, RowStatus.TRUNCATED, "token limit"),
        (
            {"response": response([{"text": "hm", "thought": True}], finish="MAX_TOKENS")},
            RowStatus.TRUNCATED,
            "raise maxOutputTokens",
        ),
        *[
            ({"response": response(parts)}, RowStatus.INVALID_OUTPUT, "without an answer")
            for parts in NO_CONTENT.values()
        ],
        ({"response": {"candidates": "what"}}, RowStatus.ERROR, "unreadable response"),
        ({"response": response(), "error": {"code": 13}}, RowStatus.ERROR, ""),
    ],
    ids=[
        "error",
        "error without message",
        "error as status word",
        "cancelled",
        "blocked prompt",
        "nothing",
        "no candidates",
        "a null candidate",
        "a null reason",
        "no reason",
        "blocked with an empty candidate",
        "malformed call",
        "unexpected call",
        "too many calls",
        "malformed response",
        "no image",
        "a request without a signature",
        "to be continued",
        "held back",
        "unknown finish reason",
        "truncated",
        "thoughts only",
        *NO_CONTENT,
        "nonsense",
        "both response and error",
    ],
)
def test_what_is_no_usable_answer_has_its_status_and_reason(line, status, message):  # T22, T23
    row = read(key="a", **line)
    assert row.status is status
    assert message in row.error.message


def test_the_whole_response_is_kept_undecoded():
    sent = response(modelVersion="gemini-2.5-flash", aNewField=[1, {"b": None}])
    assert msgspec.json.decode(read(key="a", response=sent).response) == sent


@pytest.mark.parametrize(
    "part",
    [
        {"functionCall": {"name": "f"}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"fileData": {"fileUri": "https://example.com/a.png"}},
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"aNewKindOfPart": {"deep": [1]}},
    ],
    ids=lambda part: next(iter(part)),
)
@pytest.mark.parametrize(
    "before", [[], [{"text": ""}], [{"text": "hm", "thought": True}]], ids=["", "text", "thought"]
)
def test_content_that_is_no_text_is_a_success_without_text(part, before):
    row = read(key="a", response=response([*before, part | {"thoughtSignature": "AAAA"}]))
    assert (row.status, row.text) == (RowStatus.SUCCESS, None)


EVERYWHERE_NULL = {
    "candidates": [
        {
            "content": {
                "parts": [{"text": "hello", "thought": None, "thoughtSignature": None}, None],
                "role": None,
            },
            "finishReason": None,
            "safetyRatings": None,
        }
    ],
    "promptFeedback": {"blockReason": None, "safetyRatings": None},
    "usageMetadata": {
        "promptTokenCount": 5,
        "candidatesTokenCount": None,
        "thoughtsTokenCount": None,
        "promptTokensDetails": [{"modality": None, "tokenCount": None}, None],
    },
    "modelVersion": None,
    "tokenCount": None,
    "embedding": None,
}


def test_a_null_says_the_same_as_a_field_that_is_left_out():
    row = read(key="a", response=EVERYWHERE_NULL, error=None, status=None, metadata=None)
    assert (row.status, row.text, row.usage) == (RowStatus.SUCCESS, "hello", Usage(5))
    assert msgspec.json.decode(row.response) == EVERYWHERE_NULL


@pytest.mark.parametrize(
    "place",
    [
        ("candidates",),
        ("candidates", 0, "content"),
        ("candidates", 0, "content", "parts"),
        ("promptFeedback",),
        ("usageMetadata",),
        ("usageMetadata", "promptTokensDetails"),
    ],
    ids=str,
)
def test_a_null_object_or_list_says_the_same_as_one_left_out(place):
    said = json.loads(json.dumps(EVERYWHERE_NULL))
    *above, name = place
    node = said
    for step in above:
        node = node[step]
    node[name] = None
    row = read(key="a", response=said)
    assert row.status is (RowStatus.INVALID_OUTPUT if place[0] == "candidates" else RowStatus.SUCCESS)
    assert row.error is None or "unreadable" not in row.error.message


@pytest.mark.parametrize("count", ["many", {}, 2**63, -1, 1.5], ids=str)
def test_an_answer_is_not_lost_for_a_count_that_cannot_be_read(count):
    row = read(key="a", response=response(usageMetadata={"promptTokenCount": count}))
    assert (row.status, row.text, row.usage) == (RowStatus.SUCCESS, "hello", None)


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ({"status": {"code": 8, "message": "later"}}, 8, "later"),
        ({"status": {"code": 8, "message": "later"}, "response": {}}, 8, "later"),
        ({"status": "Bad Request: no such field", "response": {}}, 0, "Bad Request: no such field"),
        ({"status": {"code": None, "status": "UNAVAILABLE"}}, 14, "UNAVAILABLE"),
        ({"error": {"code": None, "message": None, "status": "INTERNAL"}}, 13, "INTERNAL"),
        ({"error": {"code": "13", "message": "x"}}, 13, "x"),
        ({"error": {"code": "RESOURCE_EXHAUSTED"}}, 8, "RESOURCE_EXHAUSTED"),
        ({"error": {"code": 10**30, "message": "x"}}, 0, "x"),
        ({"error": {"code": 3.0, "message": "x", "details": [None]}}, 3, "x"),
        ({"error": "it broke"}, 0, "it broke"),
        ({"error": ["it broke"]}, 0, "['it broke']"),
    ],
    ids=str,
)
def test_a_failure_is_understood_wherever_and_however_it_is_told(line, code, message):
    row = read(key="a", **line)
    assert (row.status, row.error.code, row.error.message) == (RowStatus.ERROR, code, message)


@pytest.mark.parametrize(
    "beside", [{"status": ""}, {"status": "OK"}, {"status": {}}, {"status": {"code": 0}}, {"error": {}}]
)
def test_an_answer_beside_a_status_of_no_failure_is_an_answer(beside):
    assert read(key="a", response=response(), **beside).status is RowStatus.SUCCESS


@pytest.mark.parametrize("line", [{"metadata": {"key": "a"}}, {"key": None, "metadata": {"key": "a", "n": 1}}])
def test_a_key_in_the_metadata_is_the_key_of_its_row(line):
    assert (read(response=response(), **line).key, read(error={"code": 3}, **line).key) == ("a", "a")


@pytest.mark.parametrize(
    ("text", "is_empty"), [("", True), (" \n\t", True), ("0", False), ("\u00a0x", False), (None, False)]
)
def test_a_success_with_nothing_but_white_space_is_told_as_empty(text, is_empty):
    parts = [{"functionCall": {"name": "f"}}] if text is None else [{"text": text}]
    row = GeminiRows().read_result(json.dumps({"key": "a", "response": response(parts)}).encode())
    assert (row.status, row.is_empty) == (RowStatus.SUCCESS, is_empty)


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b'"x"', b"{}", b'{"key": "a"}', b'{"key": 1, "response": {}}', b'{"key": "\xff"}']
)
def test_a_line_that_is_no_result_is_refused(line):
    with pytest.raises(BadRowError):
        GeminiRows().read_result(line)


def test_the_texts_of_several_parts_are_one_text_without_thoughts():
    parts = [{"text": "a\n"}, {"text": None}, {"thought": True, "text": "hm"}, {"text": '"\u00e9" \U0001f600'}, {}]
    assert read(key="a", response=response(parts)).text == 'a\n"\u00e9" \U0001f600'


def test_an_empty_text_is_a_text():
    assert read(key="a", response=response([{"text": ""}])).text == ""


@pytest.mark.parametrize("text", [b"7", b"[]", b'"\xff"'])
def test_a_text_that_cannot_be_read_is_an_error_of_its_row_which_is_kept(text):
    line = b'{"key":"a","response":{"candidates":[{"content":{"parts":[{"text":%b}]},"finishReason":"STOP"}]}}'
    row = GeminiRows().read_result(line % text)
    assert (row.status, row.has_text) == (RowStatus.ERROR, False)
    assert text in bytes(row.response)


def test_half_a_surrogate_pair_is_no_result_line():
    with pytest.raises(BadRowError, match="not a result line"):
        GeminiRows().read_result(
            rb'{"key":"a","response":{"candidates":[{"content":{"parts":[{"text":"\ud800"}]}}]}}'
        )
