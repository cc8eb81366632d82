"""Each example DAG runs on a real Airflow, on real reviews."""

import csv
import json
import re
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

import psycopg2
import pyarrow
import pytest
from pyarrow import parquet

from airflow_provider_batch import gemini
from airflow_provider_batch.batch.ledger.job_names import JobTag
from airflow_provider_batch.gemini.wire import InlineRequest
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from demo.warehouse import make_warehouse
from tests.docs.blocks import block

REVIEWS = Path(__file__).parents[2] / "example_dags" / "data" / "product_reviews.tsv"
SHIPPED_PRICES = Path(gemini.__file__).with_name("prices.json")
EXAMPLES = sorted(p.stem for p in (Path(__file__).parents[2] / "example_dags").glob("*.py"))


def test_every_example_has_a_test_here():
    assert EXAMPLES == [
        "gemini_batch_bulk_content",
        "gemini_batch_embeddings",
        "gemini_batch_etl",
        "gemini_batch_evaluation",
        "gemini_batch_event_driven",
        "gemini_batch_fan_out",
        "gemini_batch_images",
        "gemini_batch_in_pieces",
        "gemini_batch_nightly",
        "gemini_batch_ready_by",
        "gemini_batch_sweep",
        "gemini_batch_table_to_table",
    ]


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv("GEMINI_BATCH_EXAMPLE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def run_example(run_dag, lake):
    return lambda name, **more: run_dag(f"example_dags/{name}.py", "DAG", **more)


@pytest.fixture
def warehouse(postgres, monkeypatch):
    """A PostgreSQL database with a hundred of the reviews, behind the connection that the example names."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "postgres", **postgres}))
    with closing(connect(postgres)) as db, db, db.cursor() as cursor, REVIEWS.open(newline="") as source:
        cursor.execute("DROP TABLE IF EXISTS reviews, labels")
        cursor.execute("CREATE TABLE reviews (id text PRIMARY KEY, created_on date, text text)")
        cursor.execute(
            "CREATE TABLE labels (id text PRIMARY KEY, sentiment text, created_on date, output_tokens int)"
        )
        reviews = islice(csv.DictReader(source, delimiter="\t", quoting=csv.QUOTE_NONE), 100)
        cursor.executemany(
            "INSERT INTO reviews VALUES (%s, '2026-01-01', %s)", [(r["id"], r["text"]) for r in reviews]
        )
    return lambda sql: rows_of(postgres, sql)


def connect(postgres):
    return psycopg2.connect(host=postgres["host"], user=postgres["login"], dbname=postgres["schema"])


def rows_of(postgres, sql):
    with closing(connect(postgres)) as db, db, db.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def test_new_rows_of_a_table_are_labelled_once_and_their_labels_are_beside_them(run_example, warehouse):
    run = run_example("gemini_batch_table_to_table")
    assert run.state == "success", run.log
    assert run.xcom["load"] == 100
    kinds = "SELECT count(*), count(DISTINCT id), min(created_on)::text FROM labels WHERE sentiment IN "
    assert warehouse(kinds + "('negative', 'neutral', 'positive')") == [(100, 100, "2026-01-01")]


def test_the_next_night_labels_only_what_is_new_or_nothing(run_example, warehouse, gemini_emulator):
    run_example("gemini_batch_table_to_table")
    warehouse("DELETE FROM labels WHERE id IN (SELECT id FROM labels ORDER BY id LIMIT 3)")
    assert run_example("gemini_batch_table_to_table").xcom["load"] == 3
    assert run_example("gemini_batch_table_to_table").tasks == {"label": "skipped", "load": "skipped"}
    assert warehouse("SELECT count(*) FROM labels") == [(100,)]
    created = [entry for entry in gemini_emulator.journal() if entry["call"] == "batches.create"]
    assert len(created) == 2


def test_a_night_that_is_cleared_loads_its_labels_again_and_pays_nothing(run_example, warehouse, gemini_emulator):
    night = datetime(2026, 2, 1, tzinfo=timezone.utc)
    run_example("gemini_batch_table_to_table", at=night)
    warehouse("UPDATE labels SET sentiment = 'wrong'")
    warehouse("INSERT INTO reviews VALUES ('late', '2026-01-01', 'came after the first try')")
    run = run_example("gemini_batch_table_to_table", at=night)
    assert (run.state, run.xcom["load"]) == ("success", 100), run.log
    assert warehouse("SELECT count(*) FROM labels WHERE sentiment = 'wrong'") == [(0,)]
    assert len([entry for entry in gemini_emulator.journal() if entry["call"] == "batches.create"]) == 1


IN_THE_DEMO = pytest.mark.parametrize("gemini_emulator", [{"answers": "demo.answers:answer"}], indirect=True)


@IN_THE_DEMO
@pytest.mark.parametrize("name", ["gemini_batch_bulk_content", "gemini_batch_images"])
def test_an_example_with_a_schema_is_green_with_the_demo_answers(run_example, name):
    run = run_example(name)
    assert run.state == "success", run.log


@IN_THE_DEMO
def test_the_warehouse_of_the_demo_gets_its_labels(run_example, lake, monkeypatch):
    database = lake / "warehouse.db"
    make_warehouse(database)
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(database)}))
    run = run_example("gemini_batch_table_to_table")
    assert (run.state, run.xcom["load"]) == ("success", 100), run.log
    with closing(sqlite3.connect(database)) as db:
        labels = dict(db.execute("SELECT sentiment, count(*) FROM labels GROUP BY sentiment"))
        assert db.execute("SELECT DISTINCT created_on FROM labels").fetchall() == [("2026-01-01",)]
    assert set(labels) == {"negative", "neutral", "positive"}


def test_two_nightly_runs_of_one_day_do_not_meet(run_example):
    night = datetime(2026, 2, 1, tzinfo=timezone.utc)
    assert run_example("gemini_batch_nightly", at=night).state == "success"
    assert run_example("gemini_batch_nightly").state == "success"


def test_the_event_driven_dag_lands_what_another_program_submitted(run_example, lake, connection, gemini_emulator):
    """That a batch starts it is shown with a real triggerer, in test_components."""
    with GeminiBatchHook().get_conn() as client:
        rows = [InlineRequest(request={"contents": [{"parts": [{"text": "hi"}]}]}, key=key) for key in "ab"]
        name = client.create_batch("gemini-2.5-flash", "research.one", requests=rows).name
    gemini_emulator.force_job(name, state="SUCCEEDED")
    run = run_example("gemini_batch_event_driven", job_names=[name])
    assert run.state == "success", run.log
    assert run.xcom["count"] == 2
    (manifest,) = lake.glob("research/*/manifest.json")
    assert json.loads(manifest.read_text())["job_name"] == name


def test_the_event_driven_dag_does_nothing_without_a_batch(run_example):
    run = run_example("gemini_batch_event_driven")
    assert (run.state, run.xcom["ended"], run.tasks["land"]) == ("success", [], "skipped"), run.log


def test_the_nightly_batch_counts_a_hundred_answers(run_example):
    run = run_example("gemini_batch_nightly")
    assert run.state == "success", run.log
    assert run.xcom["report"] == {"success": 100}


def blanked(text):
    """A log without what differs from run to run: its figures and the answers."""
    return re.sub(r"\d[\d.,:]*", "0", re.sub(r'("sentiment": ?)"[a-z]+"', '"sentiment":"…"', text))


def test_a_batch_is_tried_and_in_time(run_example, connection, gemini_emulator):
    connection(extra={"requests_per_minute": 60_000, "tokens_per_minute": 100_000_000})
    run = run_example("gemini_batch_ready_by")
    assert run.state == "success", run.log
    assert sum(run.xcom["count"].values()) == 200
    assert set(run.xcom["count"]) <= {"positive", "neutral", "negative"}
    assert len(gemini_emulator.billed_calls()) == 10
    shown = [block("docs/how-to/ready-by.md", "text", number) for number in (0, 1)]
    assert [line for text in shown for line in text.splitlines() if blanked(line) not in blanked(run.log)] == []


def test_the_chain_labels_every_review_in_its_table(run_example, lake):
    run = run_example("gemini_batch_etl")
    assert run.state == "success", run.log
    assert run.xcom["load"] == 3708
    (database,) = lake.glob("*/reviews.db")
    joined = "SELECT count(*), min(tokens) FROM labels JOIN reviews USING (id) WHERE sentiment IS NOT NULL"
    count, least_tokens = sqlite3.connect(database).execute(joined).fetchone()
    assert count == 3708
    assert least_tokens > 0


def test_photos_are_labelled_small_ones_within_their_rows(run_example, gemini_emulator):
    run = run_example("gemini_batch_images")
    assert run.state == "success", run.log
    assert set(run.xcom["captions"]) == {"chelsea.png", "clock_motion.png", "horse.png", "rocket.jpg"}
    assert all(run.xcom["captions"].values())
    uploads = [entry for entry in gemini_emulator.journal() if entry["call"] == "files.create"]
    assert sorted(entry["sizeBytes"] for entry in uploads[:2]) == [112_525, 240_512]
    assert len(uploads) == 3


def test_models_are_compared_by_how_often_they_agree_with_people(run_example, lake):
    run = run_example("gemini_batch_evaluation")
    assert run.state == "success", run.log
    table = run.xcom["compare"]
    assert {line["model"] for line in table} == {"gemini-2.5-flash-lite", "gemini-2.5-flash", "gemini-2.5-pro"}
    assert all(0 < line["accuracy"] < 1 and line["unusable"] == 0 and line["cost_usd"] > 0 for line in table)
    costs = {line["model"]: line["cost_usd"] for line in table}
    assert costs["gemini-2.5-flash-lite"] < costs["gemini-2.5-flash"] < costs["gemini-2.5-pro"]
    (written,) = lake.glob("evaluation/*/comparison.csv")
    assert len(written.read_text().splitlines()) == 4


def test_every_review_has_a_page_of_the_wanted_form(run_example, lake):
    run = run_example("gemini_batch_bulk_content")
    assert run.state == "success", run.log
    assert run.xcom["write_pages"] == 300
    page = (lake / "pages" / "1.md").read_text()
    assert page.startswith("# ")
    assert "\n+ " in page
    assert "\n- " in page


def test_a_corpus_becomes_vectors_of_one_size_in_a_parquet_file(run_example, lake):
    run = run_example("gemini_batch_embeddings")
    assert run.state == "success", run.log
    (table,) = lake.glob("embeddings/*/vectors/results.parquet")
    assert parquet.read_metadata(table).num_rows == 3708
    assert parquet.read_schema(table).field("vector").type == pyarrow.list_(pyarrow.float32(), 256)
    assert len(set(run.xcom["nearest"])) == 5


def test_partitions_run_by_themselves_and_one_summary_says_what_became_of_them(run_example, gemini_emulator):
    run = run_example("gemini_batch_fan_out")
    assert run.state == "success", run.log
    summary = run.xcom["summary"]
    assert (summary["partitions"], summary["missing"], summary["jobs"]) == (4, 0, 4)
    assert summary["rows"] == {"success": 3708}
    assert summary["cost_usd"] > 0


def test_a_summary_of_costs_that_nobody_knows_is_unknown_and_not_zero(run_example, connection, tmp_path):
    (tmp_path / "prices.json").write_text(json.dumps(json.loads(SHIPPED_PRICES.read_text()) | {"models": []}))
    connection(extra=json.dumps({"prices": str(tmp_path / "prices.json")}))
    run = run_example("gemini_batch_fan_out")
    assert run.state == "success", run.log
    assert run.xcom["summary"]["cost_usd"] is None


def test_the_summary_says_how_many_partitions_are_missing(run_example, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="status", status=400)
    run = run_example("gemini_batch_fan_out")
    assert run.xcom["summary"]["missing"] == 1


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
