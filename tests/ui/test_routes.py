"""The page's JSON on a real API server: who sees what, and what the filters find."""

from __future__ import annotations

import httpx
import pytest

from airflow_provider_batch.airflow_compat import PAGE_ROUTE
from tests.ui.auth import OPEN_DAG
from tests.ui.conftest import ASKED
from tests.ui.rows import Written, glance, landed

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
        Written("case_deferred", "r2", state="deferred", value=glance(model="gemini-2.5-pro")),
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
        Written("case_deferred", "b", state="deferred", value=glance(model="gemini-2.5-pro")),
        Written("case_deferred", "c", state="failed", value=glance(conn_id="other")),
    )
    asked, found = FILTERS[case]
    with server.client("viewer") as viewer:
        page = viewer.get("/api/batches", params=asked).json()
    assert [row["run_id"] for row in page["rows"]] == list(found)
    assert page["total"] == len(found)
