"""What OpenLineage is told about batches."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from airflow_provider_batch.observability.openlineage import dataset_name
from airflow_provider_batch.operators.fetch import GeminiBatchFetchResultsOperator
from airflow_provider_batch.rows.read.tables import SqlQuery
from airflow_provider_batch.transfers.gemini import GeminiResultsToSqlOperator
from tests.airflow.apart import run_apart
from tests.airflow.tries import batch_of, run_try

pytest.importorskip("airflow.providers.openlineage")


@pytest.mark.parametrize(
    ("uri", "namespace", "name"),
    [
        ("/data/rows.jsonl", "file", "/data/rows.jsonl"),
        ("/data/day=*/rows-?.jsonl", "file", "/data"),
        ("/data/", "file", "/data"),
        ("file:///data/rows.csv", "file", "/data/rows.csv"),
        ("s3://my_conn@shop/photos/a.parquet", "s3://shop", "photos/a.parquet"),
        ("s3a://shop/photos/*.jsonl", "s3://shop", "photos"),
        ("s3://shop", "s3://shop", "/"),
        ("gcs://lake/rows/", "gs://lake", "rows"),
        ("abfss://box@acme.dfs.core.windows.net/a", "abfss://box@acme.dfs.core.windows.net", "a"),
        ("hdfs://node:8020/rows.jsonl", "hdfs://node:8020", "/rows.jsonl"),
        ("https://user:secret@host/rows.csv?sig=secret", "https://host", "rows.csv"),
    ],
)
def test_paths_are_named_as_openlineage_names_them_without_secrets(uri, namespace, name):
    assert dataset_name(uri) == (namespace, name)


@pytest.mark.matrix
def test_a_run_tells_its_input_results_and_what_it_cost(airflow_db, connection, tmp_path):
    events = tmp_path / "events.jsonl"
    transport = json.dumps({"type": "file", "log_file_path": str(events), "append": True})
    log = run_apart("case_deferred", tmp_path, {"AIRFLOW__OPENLINEAGE__TRANSPORT": transport}, "a", "b", "c")
    told = [json.loads(line) for line in events.read_text().splitlines()]
    of_batch = [event for event in told if event["job"]["name"] == "case_deferred.batch"]
    started, ended = of_batch[0], of_batch[-1]
    assert (started["eventType"], ended["eventType"]) == ("START", "COMPLETE"), log
    assert places(started["inputs"]) == places(ended["inputs"]) == [("file", f"{tmp_path}/requests.jsonl")]
    assert places(ended["outputs"]) == [("file", f"{tmp_path}/results/results.jsonl")]
    facet = ended["run"]["facets"]["gemini_batch"]
    manifest = json.loads((tmp_path / "results/manifest.json").read_text())
    assert facet["jobs"] == [manifest["job_name"]]
    assert facet["rowsByStatus"] == {"success": 3}
    assert facet["tokens"] == manifest["tokens"]
    assert (facet["costUsd"], facet["standardUsd"]) == (manifest["cost_usd"], manifest["standard_usd"])
    assert (facet["model"], facet["rounds"], facet["rows"]) == ("gemini-2.5-flash", 1, 3)
    assert facet["ledgerUri"] == manifest["ledger_uri"]
    assert "ways" not in facet
    assert facet["_schemaURL"].endswith("1-0-1:GeminiBatchRunFacet")
    assert "hello" not in json.dumps(of_batch)


def places(datasets):
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def test_a_task_that_failed_tells_what_was_sent_and_no_cost_that_is_unknown(connection, tmp_path, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="BATCH_STATE_FAILED", times=None)
    operator = batch_of(tmp_path, "ab", failures={"max_row_attempts": 1})
    with pytest.raises(Exception, match="AGB-J01"):
        run_try(operator)
    told = operator.get_openlineage_facets_on_failure(None)
    assert told.run_facets["gemini_batch"].rowsByStatus == {"error": 2}
    assert [dataset.name for dataset in told.outputs] == [
        f"{tmp_path}/out/results.jsonl",
        f"{tmp_path}/out/failed.jsonl",
    ]
    assert told.inputs == []


def test_an_unknown_price_is_left_out_and_never_zero(connection, tmp_path):
    operator = batch_of(tmp_path, "ab", model="gemini-1.0-unpriced", wait_for_completion=False)
    before = operator.get_openlineage_facets_on_complete(None)
    assert before.run_facets == {}
    operator = batch_of(tmp_path, "ab", wait_for_completion=False)
    submission = run_try(operator)
    facet = operator.get_openlineage_facets_on_complete(None).run_facets["gemini_batch"]
    assert (facet.jobs, facet.jobCount) == ([submission["job_name"]], 1)
    assert (facet.costUsd, facet.standardUsd, facet.tokens, facet.rowsByStatus) == (None, None, None, None)


def test_single_calls_are_told_by_way(connection, tmp_path):
    operator = batch_of(tmp_path, "abcdefgh", trial_rows=2)
    run_try(operator, until_ready=True)
    facet = operator.get_openlineage_facets_on_complete(None).run_facets["gemini_batch"]
    assert {way: of["rows"] for way, of in facet.ways.items()} == {"batch": 6, "flex": 2}
    assert sum(of["cost_usd"] for of in facet.ways.values()) == pytest.approx(facet.costUsd, abs=1e-6)
    assert (facet.rescueExtraUsd, facet.lostCalls, facet.calledAgain, facet.jobsLeftRunning) == (None, 0, 0, 0)


def test_fetching_tells_the_results_too(connection, tmp_path):
    submission = run_try(batch_of(tmp_path, "ab", wait_for_completion=False))
    fetch = GeminiBatchFetchResultsOperator(task_id="fetch", submission=submission)
    assert fetch.get_openlineage_facets_on_complete(None).run_facets == {}
    run_try(fetch, until_ready=True)
    told = fetch.get_openlineage_facets_on_complete(None)
    assert told.run_facets["gemini_batch"].rowsByStatus == {"success": 2}
    assert [dataset.name for dataset in told.outputs] == [f"{tmp_path}/out/results.jsonl"]


@pytest.fixture
def warehouse(postgres, monkeypatch):
    fields = {"conn_type": "postgres", "password": "canary-7f3a"} | postgres
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(fields))


def test_a_query_tells_its_tables_and_no_parameter_or_password(warehouse, tmp_path):
    query = SqlQuery("SELECT id, text FROM reviews WHERE day = %s", "warehouse", ["canary-2b1c"])
    operator = batch_of(tmp_path, "ab", requests=query)
    told = operator.get_openlineage_facets_on_start()
    (table,) = told.inputs
    assert table.namespace.startswith("postgres://")
    assert table.name == "postgres.public.reviews"
    assert "FROM reviews" in told.job_facets["sql"].query
    assert "canary" not in repr(told)


def test_loading_tells_the_results_and_the_table(warehouse, connection, tmp_path):
    manifest = run_try(batch_of(tmp_path, "ab"))
    load = GeminiResultsToSqlOperator(
        task_id="load", manifest=manifest, conn_id="warehouse", table="labels", columns={"id": "key"}
    )
    told = load.get_openlineage_facets_on_start()
    assert [dataset.name for dataset in told.inputs] == [f"{tmp_path}/out/results.jsonl"]
    assert [dataset.name for dataset in told.outputs] == ["postgres.public.labels"]
    assert told.job_facets == {}


def test_a_connection_that_is_missing_costs_the_lineage_of_the_query_only(tmp_path):
    told = batch_of(
        tmp_path, "ab", requests=SqlQuery("SELECT 1", "nowhere"), media={"path": str(tmp_path)}
    ).get_openlineage_facets_on_start()
    assert [dataset.name for dataset in told.inputs] == [str(tmp_path)]


def test_without_the_provider_nothing_of_openlineage_is_imported():
    code = (
        "import sys\n"
        "import airflow_provider_batch.operators.gemini, airflow_provider_batch.observability.task_log\n"
        "import airflow_provider_batch.observability.openlineage as lineage\n"
        "assert not [name for name in sys.modules if name.startswith('openlineage')]\n"
        "sys.modules['airflow.providers.openlineage'] = None\n"
        "assert lineage.lineage(['/data']) is None\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
