"""``validate`` and ``estimate``: everything that can be wrong is said before anything is sent."""

from __future__ import annotations

import json

import pytest

MODEL = ("--model", "gemini-2.5-flash")


def test_rows_that_can_be_sent_are_counted_without_a_key_and_without_network(cli, rows, gemini_emulator):
    ended = cli("validate", "rows.jsonl")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == "rows.jsonl: 3 rows, 222 bytes, all can be sent\n"
    assert gemini_emulator.requests() == []


def test_each_bad_row_is_named_with_line_key_and_what_to_do(cli, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n\n{"id": "c"}\n')
    ended = cli("validate", "bad.jsonl", "--prompt", "Feel? {text}", "--key-column", "id")
    assert ended.status == 1
    assert ended.out.splitlines() == [
        f"{tmp_path}/bad.jsonl: 3 bad rows",
        "  line 2, key 'a': the same key as on line 1 [AGB-I14]",
        "  line 3: the line is blank. Remove the line [AGB-I02]",
        "  line 4, key 'c': no column 'text' for the prompt (has 'id') [AGB-I25]",
        "  Nothing was sent. Correct them, or submit the rest with --skip-bad-rows.",
    ]


def test_an_empty_cell_that_goes_into_the_prompt_is_a_caution(cli, tmp_path):
    (tmp_path / "rows.csv").write_text("id,text\n1,good\n2,\n")
    ended = cli("validate", "rows.csv", "--prompt", "Feel? {text}", "--key-column", "id")
    assert ended.status == 0
    assert "caution: 1 row, the first at line 3: the column 'text' is empty" in ended.out


def test_the_first_twenty_bad_rows_are_named_and_the_rest_is_counted(cli, tmp_path):
    (tmp_path / "bad.jsonl").write_text("{}\n" * 25)
    ended = cli("validate", "bad.jsonl")
    assert (ended.out.count("AGB-"), "  and 5 more\n" in ended.out) == (20, True)
    assert len(cli("validate", "bad.jsonl", "--json").json[0]["problems"]) == 20


def test_one_bad_file_among_good_ones_is_a_finding(cli, rows, tmp_path):
    (tmp_path / "bad.jsonl").write_text('[{"key": "a"}]')
    good, bad = (ended := cli("validate", "rows.jsonl", "bad.jsonl", "--json")).json
    assert ended.status == 1
    assert (good["ok"], good["rows"]) == (True, 3)
    assert bad["whole_file"]["code"] == "AGB-I05"


def test_a_file_that_is_not_there_is_named(cli):
    ended = cli("validate", "nowhere.jsonl")
    assert ended.status == 1
    assert "nowhere.jsonl does not exist" in ended.out


@pytest.mark.parametrize("spec", ["label.json", "label.Label"])
def test_the_type_of_the_answers_is_taken_from_this_folder(ab, rows, tmp_path, spec):
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
    (tmp_path / "label.json").write_text(json.dumps(schema))
    (tmp_path / "label.py").write_text("import pydantic\nclass Label(pydantic.BaseModel):\n    mood: str\n")
    assert ab("submit", "rows.jsonl", *MODEL, "--result-path", "out", "--output-type", spec).status == 0
    plan = next((tmp_path / "out").glob("_ledger/*/1/plan.json"))
    assert json.loads(plan.read_text())["output_schema"]["required"] == ["mood"]


def test_two_types_for_the_answers_are_refused_before_anything_is_sent(ab, rows, tmp_path, gemini_emulator):
    (tmp_path / "label.json").write_text('{"type": "object", "properties": {"mood": {"type": "string"}}}')
    own = '{"generationConfig": {"responseSchema": {"type": "STRING"}}}'
    more = ("--result-path", "out", "--output-type", "label.json", "--request-params", own)
    ended = ab("submit", "rows.jsonl", *MODEL, *more)
    assert ended.status == 2
    assert "error: AGB-C14 --output-type and the responseSchema" in ended.err
    assert gemini_emulator.journal() == []


def test_an_estimate_says_what_it_would_cost_and_sends_nothing(ab, rows, gemini_emulator):
    ended = ab(
        "estimate", "rows.jsonl", *MODEL, "--request-params", '{"generationConfig": {"maxOutputTokens": 9}}'
    )
    assert ended.status == 0
    assert ended.out.startswith("rows:          3, ")
    assert "output tokens: 0 to 27 " in ended.out
    assert gemini_emulator.journal() == []


def test_an_estimate_for_scripts_has_the_range_as_numbers(ab, rows):
    said = ab("estimate", "rows.jsonl", *MODEL, "--json").json
    assert (said["rows"], said["jobs"], said["model"]) == (3, 1, "gemini-2.5-flash")
    assert said["batch_usd"]["least"] < said["batch_usd"]["most"]


def test_an_estimate_beyond_the_limit_is_a_finding(ab, rows):
    ended = ab("estimate", "rows.jsonl", *MODEL, "--max-cost-usd", "0.0001")
    assert (ended.status, ended.out) == (1, "")
    assert "error: AGB-C09 The batch may cost up to USD" in ended.err


def test_tokens_that_the_api_counts_narrow_the_estimate(ab, rows, gemini_emulator):
    said = ab("estimate", "rows.jsonl", *MODEL, "--count-tokens-rows", "2", "--json").json
    assert sum("countTokens" in call["path"] for call in gemini_emulator.requests()) == 2
    assert "count" in said["input_basis"]


def test_an_unknown_model_is_said_before_anything_is_sent(ab, rows, gemini_emulator):
    ended = ab("estimate", "rows.jsonl", "--model", "gemini-0")
    assert ended.status == 2
    assert "The API knows no model 'gemini-0'" in ended.err


@pytest.mark.parametrize(
    "wrong",
    [
        ("--request-params", "{"),
        ("--request-params", "nowhere.json"),
        ("--prompt", "a", "--prompt-file", "b"),
        ("--media-column", "photo"),
        ("--output-type", "nowhere.Label"),
        ("--max-cost-usd", "-1"),
    ],
)
def test_an_option_that_cannot_work_is_refused_before_anything_is_sent(ab, rows, gemini_emulator, wrong):
    ended = ab("estimate", "rows.jsonl", *MODEL, *wrong)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert gemini_emulator.journal() == []


@pytest.mark.parametrize("flag", ["--prompt-file", "--request-params", "--output-type"])
def test_a_file_of_an_option_that_is_not_utf8_is_named(ab, rows, tmp_path, flag):
    (tmp_path / "latin.json").write_bytes(b"caf\xe9 {text}")
    ended = ab("estimate", "rows.jsonl", *MODEL, flag, "latin.json")
    assert ended.status == 2
    assert f"{flag} latin.json is not UTF-8: byte 0xe9 at 3." in ended.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--embeddings", "--system-prompt", "x"), "--system-prompt means nothing to an embedding model"),
        (("--embeddings", "--system-prompt", "gemini"), "--system-prompt means nothing to an embedding model"),
        (("--embeddings", "--media-column", "x"), "--media-column means nothing to an embedding model"),
        (("--embeddings", "--task-type", "SEARCH"), "--task-type must be one of RETRIEVAL_QUERY, "),
        (
            ("--embeddings", "--output-dimensionality", "0"),
            "--output-dimensionality must be a whole number from 1",
        ),
        (("--task-type", "CLUSTERING"), "--task-type is for vectors"),
    ],
)
def test_options_of_answers_and_of_vectors_are_kept_apart(ab, rows, given, said):
    ended = ab("estimate", "rows.jsonl", *MODEL, *given)
    assert ended.status == 2
    assert said in ended.err
