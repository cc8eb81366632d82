"""``--trial``: a few rows are answered for money first, and say what all will come to."""

from __future__ import annotations

import json
import re

import pytest

from tests.cli.conftest import SUBMIT

FAST = ("--requests-per-minute", "60000", "--tokens-per-minute", "10000000")
ESTIMATE = ("estimate", "rows.jsonl", "--model", "gemini-2.5-flash", *FAST)
MANY = [f"row-{number}" for number in range(20)]
CAP = ("--request-params", '{"generationConfig": {"maxOutputTokens": 2000}}')
TIGHT = ("--request-params", '{"generationConfig": {"maxOutputTokens": 100}}')


@pytest.fixture
def table(tmp_path):
    """A table of twenty texts."""
    text = "".join(f"row-{n},{'word ' * (n + 1)}\n" for n in range(20))
    (tmp_path / "texts.csv").write_text(f"key,text\n{text}")
    return ("estimate", "texts.csv", "--prompt", "{text}", "--model", "gemini-2.5-flash", *FAST)


def test_it_says_first_what_the_trial_may_cost_and_shows_rows_and_ranges(ab, table, gemini_emulator, tmp_path):
    ended = ab(*table, *CAP, "--trial", "5")
    assert ended.status == 0, ended.err
    told, shown = ended.err.splitlines(), ended.out.splitlines()
    most = float(re.fullmatch(r"trial: 5 rows by single calls \(flex\), USD (\d\.\d+) at most", told[0])[1])
    cost = float(
        re.search(r"The trial of 5 rows has cost USD (\d\.\d+)\. The answers .* are not kept", told[-1])[1]
    )
    assert 0 < cost <= most < 0.1
    assert [bool(re.match(r"trial: row-\d+, success: Answer to: word", line)) for line in shown[:5]] == [True] * 5
    assert "by the trial:  5 rows tried, and for all rows these ranges of 95 %" in shown
    assert re.fullmatch(r"cost:          USD \d\.\d+ to \d\.\d+ in batch mode, the trial included", shown[-1])
    assert [call["tier"] for call in gemini_emulator.billed_calls()] == ["flex"] * 5
    assert [path.name for path in tmp_path.iterdir() if path.name != "emulator"] == ["texts.csv"]


@pytest.mark.parametrize("count", [5, 20, 50])
def test_the_ranges_and_all_rows_of_the_trial_are_in_the_json(ab, table, gemini_emulator, count):
    trial = ab(*table, "--trial", str(count), "--json").json["trial"]
    tried = min(count, 20)
    assert (len(trial["rows"]), trial["rows_tried"], len(gemini_emulator.billed_calls())) == (tried, tried, tried)
    assert set(trial["rows"][0]) == {"key", "status", "text"}
    for range_ in (trial["input"], trial["output"], trial["usd"]):
        assert 0 < range_["least"] <= range_["most"]
    if tried == 20:
        assert trial["usd"]["least"] == pytest.approx(trial["cost_usd"])
        assert trial["usd"]["most"] == pytest.approx(trial["cost_usd"])


def test_a_trial_that_no_row_of_is_usable_is_a_finding(ab, rows, gemini_emulator):
    gemini_emulator.add_fault(call="models.generateContent", action="status", status=400, times=None)
    ended = ab(*ESTIMATE, "--trial", "3")
    assert (ended.status, ended.out.count("trial: ")) == (1, 3)
    assert "error: AGB-T01 3 of 3 rows of the trial have no usable answer (3 error)." in ended.err
    assert "max_failed_fraction" not in ended.err


def test_what_all_rows_will_cost_is_judged_by_the_trial(ab, table):
    assert ab(*table, *TIGHT, "--max-cost-usd", "0.002").status == 1
    assert ab(*table, *TIGHT, "--max-cost-usd", "0.002", "--trial", "5").status == 0
    ended = ab(*table, *TIGHT, "--max-cost-usd", "0.0003", "--trial", "5")
    assert ended.status == 1
    assert re.search(r"AGB-T02 By the trial the batch may cost USD .*, and --max-cost-usd is", ended.err)


def test_no_call_leaves_that_the_limit_would_not_pay_for(ab, rows, gemini_emulator):
    ended = ab(*ESTIMATE, "--trial", "3", "--max-cost-usd", "0.0001")
    assert (ended.status, gemini_emulator.billed_calls()) == (1, [])
    assert "No row of the trial was answered: --max-cost-usd would be exceeded." in ended.err
    assert "Raise --max-cost-usd, or give the requests a maxOutputTokens" in ended.err


@pytest.mark.parametrize("option", [("--trial", "1"), ("--ready-by", "9:00", "--wait")], ids=["trial", "ready-by"])
def test_embeddings_are_refused_by_name(ab, rows, gemini_emulator, option):
    embed = ("submit", "rows.jsonl", "--embeddings", "--model", "gemini-embedding-001", "--result-path", "out")
    ended = ab(*embed, *option)
    assert (ended.status, gemini_emulator.journal()) == (2, [])
    assert f"AGB-T04 {option[0]} is given with --embeddings" in ended.err


def test_tried_rows_of_a_submitted_batch_are_results_and_are_not_sent(ab, rows, calls, tmp_path, gemini_emulator):
    rows(*MANY)
    ended = ab(*SUBMIT, *FAST, "--trial", "5", "--wait")
    assert ended.status == 0, ended.err
    assert "trial: 5 rows by single calls (flex), USD " in ended.err
    landed = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").open()]
    assert {row["key"] for row in landed if row["status"] == "success"} == set(MANY)
    (job,) = calls("batches.create")
    assert (ab("show", job, "--json").json["rows"], len(gemini_emulator.billed_calls())) == (15, 5)


def test_a_bad_trial_keeps_the_batch_from_being_sent(ab, rows, calls, gemini_emulator):
    gemini_emulator.add_fault(call="models.generateContent", action="status", status=400, times=None)
    ended = ab(*SUBMIT, *FAST, "--trial", "2")
    assert (ended.status, calls("batches.create")) == (1, [])
    assert "AGB-T01" in ended.err


@pytest.mark.parametrize("gemini_emulator", [{"job_seconds": 3600}], indirect=True)
def test_rows_that_are_late_for_the_time_of_a_submit_get_single_calls(ab, rows, calls, gemini_emulator):
    ended = ab(*SUBMIT, *FAST, "--wait", "--ready-by", "0:00:16", "--json")
    assert (ended.status, ended.json["counts"]) == (0, {"success": 3})
    assert (len(gemini_emulator.billed_calls()), calls("batches.cancel")) == (3, calls("batches.create"))


def test_a_time_to_be_ready_by_needs_the_wait(ab, rows, gemini_emulator):
    ended = ab(*SUBMIT, "--ready-by", "9:00")
    assert (ended.status, gemini_emulator.journal()) == (2, [])
    assert "--ready-by needs --wait" in ended.err


@pytest.mark.parametrize("tiers", ["priority", "flex,flex", ""])
def test_tiers_are_words_of_the_api_each_once(ab, rows, tiers):
    ended = ab(*ESTIMATE, "--trial", "1", "--tiers", tiers)
    assert (ended.status, "is not flex, standard or flex,standard" in ended.err) == (2, True)
