"""Each example DAG runs on a real Airflow, on real reviews."""

import sqlite3
from pathlib import Path

import pytest

from airflow_provider_batch.engine.identity import JobTag
from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.hooks.gemini import GeminiBatchHook

EXAMPLES = sorted(p.stem for p in (Path(__file__).parents[2] / "example_dags").glob("*.py"))


def test_every_example_has_a_test_here():
    assert EXAMPLES == ["gemini_batch_etl", "gemini_batch_in_pieces", "gemini_batch_nightly", "gemini_batch_sweep"]


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv("GEMINI_BATCH_EXAMPLE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def run_example(run_dag, lake):
    return lambda name: run_dag(f"example_dags/{name}.py", "DAG")


def test_the_nightly_batch_counts_a_hundred_answers(run_example):
    run = run_example("gemini_batch_nightly")
    assert run.state == "success", run.log
    assert run.xcom["report"] == {"success": 100}


def test_the_chain_labels_every_review_in_its_table(run_example, lake):
    run = run_example("gemini_batch_etl")
    assert run.state == "success", run.log
    assert run.xcom["load"] == 3708
    (database,) = lake.glob("*/reviews.db")
    joined = "SELECT count(*), min(tokens) FROM labels JOIN reviews USING (id) WHERE sentiment IS NOT NULL"
    count, least_tokens = sqlite3.connect(database).execute(joined).fetchone()
    assert count == 3708
    assert least_tokens > 0


def test_the_pieces_submit_once_wait_and_fetch(run_example, gemini_emulator):
    run = run_example("gemini_batch_in_pieces")
    assert run.state == "success", run.log
    assert sorted(run.xcom["show"]) == ["Lisbon", "Nairobi", "Osaka"]
    assert [e["call"] for e in gemini_emulator.journal() if e["call"] == "batches.create"] == ["batches.create"]


def test_the_sweep_has_nothing_to_say_after_a_night_in_which_all_went_well(run_example):
    run_example("gemini_batch_nightly")
    run = run_example("gemini_batch_sweep")
    assert run.state == "success", run.log
    assert run.xcom["sweep_results"] == []


def test_the_sweep_fails_while_somebody_should_look(run_example, gemini_emulator):
    with GeminiBatchHook().get_conn() as client:
        name = JobTag("a" * 24, "b" * 8, "c" * 16, 1, 1, 1, 1).new_display_name()
        ask = {"contents": [{"parts": [{"text": "hi"}]}]}
        orphan = client.create_batch("gemini-2.5-flash", name, requests=[InlineRequest(request=ask, key="a")]).name
    run = run_example("gemini_batch_sweep")
    assert run.state == "failed"
    assert f"orphan {orphan}" in run.log
