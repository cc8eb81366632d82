"""What the end of a batch says to the tasks and DAGs after it: XCom, events of assets, skipping."""

from __future__ import annotations

import json

import pytest

from tests.airflow.conftest import ask


@pytest.fixture
def ended(run_dag, tmp_path):
    """Run one of the DAGs of endings; its XCom and the events of its asset that are new."""
    source = tmp_path / "requests.jsonl"
    source.write_text("".join(json.dumps({"key": key, "request": ask(key)}) + "\n" for key in "ab"))

    def run(name):
        before = len(events())
        done = run_dag("dags/endings.py", name, requests=str(source), result_path=str(tmp_path / "results"))
        done.keys = keys(f"endings_{name}", "batch")
        done.events = events()[before:]
        return done

    return run


def events():
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        return [event.extra for event in session.scalars(select(AssetEvent).order_by(AssetEvent.id))]


def keys(dag_id, task_id):
    """The keys of what the newest run of a task has in XCom."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = select(XComModel.run_id, XComModel.key).where(
            XComModel.dag_id == dag_id, XComModel.task_id == task_id
        )
        pairs = session.execute(found.order_by(XComModel.timestamp)).all()
    return {key for run_id, key in pairs if run_id == pairs[-1][0]}


@pytest.mark.matrix
def test_the_event_of_an_asset_that_is_referred_to_has_the_manifest(ended):
    run = ended("landed")
    assert run.state == "success", run.log
    assert [event["result_uri"] for event in run.events] == [run.xcom["batch"]["result_uri"]]


@pytest.mark.matrix
def test_a_dry_run_skips_what_follows_and_updates_no_asset(ended):
    run = ended("dry")
    assert run.tasks == {"batch": "success", "after": "skipped", "later": "success"}, run.log
    assert run.xcom["batch"]["rows"] == 2
    assert run.events == []


@pytest.mark.matrix
def test_a_batch_that_is_only_submitted_updates_no_asset(ended):
    run = ended("submitted")
    assert run.tasks["batch"] == "success", run.log
    assert run.xcom["batch"]["job_name"].startswith("batches/")
    assert run.events == []


@pytest.mark.matrix
def test_a_second_try_has_the_name_of_the_job_that_the_first_one_sent(ended, gemini_emulator):
    gemini_emulator.add_fault(call="files.download", action="status", status=400, times=1)
    run = ended("landed")
    assert (run.state, run.tries["batch"]) == ("success", 2), run.log
    assert "job_name" in run.keys


@pytest.mark.matrix
def test_a_task_that_is_to_push_nothing_pushes_nothing_of_ours(ended):
    run = ended("silent")
    assert run.tasks["batch"] == "success", run.log
    assert not run.keys & {"return_value", "job_name", "gemini_batch"}
