"""Bodies as the public guide writes them: JSON that only Google's parser takes."""

from __future__ import annotations

import json

import msgspec
import pytest

from airflow_provider_batch.emulator.wire.relaxed_json import decode_relaxed

START = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}


def test_commands_of_the_public_guide_are_taken_as_written(api) -> None:
    content = api.jsonl(api.row("a"))
    # As curl sends -d: as if it were a form.
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    started = api.post(
        "/upload/v1beta/files",
        headers={**START, **form, "X-Goog-Upload-Header-Content-Type": "application/jsonl"},
        content=b"{'file': {'display_name': 'BatchInput'}}",
    )
    url = started.headers["x-goog-upload-url"]
    file = api.put_bytes(url, "upload, finalize", 0, content).json()["file"]
    body = "{'batch': {\n 'display_name': 'my-batch',\n 'input_config': {'file_name': 'NAME'}\n }\n}"
    url = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    created = api.post(url, headers=form, content=body.replace("NAME", file["name"]))

    assert file["displayName"] == "BatchInput"
    assert created.json()["metadata"]["displayName"] == "my-batch"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': 'b'}", {"a": "b"}),
        ("{a_1: 1, $b: true}", {"a_1": 1, "$b": True}),
        ("{'a': [1, 2,], 'b': {'c': null,},}", {"a": [1, 2], "b": {"c": None}}),
        (r"""{'a': 'it\'s "so"'}""", {"a": 'it\'s "so"'}),
        (r"""{"a": "it\'s"}""", {"a": "it's"}),
        ("{'a': 'two\nlines\tand a tab'}", {"a": "two\nlines\tand a tab"}),
        (r"{'a': '\u00e9\v\n\\'}", {"a": "é\v\n\\"}),
        ("{'größer': '日本'}", {"größer": "日本"}),
        ("{'a': -1.5e3, 'b': []}", {"a": -1500.0, "b": []}),
        ("{'a': 'x,} y: {'}", {"a": "x,} y: {"}),
        ("{}", {}),
    ],
)
def test_relaxed_body_is_read_as_googles_parser_reads_it(text, value) -> None:
    assert decode_relaxed(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{'a': b}",
        "{'a' 'b'}",
        "{'a': 1 2}",
        "{,}",
        "{'a': [,]}",
        "{'a': [1,,]}",
        "{'a':,}",
        "{true: 1}",
        "{1: 1}",
        "{'a': 'b",
        "{'a': 'b\"}",
        r"{'a': '\u12'}",
        "{'a': 1} 'b'",
        "{/* no */ 'a': 1}",
        "{größer: 1}",
        "['a']",
        "'a'",
        "{'a': NaN}",
    ],
)
def test_body_that_googles_parser_refuses_is_refused(text) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_relaxed(text)


def test_refusal_of_a_broken_body_names_the_strict_fault(api) -> None:
    answer = api.post("/upload/v1beta/files", headers=START, content=b'{"file": nul}')

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("Invalid JSON payload received. ")


def test_any_json_object_reads_the_same_relaxed() -> None:
    value = {"a": ['"', "'", "\\", "\u2028", {"b": [True, None, 0.5, -3]}], "": {"true": "😀"}}

    assert decode_relaxed(json.dumps(value)) == value
    assert decode_relaxed(json.dumps(value, ensure_ascii=False, indent=1)) == value


def test_body_that_is_not_utf8_is_refused(api) -> None:
    answer = api.post("/upload/v1beta/files", headers=START, content=b"{'file': {'display_name': '\xff'}}")

    assert answer.status_code == 400
