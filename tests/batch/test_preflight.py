"""Before a batch is sent: what it will cost is said, and one that may cost too much is not sent."""

from __future__ import annotations

from decimal import Decimal
from io import BytesIO

import pytest

from airflow_provider_batch.batch.cost.budget import Budget
from airflow_provider_batch.batch.cost.estimate import Span
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.errors import BatchError, BudgetError, InputError
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.rows.check.shards import ShardLimits
from airflow_provider_batch.rows.money import Price, Rates
from faults.task import ask

PRICE = Price(Rates(Decimal(1), Decimal(0), Decimal(10)), Rates(Decimal(2), Decimal(0), Decimal(20)))


def prices(model, day):
    return PRICE


def capped(key, tokens=100, text="hello"):
    row = ask(key)
    config = {"maxOutputTokens": tokens, "thinkingConfig": {"thinkingBudget": 0}}
    contents = [{"parts": [{"text": text}]}]
    return row | {"request": {"contents": contents, "generationConfig": config}}


def calls(emulator, name):
    return [call for call in emulator.journal() if call["call"] == name]


@pytest.fixture
def thousand(task):
    """1,000 rows of at most 100 tokens each: at most USD 1 for the answers."""
    return task.but(rows=[capped(f"k{n}") for n in range(1000)], prices=prices, budget=Budget(None, prices))


def within(task, usd, **more):
    return task.but(budget=Budget(Decimal(usd), prices, **more))


def test_a_batch_within_its_budget_is_sent_and_keeps_what_was_expected(thousand):
    manifest = within(thousand, "1.01").finish()
    assert manifest.counts == {"success": 1000}
    expected = read_batch(thousand.ledger).plan.estimate
    assert (expected.rows, expected.output_tokens) == (1000, Span(0, 100_000))
    assert expected.batch_usd.least <= manifest.cost_usd <= expected.batch_usd.most


def test_a_batch_that_may_cost_more_is_refused_before_the_upload(thousand, gemini_emulator):
    with pytest.raises(BudgetError, match=r"up to USD 1\.00\d\d, and max_cost_usd is 0\.9") as caught:
        within(thousand, "0.9").finish()
    assert "at most the rows' maxOutputTokens" in str(caught.value)
    assert "Nothing was uploaded." in caught.value.remedy
    assert not calls(gemini_emulator, "files.create")
    assert not calls(gemini_emulator, "batches.create")
    assert within(thousand, "1.1").finish().counts == {"success": 1000}


def test_a_price_that_is_not_known_is_no_price_of_nothing(thousand, gemini_emulator):
    task = thousand.but(budget=Budget(Decimal(1000)))
    with pytest.raises(BudgetError, match="no price is known for"):
        task.finish()
    assert not calls(gemini_emulator, "files.create")


@pytest.mark.parametrize("budget", [Budget(), Budget(None, prices)], ids=["no price", "a price"])
def test_an_estimate_with_open_ends_is_kept_as_well(thousand, budget):
    row = capped("a")
    row["request"]["contents"][0]["parts"].append({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})
    task = thousand.but(rows=[row], budget=budget)
    assert task.finish().counts == {"success": 1}
    expected = read_batch(task.ledger).plan.estimate
    assert expected.input_tokens.most is None
    assert (expected.batch_usd is None) is (budget.prices is not prices)
    assert expected.batch_usd is None or expected.batch_usd.most is None


def test_without_a_cap_the_limit_of_the_model_is_the_bound(thousand):
    task = thousand.but(rows=[ask("a"), ask("b")])
    with pytest.raises(BudgetError, match=r"at most 65,536 an answer without a cap"):
        within(task, "1").finish()
    assert within(task, "1.4").finish().counts == {"success": 2}


def test_earlier_answers_narrow_the_range(thousand):
    task = thousand.but(rows=[ask("a"), ask("b")])
    assert within(task, "0.01", earlier=lambda: [20, 22, 21]).finish().counts == {"success": 2}


def test_pictures_are_not_priced_unless_the_api_has_counted_them(thousand):
    row = capped("a")
    row["request"]["contents"][0]["parts"].append({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})
    task = within(thousand.but(rows=[row]), "1")
    with pytest.raises(BudgetError, match=r"1 images, recordings, documents, .* are not counted"):
        task.finish()
    assert task.but(sample_rows=5).finish().counts == {"success": 1}


def test_a_sample_is_counted_by_the_api_and_free(thousand, gemini_emulator):
    said = thousand.but(sample_rows=20).estimated()
    assert "by the API's count of 20 rows" in said.input_basis
    assert gemini_emulator.bills() == {}


def test_a_dry_run_says_it_all_and_leaves_nothing_behind(thousand, gemini_emulator, caplog):
    caplog.set_level("INFO")
    said = thousand.estimated()
    assert (said.rows, said.jobs, said.input_tokens.least > 0) == (1000, 1, True)
    assert said.standard_usd.most == pytest.approx(2 * said.batch_usd.most)
    assert "Checked 1,000 rows" in caplog.text
    assert "output tokens: 0 to 100,000 (at most the rows' maxOutputTokens)" in caplog.text
    assert not thousand.folder.exists()
    assert gemini_emulator.journal() == []


