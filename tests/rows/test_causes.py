"""Failures grouped by their cause: what counts as the same, and what bounds the reading."""

from __future__ import annotations

import math

import pytest
from upath import UPath

from airflow_provider_batch.rows import causes
from airflow_provider_batch.rows.causes import Ending, grouped, read_causes
from airflow_provider_batch.rows.dialect import RowError, RowStatus


def failed(key, message, code=13, status=RowStatus.ERROR):
    return Ending(key, status, None, RowError(code, message))


def test_messages_that_differ_in_numbers_and_names_are_one_cause():
    rows = [failed("a", "row 1 of 'x' is bad"), failed("b", "row 22 of 'y' is bad"), failed("c", "quota")]
    found = grouped(rows, math.inf)
    assert [(cause.rows, cause.message, cause.keys) for cause in found.causes] == [
        (2, "row 1 of 'x' is bad", ["a", "b"]),
        (1, "quota", ["c"]),
    ]
    assert (found.looked_at, found.is_all) == (3, True)


def test_an_answer_that_was_blocked_is_told_by_why_the_model_stopped():
    rows = [Ending("a", RowStatus.SUCCESS), Ending("b", RowStatus.BLOCKED, "SAFETY")]
    (cause,) = grouped(rows, math.inf).causes
    assert (cause.status, cause.message, cause.rows) == ("blocked", "SAFETY", 1)


def test_very_many_causes_share_the_last_place():
    rows = [failed(str(number), "x" * number) for number in range(1, 50)]
    found = grouped(rows, math.inf).causes
    assert len(found) == causes.MOST_CAUSES + 1
    assert (found[0].message, found[0].rows) == ("other causes", 49 - causes.MOST_CAUSES)


def test_reading_stops_when_its_time_is_over():
    found = grouped((failed(str(number), "bad") for number in range(5000)), -math.inf)
    assert (found.looked_at, found.is_all) == (999, False)


def test_a_file_that_is_no_file_of_results_is_a_value_error(tmp_path):
    (tmp_path / "results.jsonl").write_text('{"key": 1}\n')
    with pytest.raises(ValueError, match="key"):
        read_causes(UPath(tmp_path / "results.jsonl"))
