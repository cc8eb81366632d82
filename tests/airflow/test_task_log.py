"""The end of a task's log: a line for each bad row, one for the error, and sums that are not folded away."""

from __future__ import annotations

import json
import re

import pytest

from airflow_provider_batch.airflow_compat import airflow_exception, saving_retries
from airflow_provider_batch.errors import BadRow, InputError, JobCancelledError
from airflow_provider_batch.observability.task_log import summary
from airflow_provider_batch.rows.manifest import Manifest, WayTotals


def open_lines(log):
    """The lines of a log that Airflow's page shows without a click."""
    depth, lines = 0, []
    for line in log.splitlines():
        depth = max(0, depth + ("::group::" in line) - ("::endgroup::" in line))
        if not depth:
            lines.append(line)
    return "\n".join(lines)


def of_our_task(log):
    """Until the sections of Airflow's own begin."""
    return re.split("::group::Post Execute", log)[0]


def test_rows_money_and_the_place_of_the_results_are_outside_of_closed_sections(case):
    run = case("synchronous", "a", "b")
    shown = open_lines(of_our_task(run.log))
    assert "rows:         2 (2 success)" in shown
    assert "cost:         USD" in shown
    assert f"results:      {case.folder}/results.jsonl" in shown
    assert re.search(r"cost: +USD 0\.0000 to", shown)


def test_what_came_by_single_calls_is_told_with_what_it_cost(case):
    shown = open_lines(case("tried", *"abcdefgh").log)
    assert re.search(r"by batch: +6 rows, \d+ tokens in, \d+ out, USD 0\.", shown)
    assert re.search(r"by flex: +2 rows, \d+ tokens in, \d+ out, USD 0\.", shown)
    assert "lost calls" not in shown
    assert "rescue:" not in shown


def test_what_is_billed_beside_the_cost_has_a_line_of_its_own():
    way = WayTotals(rows=1, input=2, output=3, cost_usd=0.5)
    told = summary(
        Manifest(
            job_name="",
            model="m",
            result_uri="r",
            request_count=1,
            counts={"success": 1},
            cost_usd=0.5,
            standard_usd=0.5,
            ways={"standard": way},
            rescue_extra_usd=0.25,
            lost_calls=2,
            called_again=1,
            jobs_left_running=1,
        ),
        None,
    )
    assert told[-5:] == [
        "by standard:  1 row, 2 tokens in, 3 out, USD 0.500000",
        "rescue:       USD 0.250000 more than in batch mode, included in the cost",
        "lost calls:   2, which may be billed, and are not in the cost",
        "called again: 1, answers to rows that had one, in the cost",
        "left running: 1 of the jobs had not ended when the rows were called. What it finishes is billed, "
        "and not in the cost",
    ]


def test_each_bad_row_has_a_line_before_the_one_line_of_the_error(run_dag, tmp_path):
    source = tmp_path / "requests.jsonl"
    source.write_text(json.dumps({"key": "a"}) + "\n\n")
    log = run_dag("dags/cases.py", "once", requests=str(source), result_path=str(tmp_path / "out")).log
    found = [log.index(text) for text in ("line 1 (key 'a'):", "line 2: ", "requests.jsonl has 2 bad rows")]
    assert found == sorted(found)
    assert log.count("requests.jsonl has 2 bad rows") == 1
    assert log.count("AGB-I02") == 1


@pytest.mark.parametrize("state", ["BATCH_STATE_FAILED", "BATCH_STATE_CANCELLED"])
def test_the_text_of_an_error_is_in_the_log_once(case, gemini_emulator, state):
    gemini_emulator.add_fault(action="job", state=state, times=None)
    log = case("once").log
    (said,) = re.findall(r"AGB-J\d\d (.*)", log)
    assert log.count(said[:60]) == 1


def test_an_error_that_no_retry_mends_is_of_its_own_class_and_of_airflows():
    with pytest.raises(JobCancelledError) as caught, saving_retries():
        raise JobCancelledError(
            "It was cancelled.", job_name="batches/a", code="AGB-J03", remedy="Clear the task."
        )
    assert isinstance(caught.value, airflow_exception("AirflowFailException"))
    assert str(caught.value) == "AGB-J03 It was cancelled. Clear the task."
    assert (caught.value.job_name, caught.value.__cause__) == ("batches/a", None)


def test_an_error_of_bad_rows_says_in_one_line_where_the_first_is(caplog):
    rows = (
        BadRow("line 3", "'a'", "AGB-I14", "the same key as on line 1"),
        BadRow("line 4", "", "AGB-I02", "blank"),
    )
    with pytest.raises(InputError) as caught, saving_retries():
        raise InputError(
            "rows.jsonl has 30 bad rows: …", source="rows.jsonl", code="AGB-I14", rows=rows, bad_rows=30
        )
    assert str(caught.value) == "AGB-I14 rows.jsonl has 30 bad rows, the first at line 3 (key 'a')."
    assert [record.getMessage() for record in caplog.records] == [
        "AGB-I14 line 3 (key 'a'): the same key as on line 1.",
        "AGB-I02 line 4: blank.",
        "and 28 more bad rows.",
    ]
    assert caught.value.rows == rows
