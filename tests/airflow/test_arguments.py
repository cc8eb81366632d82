"""Arguments as Airflow's users pass them, on a real Airflow: what it resolves, renders, and hands over by XCom."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timezone

import pytest

from tests.airflow.conftest import BEFORE_3_2, ask


@pytest.fixture
def given(run_dag, tmp_path):
    """Run one of the DAGs of arguments over two rows; the results go to ``given.folder``."""
    source = tmp_path / "requests.jsonl"
    source.write_text("".join(json.dumps({"key": key, "request": ask(key)}) + "\n" for key in "ab"))

    def run(name, **conf):
        where = {"requests": str(source), "result_path": str(run.folder)}
        return run_dag("dags/arguments.py", name, **where | conf)

    run.folder = tmp_path / "results"
    return run


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    with closing(sqlite3.connect(tmp_path / "db")) as db, db:
        db.execute("CREATE TABLE reviews (id INTEGER, text TEXT, day TEXT)")
        db.executemany("INSERT INTO reviews VALUES (?, ?, ?)", [(1, "old", "monday"), (2, "new", "wednesday")])
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "db")}))


@pytest.fixture
def lake(monkeypatch):
    """A connection that a path may name."""
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "generic"}))


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("of_a_dag", "ab"),
        ("from_xcom", "ab"),
        ("out_from_xcom", "ab"),
        ("mapped_rows", "abc"),
        ("inside_rows", "a"),
        ("with_connection", "ab"),
        ("as_objects", "ab"),
        ("called", "ab"),
    ],
)
def test_whatever_airflow_resolves_is_rows_or_a_path_to_the_operator(given, lake, name, keys):
    run = given(name)
    assert run.state == "success", run.log
    assert set(run.xcom["read"]) == set(keys)
    assert (given.folder / "manifest.json").exists()


@pytest.mark.skipif(BEFORE_3_2, reason="Airflow 3.1 cannot serialize a DAG with such an argument")
def test_the_default_of_a_dag_argument_may_be_a_param(given, tmp_path):
    """Without a conf Airflow gives the object itself."""
    run = given("of_a_dag_with_param")
    assert run.state == "success", run.log


@pytest.mark.matrix
def test_an_argument_of_a_mapped_task_group_is_a_source_of_its_own_batch(given):
    run = given("of_a_group")
    assert run.state == "success", run.log
    assert all((given.folder / index / "manifest.json").exists() for index in "01")


def test_what_stands_inside_a_row_is_resolved_and_its_text_is_not_rendered(given):
    run = given("inside_rows")
    assert "wednesday {{ ds }}" in run.xcom["read"]["a"]


@pytest.mark.matrix
def test_what_stands_inside_a_query_is_waited_for_and_resolved(given, warehouse):
    assert list(given("inside_query").xcom["read"]) == ["2"]


@pytest.mark.matrix
def test_a_query_may_be_a_file_beside_the_dag_as_with_sql_operators(given, warehouse):
    assert list(given("query_file", day="monday").xcom["read"]) == ["1"]


CONF = {"max_cost_usd": "2.5", "timeout": "3600", "on_content_change": "adopt", "dry_run": "False"}


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["rendered", "native"])
def test_a_cap_a_time_and_a_dry_run_may_come_from_the_run(given, name):
    run = given(name, **CONF)
    assert run.state == "success", run.log
    assert run.xcom["batch"]["counts"] == {"success": 2}
    assert "max_cost_usd:  2.5" in run.log


@pytest.mark.parametrize(
    ("conf", "what"),
    [
        ({"max_cost_usd": ""}, "AGB-C06 max_cost_usd must be a sum in USD above 0, got ''"),
        ({"max_cost_usd": "None"}, "AGB-C06 max_cost_usd must be a sum in USD above 0, got 'None'"),
        ({"timeout": "soon"}, "AGB-C06 timeout must be a number of seconds"),
        (
            {"on_content_change": "pay"},
            "AGB-C06 failures.on_content_change must be one of",
        ),
        ({"dry_run": "perhaps"}, "AGB-C06 dry_run must be True or False, got 'perhaps'"),
    ],
)
def test_a_rendered_value_that_cannot_be_meant_fails_the_task_at_once(given, gemini_emulator, conf, what):
    run = given("rendered", **CONF | conf)
    assert (run.tasks["batch"], run.tries["batch"]) == ("failed", 1)
    assert what in run.log
    assert gemini_emulator.journal() == []


def test_a_new_payment_may_be_forced_by_the_conf_of_a_cleared_run(given, gemini_emulator, tmp_path):
    at = datetime(2026, 2, 1, tzinfo=timezone.utc)
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"key": "c", "request": ask("c")}) + "\n")
    given("rendered", at=at, **CONF | {"on_content_change": "fail"})
    run = given("rendered", at=at, **CONF | {"requests": str(other), "on_content_change": "cancel_and_resubmit"})
    assert run.state == "success", run.log
    assert [call["call"] for call in gemini_emulator.journal()].count("batches.create") == 2


def test_a_cap_from_the_run_keeps_a_batch_from_being_sent(given, gemini_emulator):
    run = given("rendered", **CONF | {"max_cost_usd": "0.00000001"})
    assert run.tasks["batch"] == "failed"
    assert "AGB-C09 The batch may cost up to" in run.log
    assert gemini_emulator.journal() == []


def test_a_system_prompt_is_rendered_before_it_is_sent(given, gemini_emulator):
    given("rendered", **CONF | {"day": "wednesday"})
    uploads = [path.read_bytes() for path in gemini_emulator.data_dir.rglob("*") if path.is_file()]
    assert any(b'"text":"It is wednesday"' in sent for sent in uploads)


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["async_rows", "async_generator"])
def test_an_async_function_gives_the_rows_of_a_batch(given, name):
    run = given(name)
    assert run.state == "success", run.log
    assert set(run.xcom["read"]) == {"a", "b"}


@pytest.mark.matrix
@pytest.mark.parametrize(("name", "state"), [("skipping", "skipped"), ("failing", "failed")])
def test_a_prompt_function_may_skip_or_fail_its_task(given, gemini_emulator, name, state):
    run = given(name)
    assert (run.tasks["batch"], run.tries["batch"]) == (state, 1), run.log
    assert gemini_emulator.journal() == []
