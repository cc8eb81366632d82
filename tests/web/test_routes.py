"""The page's JSON on a real API server: who sees what, and what the filters find."""

from __future__ import annotations

import itertools
import time
from datetime import datetime, timezone

import httpx
import pytest

from airflow_provider_batch.airflow_compat import PAGE_ROUTE
from tests.web.auth import OPEN_DAG
from tests.web.conftest import ASKED
from tests.web.rows import Written, landed, noted


@pytest.fixture(scope="module")
def no_totals_yet():
    """A number of days whose sums the server has not worked out before."""
    days = itertools.count(31)
    return lambda: next(days)


ROUTES = ("/api/batches", "/api/totals", "/api/live", "/api/batch?dag_id=a&run_id=b&task_id=c")


@pytest.mark.parametrize("route", ROUTES)
def test_who_is_not_logged_in_is_told_nothing(server, route):
    with server.client() as anybody:
        assert anybody.get(route).status_code == 401


def test_the_page_itself_allows_its_own_files_and_nothing_else(server):
    with server.client() as anybody:
        page = anybody.get("/")
        policy = page.headers["content-security-policy"]
        assert page.status_code == 200
        assert "default-src 'none'; script-src 'self';" in policy
        assert "unsafe" not in policy
        assert anybody.get("/static/../views.py").status_code == 404


def test_airflow_lists_the_page_in_its_navigation(server):
    headers = {"Authorization": f"Bearer {server.token('editor')}"}
    answer = httpx.get(f"{server.url}/api/v2/plugins", headers=headers, trust_env=False)
    views = [view for plugin in answer.json()["plugins"] for view in plugin["external_views"]]
    (ours,) = [view for view in views if view["url_route"] == PAGE_ROUTE]
    assert (ours["href"], ours["destination"]) == ("gemini-batches/", "nav")


def test_batches_are_listed_with_what_their_tasks_noted(server, batches):
    batches(
        Written("case_once", "r1", value=landed(cost_usd=0.25, counts={"success": 98, "error": 2})),
        Written("case_deferred", "r2", state="deferred", value=noted(model="gemini-2.5-pro")),
    )
    with server.client("viewer") as viewer:
        page = viewer.get("/api/batches").json()
    assert page["total"] == 2
    found = {row["dag_id"]: row for row in page["rows"]}
    assert found["case_once"]["state"] == "partial"
    assert found["case_once"]["cost_usd"] == 0.25
    assert found["case_deferred"]["state"] == "waiting"
    assert found["case_deferred"]["counts"] is None


def test_a_guest_sees_the_batches_of_their_own_dag_only(server, batches):
    batches(
        Written(OPEN_DAG, "r1", value=landed()),
        Written("case_deferred", "r2", value=landed(cost_usd=7.0)),
    )
    with server.client("guest") as guest:
        assert [row["dag_id"] for row in guest.get("/api/batches").json()["rows"]] == [OPEN_DAG]
        assert guest.get("/api/batches", params={"dag": "case_deferred"}).json()["total"] == 0
        assert guest.get("/api/totals").json()["cost_usd"] == 0.5
        where = {"dag_id": "case_deferred", "run_id": "r2", "task_id": "batch"}
        assert guest.get("/api/batch", params=where).status_code == 403
        assert guest.post("/api/batch/cancel", params=where, headers=ASKED).status_code == 403
    with server.client("viewer") as viewer:
        assert viewer.get("/api/totals").json()["cost_usd"] == 7.5


BAD_NOTES = {
    "a text as a time": {"submitted_at": "2026-01-01", "landed_at": "yesterday"},
    "milliseconds": {"submitted_at": 1_790_000_000_000, "landed_at": 1_790_000_000_000},
    "beyond all calendars": {"landed_at": 10**17},
    "beyond 64 bits": {"submitted_at": 10**30, "landed_at": 10**30},
    "words as a cost": {"cost_usd": "much", "rows": "many"},
    "less than nothing": {"cost_usd": -1e9, "rows": -5},
    "an object as a model": {"model": {"a": 1}},
    "a list as a ledger": {"ledger": [1]},
    "a ledger that is none": {"ledger": "nonsense", "landed_at": None},
    "a generation that is none": {"ledger": "/x/_ledger/m/one", "landed_at": None},
}


