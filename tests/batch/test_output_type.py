"""Answers of the wrong type are kept, sent again alone, and never take the place of better ones."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import BaseModel

from airflow_provider_batch.batch.decide.common_mistake import common_mistake
from airflow_provider_batch.batch.decide.next_step import retry_helps
from airflow_provider_batch.batch.decide.outcome import ensure_enough
from airflow_provider_batch.batch.decide.policy import Policy
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.errors import PartialResultsError
from airflow_provider_batch.rows.money import Price, Rates
from airflow_provider_batch.rows.output.type import OutputType
from airflow_provider_batch.rows.results import read_results
from faults.task import ask
from tests.batch.conftest import failed_keys, read, statuses


class Label(BaseModel):
    stars: int


RATES = Rates(Decimal(1000), Decimal(1000), Decimal(2000))


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


FENCED = '```json\n{"stars": 4}\n```'


def test_an_answer_in_a_code_fence_is_paid_for_once(typed, gemini_emulator, created):
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["b"], response=answer(FENCED))
    manifest = typed.finish()
    (row,) = [row for row in read(typed, manifest) if row.key == "b"]
    assert (manifest.counts, len(created()), row.parsed) == ({"success": 3}, 1, {"stars": 4})
    assert row.note == "parsed is what stood in a code fence of the text"


def test_whoever_lands_the_rows_of_a_strict_user_is_as_strict(typed, gemini_emulator, created):
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["b"], response=answer(FENCED))
    strict = typed.but(is_strict=True)
    strict.attempt()
    assert strict.but(is_strict=False).finish().rounds == 2
    assert len(created()) == 2


def wrong_for(gemini_emulator, *keys):
    """Answers that are not of the type, each in other words and at another place."""
    for number, key in enumerate(keys):
        gemini_emulator.add_fault(
            action="rows", mutation="replace", keys=[key], response=answer(f"no {number} json"), times=None
        )


def test_what_all_rows_get_wrong_alike_is_not_paid_for_again(typed, gemini_emulator, created, caplog):
    wrong_for(gemini_emulator, *"abc")
    typed = typed.but(prices=lambda model, day: Price(RATES, RATES))
    manifest = typed.finish()
    assert (manifest.counts, manifest.rounds, len(created())) == ({"invalid_output": 3}, 1, 1)
    (said,) = [record.getMessage() for record in caplog.records if "AGB-R08" in record.getMessage()]
    assert "3 of 3 rows have the same fault" in said
    assert "json_invalid; for example the row 'a'" in said
    assert f"The batch has cost USD {manifest.cost_usd:,.4f}" in said


def test_a_retry_does_not_send_a_common_mistake_and_a_clear_does(typed, gemini_emulator, created):
    wrong_for(gemini_emulator, *"abc")
    typed.finish()
    batch = read_batch(typed.ledger)
    assert retry_helps(batch, Policy()) is False
    with pytest.raises(PartialResultsError, match=r"AGB-R02 3 of 3 .* the same fault .* clear the task to send"):
        ensure_enough(typed.finish(), None, common_mistake(batch))
    assert len(created()) == 2


def test_rows_that_failed_by_chance_are_sent_again_beside_a_common_mistake(typed, gemini_emulator, created):
    rows = [ask(f"k{n}") for n in range(20)]
    wrong_for(gemini_emulator, *(f"k{n}" for n in range(18)))
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["k18"])
    manifest = typed.but(rows=rows).finish()
    assert (manifest.counts, manifest.rounds) == ({"success": 2, "invalid_output": 18}, 2)
    assert [c["rows"] for c in gemini_emulator.journal() if c["call"] == "batches.create"] == [20, 1]


@pytest.mark.parametrize("count", [1, 17], ids=["one row alone", "less than nine in ten"])
def test_a_fault_that_may_be_chance_is_sent_again(typed, gemini_emulator, count):
    rows = [ask(f"k{n}") for n in range(1 if count == 1 else 20)]
    wrong_for(gemini_emulator, *(f"k{n}" for n in range(count)))
    assert typed.but(rows=rows).finish().rounds == 3


def test_answers_without_anything_in_them_are_a_common_mistake_too(task, gemini_emulator, created):
    for key in "abc":
        gemini_emulator.add_fault(
            action="rows", mutation="replace", keys=[key], response={"candidates": [{"finishReason": "NO_IMAGE"}]}
        )
    assert (task.finish().counts, len(created())) == ({"invalid_output": 3}, 1)


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