@pytest.mark.parametrize(
    ("limit", "jobs", "words"),
    [
        (None, 1, "about 40 input tokens in the largest job; the project's own limit decides"),
        (25, 2, "about 24 input tokens in the largest job; max_enqueued_tokens is 25"),
    ],
)
def test_the_report_says_how_the_rows_fit_into_the_queue(thousand, caplog, limit, jobs, words):
    caplog.set_level("INFO")
    rows = [capped(f"k{n}", text="x" * 32) for n in range(5)]
    said = thousand.but(rows=rows, limits=ShardLimits(tokens=limit)).estimated()
    assert (said.jobs, said.max_enqueued_tokens) == (jobs, limit)
    assert f"jobs:          {jobs}, with" in caplog.text
    assert words in caplog.text


def test_a_dry_run_checks_the_budget_too(thousand):
    with pytest.raises(BudgetError):
        within(thousand, "0.9").estimated()


def test_what_was_paid_for_is_landed_whatever_the_budget_says_now(thousand):
    thousand.attempt()
    assert within(thousand, "0.000001").finish().counts == {"success": 1000}


def test_rows_are_not_sent_again_for_more_than_the_budget(thousand, gemini_emulator, caplog):
    gemini_emulator.add_fault(action="rows", mutation="drop", keys=["k0", "k1"])
    task = within(thousand.but(rows=[capped(f"k{n}") for n in range(20)]), "1", earlier=lambda: [1, 1, 1])
    expected = task.estimated().batch_usd.most
    manifest = within(task, str(expected), earlier=lambda: [1, 1, 1]).finish()
    assert manifest.cost_usd > expected
    assert (manifest.rounds, manifest.counts) == (1, {"success": 18, "missing": 2})
    assert "2 rows are not sent again" in caplog.text


def test_rows_are_sent_again_within_the_budget(thousand, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="drop", keys=["k0", "k1"])
    task = within(thousand.but(rows=[capped(f"k{n}") for n in range(20)]), "1")
    assert (task.finish().rounds, task.finish().counts) == (2, {"success": 20})


def test_rows_that_ask_the_same_are_told_of_before_anything_is_uploaded(task, gemini_emulator, caplog):
    same = [{**ask("x"), "key": key} for key in "abc"]
    task.but(rows=same).estimated()
    assert "2 rows, the first at row 2: the request is the same as that of an earlier row" in caplog.text
    assert not calls(gemini_emulator, "files.create")


def using(file):
    row = capped("a")
    uri = f"https://generativelanguage.googleapis.com/v1beta/{file}"
    row["request"]["contents"][0]["parts"].append({"fileData": {"fileUri": uri}})
    return row


def test_a_file_that_is_not_there_is_named(thousand, gemini_emulator):
    with pytest.raises(InputError, match="row 1: files/gone-1 does not exist") as caught:
        thousand.but(rows=[using("files/gone-1")]).finish()
    assert caught.value.code == "AGB-I18"
    assert "Nothing was uploaded" in caught.value.remedy
    assert not calls(gemini_emulator, "files.create")


@pytest.mark.parametrize(("hours", "lives"), [(23, True), (25, False)])
def test_a_file_that_is_deleted_before_the_batch_can_end_is_named(thousand, gemini_emulator, hours, lives):
    with GeminiClient(Endpoint(ApiKey("any"), base_url=gemini_emulator.base_url)) as client:
        file = client.upload_file(BytesIO(b"png"), 3, "a picture", "image/png").name
    gemini_emulator.advance_clock(hours * 3600)
    task = thousand.but(rows=[using(file)])
    if lives:
        assert task.finish().counts == {"success": 1}
        return
    with pytest.raises(
        InputError, match=f"row 1: {file} is deleted by the API at .* UTC, and the batch"
    ) as caught:
        task.finish()
    assert caught.value.code == "AGB-I18"
    assert not calls(gemini_emulator, "batches.create")


def test_an_old_job_of_other_rows_does_not_lift_the_limit(thousand, created):
    thousand.but(rows=[ask("old")]).finish()
    delete(thousand.folder)
    with pytest.raises(BudgetError):
        within(thousand, "0.99").attempt()
    assert len(created()) == 1


def test_a_limit_that_came_after_a_refusal_is_held_before_it_is_sent_again(thousand, created, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="status", status=403)
    with pytest.raises(BatchError, match="AGB-S02"):
        thousand.attempt()
    with pytest.raises(BudgetError):
        within(thousand, "0.99").attempt()
    assert created() == []


def delete(folder):
    folder.fs.rm(folder.path, recursive=True)


@pytest.mark.parametrize(
    "more",
    [
        {"cachedContent": "cachedContents/a"},
        {"tools": [{"googleSearch": {}}]},
        {"tools": [{"url_context": {}}]},
    ],
)
def test_what_a_row_reads_besides_its_text_leaves_the_cost_open(thousand, more):
    rows = [row | {"request": row["request"] | more} for row in thousand.rows]
    assert thousand.but(rows=rows).estimated().batch_usd.most is None
    with pytest.raises(BudgetError, match="not counted"):
        within(thousand.but(rows=rows), "1000").attempt()


def test_several_answers_a_row_are_several_caps(thousand):
    rows = [
        row | {"request": row["request"] | {"generationConfig": {"maxOutputTokens": 100, "candidateCount": 8}}}
        for row in thousand.rows
    ]
    assert thousand.but(rows=rows).estimated().output_tokens.most == 8 * thousand.estimated().output_tokens.most