@pytest.mark.parametrize("case", BAD_NOTES)
def test_a_note_of_another_dag_takes_the_page_from_nobody(server, batches, no_totals_yet, case):
    batches(
        Written("case_once", "good", value=landed()),
        Written("case_deferred", "bad", value=landed() | BAD_NOTES[case]),
    )
    with server.client("viewer") as viewer:
        page = viewer.get("/api/batches", params={"since": 1}).json()
        said = viewer.get("/api/totals", params={"days": no_totals_yet()}).json()
        assert viewer.get("/api/live").status_code == 200
    assert {row["run_id"] for row in page["rows"]} == {"good", "bad"}
    assert said["cost_usd"] >= 0.5
    with server.client("guest") as guest:
        assert guest.get("/api/totals", params={"days": no_totals_yet()}).json()["cost_usd"] == 0.5


@pytest.mark.parametrize("asked", [{"since": 10**30}, {"since": -1}, {"offset": 10**30}])
def test_a_number_beyond_what_a_database_holds_is_refused(server, batches, asked):
    with server.client("viewer") as viewer:
        assert viewer.get("/api/batches", params=asked).status_code == 422


def test_a_batch_behind_an_xcom_backend_is_in_the_weeks_of_its_note(server, batches):
    batches(
        Written("case_once", "new", value="s3://xcoms/new"),
        Written("case_once", "old", value="s3://xcoms/old", at=datetime(2020, 1, 1, tzinfo=timezone.utc)),
    )
    since = int(time.time()) - 30 * 86_400
    with server.client("viewer") as viewer:
        page = viewer.get("/api/batches", params={"since": since}).json()
    assert [row["run_id"] for row in page["rows"]] == ["new"]


FILTERS = {
    "dag": ({"dag": "case_once"}, "a"),
    "model": ({"model": "gemini-2.5-pro"}, "b"),
    "connection": ({"connection": "other"}, "c"),
    "active": ({"state": "active"}, "b"),
    "failed": ({"state": "failed"}, "c"),
    "text": ({"text": "ONCE"}, "a"),
    "text is no pattern": ({"text": "c_se%"}, ""),
    "two": ({"state": "done", "model": "gemini-2.5-pro"}, ""),
}


@pytest.mark.parametrize("case", FILTERS)
def test_a_filter_finds_the_batches_that_it_names(server, batches, case):
    batches(
        Written("case_once", "a", value=landed()),
        Written("case_deferred", "b", state="deferred", value=noted(model="gemini-2.5-pro")),
        Written("case_deferred", "c", state="failed", value=noted(conn_id="other")),
    )
    asked, found = FILTERS[case]
    with server.client("viewer") as viewer:
        page = viewer.get("/api/batches", params=asked).json()
    assert [row["run_id"] for row in page["rows"]] == list(found)
    assert page["total"] == len(found)


WHERE = {"dag_id": "case_once", "run_id": "r1", "task_id": "batch"}


@pytest.mark.parametrize(
    "parameters",
    [
        WHERE | {"map_index": 10**30},
        WHERE | {"map_index": -2},
        WHERE | {"map_index": "NaN"},
        WHERE | {"run_id": "a\0b"},
        WHERE | {"task_id": "x" * 5_000},
        WHERE | {"task_id": ""},
        {"dag_id": "case_once"},
    ],
)
def test_what_no_batch_can_be_is_refused_by_the_button_too(server, parameters):
    with server.client("editor") as editor:
        answer = editor.post("/api/batch/cancel", params=parameters, headers=ASKED)
    assert answer.status_code in (400, 404, 422)


@pytest.mark.parametrize(
    ("route", "parameters"),
    [
        ("/api/batch", WHERE | {"map_index": 10**30}),
        ("/api/batch", WHERE | {"map_index": 2**31}),
        ("/api/batch", WHERE | {"map_index": -2}),
        ("/api/batch", WHERE | {"map_index": "NaN"}),
        ("/api/batch", WHERE | {"run_id": "a\0b"}),
        ("/api/batch", WHERE | {"task_id": "x" * 5_000}),
        ("/api/batch", {"dag_id": "case_once"}),
        ("/api/batches", {"dag": "a\0b"}),
        ("/api/batches", {"text": "\0"}),
        ("/api/batches", {"model": "m" * 300}),
        ("/api/batches", {"since": 10**30}),
        ("/api/batches", {"offset": 10**30}),
        ("/api/batches", {"limit": "1e3"}),
        ("/api/totals", {"days": 10**30}),
        ("/api/totals", {"days": "NaN"}),
    ],
)
def test_what_no_database_can_be_asked_is_refused_as_a_mistake_of_the_caller(server, route, parameters):
    with server.client("viewer") as viewer:
        assert viewer.get(route, params=parameters).status_code in (400, 404, 422)
