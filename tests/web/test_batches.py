"""Batches that tasks have really run: their ledgers, their progress, and the button that ends them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.models.connection import Connection
from airflow.models.log import Log
from airflow.utils.session import create_session
from sqlalchemy import delete, select

from tests.web.conftest import ASKED
from tests.web.rows import Written, landed, noted

ATTACK = "<img src=x onerror=alert(1)>"


@pytest.fixture
def stored_connection(gemini_emulator, server):
    """Have the API server find connections in Airflow's database."""

    def store(conn_id="gemini_default", **fields):
        said = {"conn_type": "gemini", "host": gemini_emulator.base_url, "password": "test-key"} | fields
        with create_session(scoped=False) as session:
            session.execute(delete(Connection).where(Connection.conn_id == conn_id))
            session.add(Connection(conn_id=conn_id, **said))

    yield store
    with create_session(scoped=False) as session:
        session.execute(delete(Connection))


@pytest.fixture
def look(server, batches):
    """Ask for the details of the only batch there is."""

    def ask(user="viewer"):
        with server.client(user) as client:
            (row,) = client.get("/api/batches").json()["rows"]
            answer = client.get("/api/batch", params=named(row))
            assert answer.status_code == 200, answer.text
            return answer.json()

    return ask


def audited():
    """What Airflow's audit log says about cancelled batches. It is empty afterwards."""
    with create_session(scoped=False) as session:
        found = session.scalars(select(Log).where(Log.event == "gemini_batch_cancel")).all()
        said = [(entry.dag_id, entry.owner, json.loads(entry.extra)) for entry in found]
        session.execute(delete(Log).where(Log.event == "gemini_batch_cancel"))
    return said


def named(row):
    return {name: row[name] for name in ("dag_id", "run_id", "task_id", "map_index")}


def test_a_batch_that_a_task_has_run_shows_what_its_ledger_says(case, look, gemini_emulator):
    fault = {"action": "rows", "mutation": "error", "times": None}
    gemini_emulator.add_fault(**fault, keys=[ATTACK], error={"code": 3, "message": f"row 7 {ATTACK}"})
    gemini_emulator.add_fault(**fault, keys=["b"], error={"code": 3, "message": f"row 9 {ATTACK}"})
    run = case("deferred", "a", "b", ATTACK)
    said = look()
    row = said["row"]
    assert (row["state"], row["counts"], row["jobs"]) == ("partial", {"success": 1, "error": 2}, 1)
    assert row["cost_usd"] == run.xcom["batch"]["cost_usd"]
    assert row["landed_at"] - row["submitted_at"] < 60
    kinds = [event["kind"] for event in said["history"]]
    assert kinds == ["plan", "uploaded", "sent", "accepted", "landed", "published"]
    ((shard,),) = [round_["shards"] for round_ in said["rounds"]]
    assert (shard["rows"], shard["state"], shard["cost_usd"]) == (3, "succeeded", row["cost_usd"])
    (cause,) = said["causes"]
    assert (cause["rows"], {*cause["keys"]}, cause["message"]) == (2, {"b", ATTACK}, f"row 9 {ATTACK}")
    assert said["estimate"]["batch_usd"]["least"] > 0
    assert (said["trouble"], said["may_cancel"]) == ("", False)


def test_what_a_task_notes_is_small_and_holds_no_secret(case, batches, airflow_db):
    case("deferred", "a")
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        notes = dict(session.execute(select(XComModel.key, XComModel.value)).all())
    text = json.dumps(notes["gemini_batch"])
    assert len(text) < 1024
    assert "test-key" not in text
    assert notes["_link_gemini_batch"].endswith("&task_id=batch&map_index=-1")
    assert notes["_link_gemini_results"] == f"{notes['_link_gemini_batch']}&show=results"


def test_a_failed_batch_is_listed_with_what_has_landed(case, look, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["a"], error={"code": 3}, times=None)
    run = case("partial", "a", "b")
    assert run.tasks["batch"] == "failed"
    row = look()["row"]
    assert (row["state"], row["counts"]) == ("failed", {"success": 1, "error": 1})


