"""Whatever the results hold, every row ends in one status and is kept, and no token counts as nothing."""

from __future__ import annotations

from io import BytesIO

import pytest
from upath import UPath

from airflow_provider_batch.batch.decide.outcome import ensure_enough
from airflow_provider_batch.batch.ledger.documents import Layout
from airflow_provider_batch.errors import PartialResultsError
from airflow_provider_batch.rows.dialect import Usage
from airflow_provider_batch.rows.write.parquet import read_parquet
from tests.batch.conftest import read


@pytest.fixture
def folder(tmp_path):
    """One store is enough: what is done with an answer does not depend on it."""
    return UPath(tmp_path / "out")


def said(text="hi", finish="STOP", **more):
    parts = [{"text": text}] if isinstance(text, str) else text
    return {"candidates": [{"content": {"parts": parts}, "finishReason": finish}], "usageMetadata": USAGE, **more}


USAGE = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
THOUGHT = {"text": "hm", "thought": True}

ANSWERS = [
    ("no candidates", {"usageMetadata": USAGE}, "invalid_output", None),
    ("a blocked prompt", {"promptFeedback": {"blockReason": "SAFETY"}}, "blocked", None),
    ("held back for safety", said(finish="SAFETY"), "blocked", "hi"),
    ("held back as a recitation", said([], finish="RECITATION"), "blocked", None),
    ("an unknown reason", said(finish="ESCALATION"), "blocked", "hi"),
    ("cut off", said(finish="MAX_TOKENS"), "truncated", "hi"),
    ("cut off while thinking", said([THOUGHT], finish="MAX_TOKENS"), "truncated", None),
    ("finished without content", {"candidates": [{"finishReason": "STOP"}]}, "invalid_output", None),
    ("candidates of the wrong type", {"candidates": "none"}, "error", None),
    ("a text of the wrong type", said([{"text": 7}]), "error", None),
    ("a call in place of a text", said([{"functionCall": {"name": "f", "args": {}}}]), "success", None),
    ("an empty text", said(""), "success", ""),
    (
        "NUL, escapes and line separators",
        said("a\0b \x1b[31m \u2028\u0085\x0b"),
        "success",
        "a\0b \x1b[31m \u2028\u0085\x0b",
    ),
    ("several texts and a thought", said([{"text": "a"}, THOUGHT, {"text": "b"}]), "success", "ab"),
    ("a long text", said("x" * 3_000_000), "success", "x" * 3_000_000),
    ("fields that nobody knows", said(novelty={"deep": [1]}), "success", "hi"),
]


@pytest.mark.parametrize(
    ("answer", "status", "text"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS]
)
def test_an_answer_ends_in_the_status_that_it_deserves(task, gemini_emulator, answer, status, text):
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["b"], response=answer, times=None)
    manifest = task.finish()
    assert manifest.counts == ({"success": 3} if status == "success" else {"success": 2, status: 1})
    row = next(row for row in read(task, manifest) if row.key == "b")
    assert (row.status.value, row.text) == (status, text)
    assert (row.error is None) == (status == "success")


def test_empty_texts_are_successes_that_count_as_no_answer(task, gemini_emulator):
    for key, text in (("a", ""), ("b", " \n"), ("c", "")):
        gemini_emulator.add_fault(action="rows", mutation="replace", keys=[key], response=said(text))
    manifest = task.finish()
    assert (manifest.counts, manifest.empty, manifest.rounds) == ({"success": 3}, 3, 1)
    with pytest.raises(PartialResultsError, match=r"3 of 3 .*: 3 success with an empty text"):
        ensure_enough(manifest, None)
    ensure_enough(manifest, 1)


def test_empty_texts_are_counted_in_results_of_several_rounds(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["a"], response=said(""))
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    manifest = task.finish()
    assert (manifest.counts, manifest.empty, manifest.rounds) == ({"success": 3}, 1, 2)
    with pytest.raises(PartialResultsError):
        ensure_enough(manifest, 0.3)
    ensure_enough(manifest, 0.34)


COUNTS = [
    ("as text", {"promptTokenCount": "3", "candidatesTokenCount": "2"}, Usage(input=3, output=2)),
    (
        "with thoughts and a cache",
        USAGE | {"thoughtsTokenCount": 4, "cachedContentTokenCount": 1},
        Usage(3, 1, 2, 4),
    ),
    ("of tool calls as input", USAGE | {"toolUsePromptTokenCount": 6}, Usage(input=9, output=2)),
    ("below nothing", USAGE | {"promptTokenCount": -3}, None),
    ("none at all", None, None),
]


@pytest.mark.parametrize(("metadata", "usage"), [case[1:] for case in COUNTS], ids=[case[0] for case in COUNTS])
def test_tokens_are_read_in_every_spelling_or_counted_as_not_known(task, gemini_emulator, metadata, usage):
    answer = said() | {"usageMetadata": metadata}
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["b"], response=answer, times=None)
    manifest = task.finish()
    row = next(row for row in read(task, manifest) if row.key == "b")
    assert row.usage == usage
    assert manifest.unmetered == (usage is None)


@pytest.mark.parametrize("where", ["a count of tokens", "a code of an error"])
def test_a_number_that_no_table_can_hold_keeps_no_results_from_being_published(task, gemini_emulator, where):
    count, code = (2**70, 13) if where == "a count of tokens" else (3, 2**70)
    answer = said() | {"usageMetadata": {"promptTokenCount": count, "candidatesTokenCount": 1}}
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["a"], response=answer, times=None)
    gemini_emulator.add_fault(
        action="rows", mutation="error", keys=["b"], error={"code": code, "message": "no"}, times=None
    )
    manifest = task.but(layout=Layout(format="parquet"), max_row_attempts=1).finish()
    rows = {row.key: row for row in read_parquet(BytesIO((task.folder / "results.parquet").read_bytes()))}
    assert (manifest.counts, rows["b"].error.message) == ({"success": 2, "error": 1}, "no")
    assert rows["a"].usage == (None if count > 3 else Usage(3, output=1))
    assert rows["b"].error.code == (0 if code > 13 else 13)


def test_more_lines_than_rows_and_broken_ones_are_kept_aside(task, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="duplicate", keys=["a"])
    gemini_emulator.add_fault(action="rows", mutation="corrupt", keys=["b"])
    manifest = task.but(max_row_attempts=1).finish()
    assert manifest.counts == {"success": 2, "missing": 1}
    assert manifest.quarantined == 2
    kept = (task.folder / "quarantine.jsonl").read_text().splitlines()
    assert sum('"key":"a"' in line for line in kept) == 1
