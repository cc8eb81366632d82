"""How a line of a result file is classified: a response is not yet an answer."""

import json

import msgspec
import pytest

from airflow_provider_batch.gemini.rows import GeminiRows
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


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        ({"error": {"code": 3, "message": "bad part"}}, RowStatus.ERROR, "bad part"),
        ({"error": {"code": 13}}, RowStatus.ERROR, ""),
        ({"error": {"status": "INTERNAL"}}, RowStatus.ERROR, "INTERNAL"),
        ({"error": {"code": 1}}, RowStatus.CANCELLED, ""),
        ({"response": {"promptFeedback": {"blockReason": "SAFETY"}}}, RowStatus.BLOCKED, "SAFETY"),
        ({"response": {}}, RowStatus.BLOCKED, "no reason given"),
        ({"response": response(finish="RECITATION")}, RowStatus.BLOCKED, "RECITATION"),
        ({"response": response(finish="SOMETHING_NEW")}, RowStatus.BLOCKED, "SOMETHING_NEW"),
        ({"response": response(finish="MAX_TOKENS")}, RowStatus.TRUNCATED, "token limit"),
        (
            {"response": response([{"text": "hm", "thought": True}], finish="MAX_TOKENS")},
            RowStatus.TRUNCATED,
            "raise maxOutputTokens",
        ),
        ({"response": response([])}, RowStatus.ERROR, "without any content"),
        ({"response": {"candidates": "what"}}, RowStatus.ERROR, "unreadable response"),
        ({"response": response(), "error": {"code": 13}}, RowStatus.ERROR, ""),
    ],
    ids=[
        "error",
        "error without message",
        "error as status word",
        "cancelled",
        "blocked prompt",
        "no candidates",
        "held back",
        "unknown finish reason",
        "truncated",
        "thoughts only",
        "no content",
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


def test_a_function_call_without_text_is_a_success_without_text():
    row = read(key="a", response=response([{"functionCall": {"name": "f"}}]))
    assert (row.status, row.text) == (RowStatus.SUCCESS, None)


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