@pytest.fixture
def left_running(case, stored_connection, gemini_emulator):
    """A batch whose task has given up waiting; its job runs on."""
    stored_connection()
    gemini_emulator.add_fault(action="job", state="STUCK")
    run = case("short", "a", "b")
    assert run.tasks["batch"] == "failed"
    (job,) = [call["batch"] for call in gemini_emulator.journal() if call["call"] == "batches.create"]
    return job


def test_the_api_is_asked_about_jobs_that_nobody_has_landed(batches, left_running, server):
    with server.client("viewer") as viewer:
        said = viewer.get("/api/live").json()
    (seen,) = said["batches"]
    assert (seen["state"], seen["jobs"], seen["requests"], said["troubles"]) == ("pending", 1, 2, {})


def test_a_connection_that_cannot_be_asked_is_named_and_not_its_key(batches, stored_connection, server):
    stored_connection("elsewhere", conn_type="http", host="http://127.0.0.1:9", password="hunter2")
    stored_connection("away", host="http://127.0.0.1:9", password="hunter2")
    for conn_id in ("elsewhere", "away", "nowhere"):
        batches(Written("case_once", conn_id, state="deferred", value=noted(conn_id=conn_id)))
    with server.client("viewer") as viewer:
        said = viewer.get("/api/live")
    troubles = said.json()["troubles"]
    assert {*troubles} == {"elsewhere", "away", "nowhere"}
    assert troubles["elsewhere"] == "There is no connection 'elsewhere' of type gemini"
    assert "hunter2" not in said.text


def test_neither_a_viewer_nor_another_site_can_cancel(batches, left_running, look, server, gemini_emulator):
    said = look("viewer")
    assert said["may_cancel"] is False
    with server.client("viewer") as viewer:
        assert viewer.post("/api/batch/cancel", params=named(said["row"]), headers=ASKED).status_code == 403
    with server.client() as anybody:
        assert anybody.post("/api/batch/cancel", params=named(said["row"]), headers=ASKED).status_code == 401
    with server.client("editor") as editor:
        # What another site can make the browser of an editor send.
        for headers in ({}, ASKED | {"Sec-Fetch-Site": "cross-site"}):
            answer = editor.post("/api/batch/cancel", params=named(said["row"]), headers=headers)
            assert answer.status_code == 403
    assert "batches.cancel" not in [call["call"] for call in gemini_emulator.requests()]


def test_an_editor_cancels_and_the_ledger_says_who_did(batches, left_running, look, server, gemini_emulator):
    said = look("editor")
    assert said["may_cancel"] is True
    with server.client("editor") as editor:
        answer = editor.post("/api/batch/cancel", params=named(said["row"]), headers=ASKED)
    assert answer.json() == {"jobs": [left_running]}
    note = json.loads((Path(said["row"]["ledger"]) / "r1.cancel.json").read_text())
    assert (note["by"], note["why"]) == ("editor", "cancelled in Airflow's UI by editor")
    assert "cancel" in [event["kind"] for event in look()["history"]]
    assert audited() == [("case_short", "editor", {"jobs": [left_running]})]


def test_a_refused_cancel_is_noted_audited_and_told(batches, left_running, look, server, gemini_emulator):
    gemini_emulator.add_fault(action="status", call="batches.cancel", status=403, times=None)
    row = look()["row"]
    with server.client("editor") as editor:
        answer = editor.post("/api/batch/cancel", params=named(row), headers=ASKED)
    assert answer.status_code == 502
    assert f"1 of its jobs may run on: {left_running} was not asked to end." in answer.json()["detail"]
    assert (Path(row["ledger"]) / "r1.cancel.json").exists()
    ((dag_id, who, said),) = audited()
    assert (dag_id, who, said["jobs"]) == ("case_short", "editor", [])
    assert left_running in said["trouble"]


def test_a_batch_that_has_landed_cannot_be_cancelled(case, look, server):
    case("deferred", "a")
    row = look()["row"]
    with server.client("editor") as editor:
        assert editor.post("/api/batch/cancel", params=named(row), headers=ASKED).status_code == 409


