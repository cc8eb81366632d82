"""Rows from tables, queries and functions, through a whole task on a real Airflow."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from pyarrow import parquet


def calls(emulator, name):
    return [entry for entry in emulator.journal() if entry["call"] == name]


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text("id,text\n1,good\n2,bad {{ ds }}\n")
    return path


def test_a_csv_file_and_a_prompt_become_answers_by_key(case, reviews):
    run = case("table", requests=str(reviews))
    assert run.state == "success", run.log
    assert {key: status for key, (status, _) in run.xcom["read"].items()} == {"1": "success", "2": "success"}
    assert "Rate: bad {{ ds }}" in run.xcom["read"]["2"][1]


def test_an_empty_cell_that_goes_into_the_prompt_is_a_warning_in_the_log(case, reviews, caplog):
    reviews.write_text("id,text\n1,good\n2,\n")
    run = case("table_dry", requests=str(reviews))
    assert "1 rows, the first at line 3: the column 'text' is empty" in run.log + caplog.text


def test_a_bad_row_fails_the_task_before_any_upload(case, reviews, gemini_emulator):
    reviews.write_text("id,text\n1,good\n1,again\n,no key\n")
    run = case("table", requests=str(reviews))
    assert run.tasks["batch"] == "failed"
    assert "AGB-I14 line 3 (key '1')" in run.log
    assert "2 bad rows" in run.log
    assert gemini_emulator.journal() == []


def test_a_dry_run_returns_the_estimate_and_uploads_nothing(case, reviews, gemini_emulator):
    run = case("table_dry", requests=str(reviews))
    assert run.tasks["batch"] == "success", run.log
    said = run.xcom["batch"]
    assert (said["rows"], said["jobs"], "API's count of 2 rows" in said["input_basis"]) == (2, 1, True)
    assert 0 < said["batch_usd"]["least"] < said["batch_usd"]["most"]
    assert gemini_emulator.journal() == []


def test_a_batch_that_may_cost_too_much_fails_without_an_upload(case, reviews, gemini_emulator):
    run = case("table_cheap", requests=str(reviews))
    assert run.tasks["batch"] == "failed"
    assert "AGB-C09 The batch may cost up to USD" in run.log
    assert gemini_emulator.journal() == []


def test_bad_rows_may_be_left_out_counted_and_kept(case, reviews):
    reviews.write_text("id,text\n1,good\n1,again\n3\n")
    run = case("table_skipping", requests=str(reviews))
    assert run.state == "success", run.log
    manifest = run.xcom["batch"]
    assert (manifest["request_count"], manifest["counts"], manifest["skipped"]) == (1, {"success": 1}, 2)
    kept = [json.loads(line) for line in (case.folder / "failed.jsonl").read_text().splitlines()]
    assert [(row["skipped"]["code"], row["skipped"]["place"]) for row in kept] == [
        ("AGB-I14", "line 3"),
        ("AGB-I12", "line 4"),
    ]
    assert kept[0]["row"] == {"id": "1", "text": "again"}


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    """A database with a row for each of two days, behind a connection as a user gives it."""
    with closing(sqlite3.connect(tmp_path / "db")) as db, db:
        db.execute("CREATE TABLE reviews (id INTEGER, text TEXT, day TEXT)")
        db.executemany(
            "INSERT INTO reviews VALUES (?, ?, ?)", [(1, "old", "2020-01-01"), (2, "new", "2026-01-01")]
        )
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "db")}))


def test_a_query_is_rendered_and_its_rows_are_asked(case, warehouse):
    run = case("queried", day="2026-01-01")
    assert run.state == "success", run.log
    assert list(run.xcom["read"]) == ["2"]


def test_a_night_without_new_rows_may_skip_the_task(case, warehouse, gemini_emulator):
    run = case("queried", day="2026-01-02")
    assert run.tasks == {"batch": "skipped", "read": "skipped"}
    assert gemini_emulator.journal() == []


def test_a_function_that_yields_rows_is_a_batch(case, gemini_emulator):
    run = case("decorated", requests="-")
    assert run.state == "success", run.log
    assert set(run.xcom["read"]) == {"r0", "r1", "r2"}
    assert "batch {{ ds }}" in run.xcom["read"]["r0"]
    assert len(calls(gemini_emulator, "batches.create")) == 1


def test_a_query_that_a_function_returns_is_rendered_as_any_other(case, warehouse):
    run = case("decorated_query", day="2026-01-01")
    assert run.state == "success", run.log
    assert list(run.xcom["read"]) == ["2"]


def test_answers_of_an_output_type_are_parsed_and_written_as_parquet(case):
    run = case("typed", "a", "b")
    assert run.state == "success", run.log
    table = parquet.read_table(case.folder / "results.parquet").to_pylist()
    assert all(isinstance(row["parsed_stars"], int) for row in table)
    assert run.xcom["read"] == {"a": "success", "b": "success"}
    assert run.xcom["batch"]["cost_usd"] > 0


def test_texts_become_one_vector_each_of_the_wanted_length(case, reviews, gemini_emulator):
    run = case("embeddings", requests=str(reviews))
    assert run.state == "success", run.log
    assert {key: len(vector) for key, vector in run.xcom["read"].items()} == {"1": 64, "2": 64}
    assert run.xcom["read"]["1"] != run.xcom["read"]["2"]
    (created,) = calls(gemini_emulator, "batches.create")
    assert created["model"].endswith("gemini-embedding-001")
    assert run.xcom["batch"]["tokens"]["input"] == 4


def test_vectors_without_a_token_count_have_an_unknown_cost(case, reviews, gemini_emulator):
    silent = {"embedding": {"values": [0.5] * 64}}
    gemini_emulator.add_fault(action="rows", mutation="replace", response=silent)
    run = case("embeddings", requests=str(reviews))
    assert run.state == "success", run.log
    assert "The cost is unknown: 2 answers have no token count" in run.log


def test_a_vector_of_another_length_than_asked_for_is_asked_for_again(case, reviews, gemini_emulator):
    long = {"embedding": {"values": [0.5] * 3072}, "tokenCount": "7"}
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["2"], response=long)
    run = case("embeddings", requests=str(reviews))
    assert run.state == "success", run.log
    assert {key: len(vector) for key, vector in run.xcom["read"].items()} == {"1": 64, "2": 64}
    assert [call["rows"] for call in calls(gemini_emulator, "batches.create")] == [2, 1]
    # The vector that was of no use is billed, too.
    assert run.xcom["batch"]["tokens"]["input"] == 4 + 7
