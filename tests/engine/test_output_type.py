"""Answers of the wrong type are kept, sent again alone, and never take the place of better ones."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from airflow_provider_batch.rows.results import read_results
from airflow_provider_batch.rows.structured import OutputType
from tests.engine.conftest import failed_keys, read, statuses


class Label(BaseModel):
    stars: int


def answer(text):
    return {
        "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
    }


@pytest.fixture
def typed(task):
    return task.but(output=OutputType.of(Label))


def test_every_answer_is_asked_for_checked_and_parsed(typed):
    rows = list(read(typed, typed.finish()))
    assert all(set(row.parsed) == {"stars"} and isinstance(row.parsed["stars"], int) for row in rows)


def test_an_answer_of_the_wrong_type_is_sent_again_alone(typed, gemini_emulator, created):
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["b"], response=answer('{"stars": "many"}'))
    manifest = typed.finish()
    assert (manifest.counts, manifest.rounds, len(created())) == ({"success": 3}, 2, 2)


def test_an_answer_that_stays_wrong_is_kept_and_its_request_can_be_fed_back(typed, gemini_emulator):
    gemini_emulator.add_fault(
        action="rows", mutation="replace", keys=["b"], response=answer("not json"), times=None
    )
    manifest = typed.finish()
    assert (manifest.counts, manifest.rounds) == ({"success": 2, "invalid_output": 1}, 3)
    (row,) = [row for row in read(typed, manifest) if row.status == "invalid_output"]
    assert (row.text, row.parsed) == ("not json", None)
    assert failed_keys(typed) == ["b"]


def test_a_wrong_answer_gives_way_to_another_answer_only(typed, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["b"], response=answer("not json"))
    gemini_emulator.add_fault(action="rows", mutation="drop", keys=["b"], after=1, times=2)
    manifest = typed.finish()
    assert manifest.rounds == 3
    assert statuses(typed)["b"] == "invalid_output"


def test_who_has_no_type_checks_by_the_schema_in_the_ledger(typed, gemini_emulator):
    gemini_emulator.add_fault(
        action="rows", mutation="replace", keys=["b"], response=answer('{"stars": null}'), times=None
    )
    typed.attempt()
    typed.but(output=None, on_content_change="adopt").finish()
    assert statuses(typed)["b"] == "invalid_output"


def test_a_downstream_task_gets_instances(typed):
    manifest = typed.finish()
    rows = read_results(manifest, Label, path_type=lambda uri: typed.folder / "results.jsonl")
    assert all(isinstance(row.parsed, Label) for row in rows)


def test_an_answer_without_any_text_is_a_row_too(typed, gemini_emulator):
    """Thinking models answer like this when their thoughts have used up the tokens."""
    thoughts = {
        "candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 5, "thoughtsTokenCount": 7},
    }
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["b"], response=thoughts, times=None)
    manifest = typed.finish()
    assert (manifest.counts, manifest.rounds) == ({"success": 2, "invalid_output": 1}, 3)
    assert failed_keys(typed) == ["b"]