def test_a_note_that_points_at_the_ledger_of_another_dag_shows_nothing_of_it(case, look, batches, server):
    case("deferred", "a")
    theirs = look()["row"]
    batches(Written("case_once", "r1", state="deferred", value=landed(ledger=theirs["ledger"])))
    where = {"dag_id": "case_once", "run_id": "r1", "task_id": "batch"}
    with server.client("editor") as editor:
        said = editor.get("/api/batch", params=where).json()
    assert said["trouble"] == "The ledger is not of this DAG run."
    assert (said["history"], said["places"]) == ([], {})


def test_a_ledger_that_the_server_cannot_reach_leaves_what_the_task_noted(look, batches):
    batches(Written("case_once", "r1", value=landed(cost_usd=0.125)))
    said = look()
    assert "The API server must reach the result path" in said["trouble"]
    assert said["row"]["cost_usd"] == 0.125


def test_results_that_another_task_has_landed_belong_to_the_batch(look, batches):
    note = noted()
    batches(
        Written("case_once", "r1", value=note),
        Written("case_once", "r1", task_id="fetch", value=landed(**note), key="gemini_batch_landed"),
    )
    row = look()["row"]
    assert (row["state"], row["landed_by"], row["cost_usd"]) == ("landed", "fetch", 0.5)


def test_a_note_that_an_xcom_backend_keeps_elsewhere_is_listed_all_the_same(look, batches):
    batches(Written("case_once", "r1", value="s3://xcoms/somewhere"))
    said = look()
    assert (said["row"]["state"], said["row"]["model"]) == ("submitted", "")
    assert said["trouble"] == "What the task noted is kept by an XCom backend."


def test_a_trial_is_shown_as_single_calls_with_its_estimate_and_the_cost_by_way(case, look):
    run = case("tried", *"abcdefgh")
    said = look()
    trial, first = said["rounds"]
    assert (trial["kind"], trial["number"], trial["rows"], first["kind"]) == ("trial", 0, 2, "batch")
    ((line,), (shard,)) = trial["calls"], trial["shards"]
    assert (line["way"], line["rows"], line["lost_calls"]) == ("flex", 2, 0)
    assert (shard["job"], shard["state"]) == (None, "answered")
    assert first["calls"] == []
    ways = run.xcom["batch"]["ways"]
    assert {way: of["rows"] for way, of in ways.items()} == {"batch": 6, "flex": 2}
    assert (said["bill"]["ways"], line["cost_usd"]) == (ways, ways["flex"]["cost_usd"])
    assert (said["bill"]["rescue_extra_usd"], said["phase"]) == (None, "")
    assert said["trial"]["rows_tried"] == 2
    assert said["trial"]["usd"]["least"] > 0
    titles = [event["title"] for event in said["history"]]
    assert titles[:2] == ["Planned", "Trial"]
    assert titles.index("Trial landed") < titles.index("Estimate by the trial") < titles.index("Accepted")


def test_a_batch_of_jobs_alone_has_no_cost_by_way(case, look):
    case("deferred", "a")
    said = look()
    assert (said["bill"], said["trial"], said["phase"]) == (None, None, "")


def test_a_rescue_is_shown_as_one_with_the_jobs_that_were_ended(case, look, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    case("late_answered", "a", "b")
    said = look()
    first, rescue = said["rounds"]
    assert (first["kind"], first["cancelled"]) == ("batch", True)
    assert (rescue["kind"], rescue["number"], rescue["shards"][0]["job"]) == ("rescue", 2, None)
    assert [(line["way"], line["rows"]) for line in rescue["calls"]] == [("flex", 2)]
    assert said["bill"]["rescue_extra_usd"] == 0.0
    (told,) = [event["text"] for event in said["history"] if event["kind"] == "rescue"]
    assert told == "the jobs were late: 2 rows are answered by single calls"
    assert (said["row"]["state"], said["row"]["jobs"], said["row"]["counts"]) == ("landed", 1, {"success": 2})
