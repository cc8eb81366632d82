"""Rows from PostgreSQL and back: streamed, in one transaction, and the same however often they are loaded."""

from __future__ import annotations

import json
from contextlib import closing
from functools import partial
from types import SimpleNamespace

import psycopg2
import pytest

from airflow_provider_batch.operators.gemini import GeminiBatchOperator
from airflow_provider_batch.rows.read.tables import QueryRows
from airflow_provider_batch.transfers.gemini import GeminiResultsToSqlOperator

ENDLESS = "SELECT generate_series(1, 10000000000) AS id"
COLUMNS = {"id": "key", "text": "text", "answer": "response", "tokens": "usage.output", "why": "error.message"}


@pytest.fixture
def database(postgres, monkeypatch):
    """A connection to the server with an empty table for answers, and the same as an Airflow connection."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "postgres", **postgres}))
    with closing(psycopg2.connect(**login(postgres))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS answers")
            cursor.execute("CREATE TABLE answers (id text, text text, answer jsonb, tokens int, why text)")
            yield cursor


def login(postgres):
    return {"host": postgres["host"], "user": postgres["login"], "dbname": postgres["schema"]}


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
def test_a_query_without_an_end_gives_its_first_rows_at_once(postgres, driver):
    # Older providers of Airflow come without psycopg.
    connect = partial(pytest.importorskip(driver).connect, options="-c statement_timeout=5000", **login(postgres))
    rows = iter(QueryRows(connect, ENDLESS))
    assert [next(rows).data for _ in range(2)] == [{"id": 1}, {"id": 2}]
    rows.close()


@pytest.fixture
def manifest(connection, gemini_emulator, tmp_path):
    """A landed batch of three rows: a plain answer, one that is hard to store, and an error."""
    parts = [{"text": "a\0b 'quoted' \\u0000 \x1b ü"}]
    odd = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": {}}
    gemini_emulator.add_fault(action="rows", mutation="replace", keys=["odd"], response=odd, times=None)
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["bad"], times=None)
    operator = GeminiBatchOperator(
        task_id="label",
        model="gemini-2.5-flash",
        requests=[{"key": key, "text": "hi"} for key in ("plain", "odd", "bad")],
        prompt="{text}",
        result_path=str(tmp_path / "out"),
        failures={"max_row_attempts": 1},
        deferrable=False,
        poll_interval=1,
    )
    ti = SimpleNamespace(dag_id="dag", task_id="label", run_id="run", map_index=-1, xcom_push=lambda **_: None)
    return operator.execute({"ti": ti})


def load(manifest, **changes):
    settings = {"conn_id": "warehouse", "table": "answers", "columns": COLUMNS, "key_column": "id"} | changes
    return GeminiResultsToSqlOperator(task_id="load", manifest=manifest, **settings).execute({})


def table(cursor):
    cursor.execute("SELECT * FROM answers ORDER BY id")
    return cursor.fetchall()


def test_loading_the_same_results_again_changes_nothing(database, manifest):
    database.execute("INSERT INTO answers (id, text) VALUES ('other', 'mine')")
    assert load(manifest, only=None) == 3
    first = table(database)
    assert [row[0] for row in first] == ["bad", "odd", "other", "plain"]
    assert load(manifest, only=None) == 3
    assert table(database) == first


def test_nul_which_postgresql_cannot_hold_is_replaced_and_all_else_kept(database, manifest):
    load(manifest)
    (odd, _) = table(database)
    said = "a\ufffdb 'quoted' \\u0000 \x1b ü"
    assert odd[1] == said
    assert odd[2]["candidates"][0]["content"]["parts"] == [{"text": said}]


def test_a_row_that_the_table_refuses_leaves_the_table_as_it_was(database, manifest):
    load(manifest)
    before = table(database)
    database.execute("ALTER TABLE answers ADD CHECK (why IS NULL)")
    with pytest.raises(Exception, match="violates check constraint"):
        load(manifest, only=None)
    assert table(database) == before
