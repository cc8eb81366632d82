"""Which rows the API refuses when a batch is created, and in which words."""

from __future__ import annotations

import pytest

from airflow_provider_batch.emulator.answers.schema_check import check_lines


def test_cached_content_in_the_wrong_place_is_located(api) -> None:  # T19
    request = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"cachedContent": "cachedContents/c"}}

    answer = api.create_from({"key": "a", "request": request})

    assert answer.status_code == 400
    assert answer.json()["error"] == {
        "code": 400,
        "message": "Error on line 1: invalid JSON, near column 89: no such field: 'cachedContent'",
        "status": "INVALID_ARGUMENT",
    }


def test_several_bad_lines_are_named_in_one_refusal(emulator, api) -> None:  # T20
    flat = {"contents": [{"parts": [{"text": "x"}]}], "thinking_config": {"thinking_budget": 0}}
    accepted = len(emulator.journal())

    answer = api.create_from({"key": "a", "request": flat}, api.row("b"), {"key": "c", "request": flat})

    lines = answer.json()["error"]["message"].splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Error on line 1", "Error on line 3"]
    assert [call["call"] for call in emulator.journal()[accepted:]] == ["files.upload.start", "files.create"]


def test_inline_refusal_names_the_item(api) -> None:
    answer = api.create_inline(api.inline_row("a"), {"request": {"contents": [], "nonsense": 1}})

    violation = answer.json()["error"]["details"][0]["fieldViolations"][0]
    assert violation["field"] == "batch.input_config.requests.requests[1].request"
    assert "nonsense" in violation["description"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"key": "a", ', "invalid JSON"),
        ("[1]", "expected an object"),
        ('{"key": "a", "request": 1}', "'request' is not an object"),
        ('{"key": 1, "request": {}}', "string field 'key'"),
        ('{"key": "a", "request": {"contents": []}}', "contents is not specified"),
        ('{"key": "a", "request": {"contents": [{"parts": []}]}}', "parts must not be empty"),
        ('{"key": "a", "request": {"contents": "text"}}', "'contents' is not an object"),
        ('{"key": "a", "request": {"contents": [{"parts": [{"txt": "x"}]}]}}', "no such field: 'txt'"),
        (
            '{"request": {"contents": [{"parts": [{"text": "x"}]}], "generation_config": {"temperature": true}}}',
            "number field 'temperature'",
        ),
        (
            '{"request": {"contents": [{"parts": [{"text": "x"}]}], "cachedContent": "c", "tools": [{}]}}',
            "CachedContent can not be used",  # T21
        ),
    ],
    ids=["cut", "array", "request", "key", "no contents", "no parts", "text", "part", "config", "cache"],
)
def test_bad_line_is_refused_with_its_reason(line: str, reason: str) -> None:
    rows, _, errors = check_lines("generate", [line.encode()])

    assert rows == 1
    assert errors[0].startswith("Error on line 1: ")
    assert reason in errors[0]


@pytest.mark.parametrize(
    "line",
    [
        '{"key": "a", "request": {"contents": [{"parts": [{"text": "x"}]}]}}',
        '{"custom_id": "a", "request": {"contents": [{"parts": [{"text": "x"}]}]}}',
        '{"contents": [{"parts": [{"text": "x"}]}]}',
        '{"request": {"contents": {"parts": {"text": "x"}}, "system_instruction": {"parts": [{"text": "s"}]}}}',
        '{"request": {"contents": [{"parts": [{"file_data": {"file_uri": "u", "mime_type": "m"}}]}]}}',
        '{"request": {"contents": [{"parts": [{"text": ""}]}], "generationConfig": {"responseSchema": {"a": 1}}}}',
        "",
        "\r\n",
    ],
    ids=["plain", "foreign field", "bare", "single values", "snake case", "free schema", "empty", "blank"],
)
def test_good_line_passes_in_either_casing(line: str) -> None:
    assert check_lines("generate", [line.encode()]).errors == []


def test_report_stops_at_twenty_lines() -> None:
    assert len(check_lines("generate", [b"{"] * 100).errors) == 20


def test_embedding_row_needs_a_single_content() -> None:
    lines = [b'{"request": {"content": {"parts": [{"text": "x"}]}}}', b'{"request": {"contents": []}}']

    rows, _, (error,) = check_lines("embed", lines)

    assert (rows, error) == (2, "Error on line 2: invalid JSON, near column 14: no such field: 'contents'")


def test_line_separators_of_unicode_do_not_split_a_row(api) -> None:
    answer = api.create_from(api.row("a", "one\u2028two\x85three"))

    assert api.finished(answer.json()["name"])["metadata"]["batchStats"]["requestCount"] == "1"
