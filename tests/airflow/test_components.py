"""With a real scheduler, triggerer and API server: what survives when parts of Airflow die.

The journal of the emulator is the judge: it lists every create that a real account would have been billed for.
"""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

from airflow_provider_batch.emulator.process import running_emulator
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from demo.stack import Airflow
from tests.airflow.apart import statsd

KEY = "canary-7f3a-never-in-a-log"
PATIENCE_S = 90
DAGS = Path(__file__).parents[1] / "dags"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    with running_emulator(tmp_path_factory.mktemp("emulator"), job_seconds=8) as running:
        yield running


@pytest.fixture(scope="module")
def metrics():
    with statsd() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def airflow(emulator, metrics, tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    airflow = Airflow(home, emulator.base_url, home / "lake", DAGS)
    with GeminiClient(Endpoint(ApiKey(KEY), base_url=emulator.base_url)) as client:
        webhook = client.create_webhook(f"{airflow.url}/gemini-batch/webhooks/gemini_default")
    airflow.webhook_secret = webhook.new_signing_secret
    fields = {"conn_type": "gemini", "host": emulator.base_url, "password": KEY}
    fields["extra"] = {"webhook_secret": airflow.webhook_secret}
    airflow.env["AIRFLOW_CONN_GEMINI_DEFAULT"] = json.dumps(fields)
    # The watcher reads the listing every second, which would serve whoever waits on the same connection.
    airflow.env["AIRFLOW_CONN_GEMINI_WATCHED"] = json.dumps(fields | {"extra": {}})
    airflow.env["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "DEBUG"
    airflow.env["AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL"] = "1"
    airflow.env |= metrics.settings
    try:
        airflow.start()
        yield airflow
    finally:
        airflow.stop()


def start(airflow, dag_id, folder):
    rows = [{"key": k, "request": {"contents": [{"parts": [{"text": k}]}]}} for k in "abc"]
    source = folder / "requests.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return airflow.trigger(dag_id, requests=str(source), result_path=str(folder / "results"))


def until(airflow, dag_id, run_id, task_id, *states):
    """Wait until the task is in one of the states; return it."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        task = airflow.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        if task["state"] in states:
            return task
        time.sleep(0.3)
    raise AssertionError(f"{task_id} is {task['state']} after {PATIENCE_S} s")


def creates(emulator):
    return [entry["batch"] for entry in emulator.journal() if entry["call"] == "batches.create"]


def test_a_killed_triggerer_costs_nothing_and_the_task_goes_on(airflow, emulator, tmp_path):
    before = len(creates(emulator))
    run = start(airflow, "case_deferred", tmp_path)
    until(airflow, "case_deferred", run, "batch", "deferred")
    airflow.kill_component("triggerer")
    airflow.start_component("triggerer")
    assert until(airflow, "case_deferred", run, "read", "success", "upstream_failed")["state"] == "success"
    assert len(creates(emulator)) == before + 1


def test_without_a_triggerer_the_scheduler_ends_the_wait_and_the_batch_lands(airflow, emulator, tmp_path):
    before = len(creates(emulator))
    airflow.kill_component("triggerer")
    try:
        run = start(airflow, "case_deferred", tmp_path)
        until(airflow, "case_deferred", run, "batch", "deferred")
        emulator.force_job(creates(emulator)[-1], state="SUCCEEDED")
        # The time that Airflow was given for the wait has passed.
        with closing(sqlite3.connect(airflow.home / "airflow.db", timeout=30)) as db, db:
            db.execute(
                "UPDATE task_instance SET trigger_timeout = '2026-01-01 00:00:00.000000' "
                "WHERE run_id = ? AND trigger_timeout > '2026-01-02'",
                (run,),
            )
            assert db.execute("SELECT changes()").fetchone() == (1,)
        batch = until(airflow, "case_deferred", run, "batch", "success", "failed")
        assert (batch["state"], batch["try_number"]) == ("success", 1)
    finally:
        airflow.start_component("triggerer")
    assert len(creates(emulator)) == before + 1


def test_a_retry_after_a_failed_landing_pays_for_no_second_job(airflow, emulator, tmp_path):
    before = len(creates(emulator))
    emulator.add_fault(call="files.download", action="status", status=400, times=1)
    run = start(airflow, "case_deferred_retry", tmp_path)
    batch = until(airflow, "case_deferred_retry", run, "batch", "success", "failed")
    assert (batch["state"], batch["try_number"]) == ("success", 2)
    assert len(creates(emulator)) == before + 1


def test_metrics_count_each_job_of_workers_once_and_never_its_retries(airflow, metrics, tmp_path):
    metrics.received()
    run = start(airflow, "case_deferred", tmp_path)
    until(airflow, "case_deferred", run, "batch", "success", "failed")
    lines = metrics.received()
    (task,) = (airflow.home / "logs").glob(f"**/run_id={run}/task_id=batch/attempt=1.log")
    airflow.clear("case_deferred", run, "batch")
    until(airflow, "case_deferred", run, "read", "success", "failed")
    tags = "dag_id=case_deferred,task_id=batch,model=gemini-2.5-flash"
    assert [line for line in lines if "submitted" in line] == [f"gemini_batch.submitted,{tags}:1|c"]
    assert [line for line in lines if "landed" in line] == [f"gemini_batch.landed,{tags}:1|c"]
    assert metrics.received() == []
    assert "::group::Landing" in task.read_text()


def test_dags_start_when_a_batch_has_ended_and_when_its_results_have_landed(airflow, emulator, tmp_path):
    run = start(airflow, "case_outlet", tmp_path)
    assert until(airflow, "case_outlet", run, "batch", "success", "failed")["state"] == "success"
    assert results_of(airflow, "on_landed", "read_landed") == [{"a": "success", "b": "success", "c": "success"}]
    assert creates(emulator)[-1] in chain(*results_of(airflow, "on_ended", "note_ended"))


def results_of(airflow, dag_id, task_id):
    """What the task returned in each run of the DAG, as soon as there is one and all are over."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        runs = airflow.get(f"/dags/{dag_id}/dagRuns")["dag_runs"]
        if runs and all(run["state"] == "success" for run in runs):
            place = "/dags/{}/dagRuns/{}/taskInstances/{}/xcomEntries/return_value"
            return [airflow.get(place.format(dag_id, run["dag_run_id"], task_id))["value"] for run in runs]
        time.sleep(0.5)
    raise AssertionError(f"no run of {dag_id} has succeeded after {PATIENCE_S} s: {runs}")


def looks(emulator, job):
    return [r for r in emulator.requests() if r["method"] == "GET" and r["path"].endswith(job)]


def later(emulator, job, count):
    """Wait for a look beyond so many; return how long that took."""
    began = time.monotonic()
    while len(looks(emulator, job)) <= count:
        assert time.monotonic() < began + PATIENCE_S
        time.sleep(0.05)
    return time.monotonic() - began


def test_a_webhook_ends_a_wait_that_would_have_looked_much_later(airflow, emulator, tmp_path):
    emulator.add_fault(action="job", state="STUCK", times=1)
    run = start(airflow, "case_seldom", tmp_path)
    until(airflow, "case_seldom", run, "batch", "deferred")
    job = creates(emulator)[-1]
    later(emulator, job, 0)
    # A job that old is looked at every 600 s; only the look that finds it out comes sooner.
    emulator.advance_clock(12 * 3600)
    later(emulator, job, len(looks(emulator, job)))
    count = len(looks(emulator, job))
    emulator.force_job(job, state="SUCCEEDED")
    took_s = later(emulator, job, count)
    print(f"The webhook had the job looked at after {took_s:.1f} s.")
    assert took_s < 20
    assert until(airflow, "case_seldom", run, "read", "success", "upstream_failed")["state"] == "success"


def test_the_key_is_in_no_log_and_no_database(airflow, emulator):
    files = [p for folder in (airflow.home, emulator.data_dir) for p in folder.rglob("*") if p.is_file()]
    assert any(p.name == "airflow.db" for p in files)
    assert any(p.suffix == ".log" for p in files)
    assert [p for p in files if KEY.encode() in p.read_bytes()] == []
    secret, ours = airflow.webhook_secret.encode(), [p for p in files if p.is_relative_to(airflow.home)]
    assert [p for p in ours if secret in p.read_bytes()] == []
