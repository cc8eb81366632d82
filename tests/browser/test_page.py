"""What a person sees and does on the page, in a browser, on a whole Airflow."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from tests.browser.conftest import ERROR, SHOTS, fill, until
from tests.browser.dags.pages import ATTACK

TITLE = "Gemini batches"
QUIET_ERRORS = ("hitl-review", "favicon")
"""What other plugins and the browser itself ask for in vain."""


@pytest.fixture(scope="session")
def runs(stage):
    """A batch that has landed with failures, one that waits, and those of earlier weeks."""
    how = {"action": "rows", "mutation": "error", "times": None}
    stage.emulator.add_fault(**how, keys=[ATTACK, "ticket-0008", "ticket-0017"], error=ERROR)
    passing = {"code": 13, "message": "internal error"}
    stage.emulator.add_fault(**how, keys=["ticket-0050", "ticket-0061"], error=passing)
    fill(stage)
    tickets = stage.run("support_tickets")
    first = stage.jobs(3)
    for job in first:
        stage.emulator.force_job(job, state="SUCCEEDED")
    (again,) = set(stage.jobs(4)) - set(first)
    stage.emulator.force_job(again, state="SUCCEEDED")
    until(lambda: stage.task("support_tickets", tickets)["state"] == "success", 60)
    archive = stage.run("product_archive")
    stage.jobs(6)
    until(lambda: stage.task("product_archive", archive)["state"] == "deferred", 60)
    return {"support_tickets": tickets, "product_archive": archive}


@pytest.fixture
def as_user(stage, tab):
    """Be logged in; the address of the page."""

    def login(name):
        tab.cookie(stage.url, "_token", stage.token(name))
        return f"{stage.url}/gemini-batches/"

    return login


@pytest.fixture
def opened(as_user, tab, runs):
    """Open the detail view of a batch."""

    def open_batch(dag_id, task_id, user="editor"):
        where = {"dag_id": dag_id, "run_id": runs[dag_id], "task_id": task_id, "map_index": -1}
        tab.go(f"{as_user(user)}?{urlencode(where)}")
        tab.until("!!document.querySelector('.timeline')")

    return open_batch


def inside(code):
    """The same in the frame of Airflow's UI."""
    return f"(() => {{ const document = window.frames[0].document; return {code}; }})()"


def errors(tab):
    return [line for line in tab.logged if not any(word in line for word in QUIET_ERRORS)]


def text_of(tab, selector):
    return tab.run(f"document.querySelector({json.dumps(selector)}).innerText")


def click(tab, text, selector="button, a"):
    tab.until(
        f"(() => {{ const found = [...document.querySelectorAll({json.dumps(selector)})]"
        f".find((one) => one.innerText.trim() == {json.dumps(text)}); found?.click(); return !!found; }})()"
    )


def test_after_the_login_the_navigation_leads_to_the_page(stage, runs, tab, shot):
    # Not go: Airflow leads on to the login, perhaps before anybody has seen the address.
    tab.call("Page.navigate", url=f"{stage.url}/plugin/gemini-batches")
    tab.until("!!document.querySelector('input[type=password]')")
    tab.run("document.querySelector('input:not([type=password])').focus()")
    tab.call("Input.insertText", text="viewer")
    tab.run("document.querySelector('input[type=password]').focus()")
    tab.call("Input.insertText", text="viewer-password")
    tab.press("Enter")
    tab.until(inside("document.querySelectorAll('.batches tbody tr').length == 50"))
    tab.logged.clear()
    tab.go(f"{stage.url}/plugin/gemini-batches")
    tab.until(inside("document.querySelectorAll('.batches tbody tr').length == 50"))
    tab.until(inside("document.querySelectorAll('.chart rect').length > 20"))
    shot("in-airflow")
    assert errors(tab) == []


def test_where_the_login_leaves_a_token_in_storage_that_is_enough(stage, runs, tab):
    # The first versions of Airflow 3.1 take no cookie.
    tab.go(f"{stage.url}/gemini-batches/")
    tab.until("document.body.innerText.includes('You are not logged in any more.')")
    tab.run(f"localStorage.setItem('token', {json.dumps(stage.token('viewer'))})")
    tab.call("Page.reload")
    tab.until("document.querySelectorAll('.batches tbody tr').length == 50")
    tab.until("document.querySelectorAll('.chart rect').length > 20")


def test_the_table_shows_running_and_landed_batches(as_user, runs, tab, shot):
    tab.go(as_user("viewer"))
    tab.until("document.querySelectorAll('.batches tbody tr').length == 50")
    tab.until("document.body.innerText.includes('2 jobs pending, 0 of 200 rows')")
    tab.until("document.querySelectorAll('.chart rect').length > 20")
    shot("table")
    first = text_of(tab, ".batches tbody")
    assert "support_tickets / label" in first
    assert "Landed, not all" in first
    assert {*tab.requested} == {one for one in tab.requested if one.startswith(tab.run("location.origin"))}
    assert errors(tab) == []


def test_a_filter_narrows_the_table_and_stays_in_the_address(as_user, runs, tab, shot):
    tab.go(as_user("viewer"))
    tab.until("!!document.querySelector('select[name=model] option:nth-child(3)')")
    choose = "const field = document.querySelector('select[name=state]'); field.value = 'failed';"
    tab.run(f"{{ {choose} field.dispatchEvent(new Event('change')); }}")
    tab.until("[...document.querySelectorAll('.pill')].every((one) => one.innerText == 'Failed')")
    assert "state=failed" in tab.run("location.search")
    shot("filtered")
    tab.call("Page.reload")
    tab.until("[...document.querySelectorAll('.pill')].map((one) => one.innerText).includes('Failed')")
    assert tab.run("document.querySelector('select[name=state]').value") == "failed"
    tab.run("document.querySelector('input[name=text]').focus()")
    tab.call("Input.insertText", text="no such name")
    tab.until("document.querySelector('.empty')?.innerText.startsWith('No batches here')")


def test_the_details_show_the_history_and_the_causes(opened, tab, shot):
    opened("support_tickets", "label")
    shot("details", whole=True)
    shot("details-window")
    timeline = text_of(tab, ".timeline")
    for title in (
        "Planned",
        "Uploaded",
        "Create call",
        "Accepted",
        "Landed, succeeded",
        "Sent again",
        "Published",
    ):
        assert title in timeline
    assert "Round 2" in tab.run("document.body.innerText")
    assert tab.run("!!document.querySelector('.line-chart .mark')")
    assert tab.run("document.querySelector('.cancelling')") is None


def test_what_looks_like_markup_is_shown_as_text(opened, tab):
    opened("support_tickets", "label")
    causes = text_of(tab, ".causes")
    assert ERROR["message"] in causes
    assert ATTACK in causes
    assert tab.run("document.querySelectorAll('main img, main script').length") == 0
    assert tab.run("document.title") == TITLE
    assert errors(tab) == []


def test_the_policy_stops_markup_that_got_in_all_the_same(opened, tab):
    opened("support_tickets", "label")
    tab.run(f"document.querySelector('main').innerHTML = {json.dumps(ATTACK)}")
    tab.until("document.querySelector('main img')?.complete")
    assert tab.run("document.title") == TITLE


def test_it_is_dark_where_airflow_or_the_system_is(stage, as_user, opened, tab, shot):
    tab.dark()
    opened("product_archive", "caption")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(17, 22, 29)"
    shot("running-dark")
    tab.dark(False)
    as_user("viewer")
    tab.go(f"{stage.url}/plugin/gemini-batches")
    tab.until(inside("document.querySelectorAll('.batches tbody tr').length == 50"))
    tab.run("localStorage.setItem('theme', 'dark')")
    tab.call("Page.reload")
    tab.until("document.documentElement.classList.contains('dark')")
    tab.until(inside("document.documentElement.dataset.theme == 'dark'"))
    tab.until(inside("document.querySelectorAll('.chart rect').length > 20"))
    shot("in-airflow-dark")
    tab.run("localStorage.removeItem('theme')")


@pytest.mark.parametrize("view", ["table", "details"])
def test_a_phone_needs_no_sideways_scrolling(as_user, opened, tab, shot, view):
    tab.size(360, 780, phone=True)
    if view == "table":
        tab.go(as_user("viewer"))
        tab.until("document.querySelectorAll('.chart rect').length > 20")
        tab.run("document.querySelector('.filters').scrollIntoView()")
    else:
        opened("support_tickets", "label")
    assert tab.run("document.documentElement.scrollWidth") == 360
    shot(f"phone-{view}")


def test_the_first_of_mapped_tasks_opens_by_a_click(stage, as_user, runs, tab):
    fill(stage, "mapped")
    for number in (0, 1):
        tab.go(f"{as_user('viewer')}?text=mapped")
        tab.until("document.querySelectorAll('.batches tbody tr').length == 2")
        tab.run(f"document.querySelector('button[aria-label*=\"[{number}]\"]').click()")
        tab.until(f"document.querySelector('h1')?.innerText == 'support_tickets / batch [{number}]'")


def test_without_sums_the_list_is_shown_with_a_notice(as_user, runs, tab):
    # More days than the server adds up.
    tab.go(f"{as_user('viewer')}?days=9999")
    tab.until("document.querySelectorAll('.batches tbody tr').length == 50")
    tab.until("document.body.innerText.includes('Sums and charts cannot be shown.')")


def test_the_keyboard_reaches_the_details_and_comes_back(as_user, runs, tab):
    tab.go(f"{as_user('viewer')}?text=support_tickets&days=7")
    tab.until("!!document.querySelector('.batches tbody tr')")
    tab.run("document.querySelector('.batches .open button').focus()")
    tab.press("Enter")
    tab.until("!!document.querySelector('h1 + .where')")
    tab.run("history.back()")
    tab.until("!!document.querySelector('.batches tbody tr')")
    assert tab.run("document.querySelector('input[name=text]').value") == "support_tickets"


def test_the_keyboard_stays_where_it_is_when_the_page_asks_again(as_user, runs, tab, opened):
    at = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
    tab.go(as_user("viewer"))
    tab.until("document.querySelectorAll('.batches tbody tr').length == 50")
    tab.run("document.querySelectorAll('.batches .open button')[7].focus()")
    wanted, table = tab.run(at), "document.querySelector('.batches')"
    tab.run(f"window.before = {table}; dispatchEvent(new Event('popstate'))")
    tab.until(f"{table} != window.before")
    assert wanted.startswith("Details of ")
    assert tab.run(at) == wanted
    opened("product_archive", "caption")
    tab.run("document.querySelector('.where a').focus()")
    tab.run("window.before = document.querySelector('h1'); document.visibilityState")
    tab.until("document.querySelector('h1') != window.before", patience_s=40)
    assert tab.run(at) == "DAG"


def test_links_lead_out_of_the_frame_into_airflow(stage, as_user, runs, tab):
    as_user("viewer")
    where = {"dag_id": "support_tickets", "run_id": runs["support_tickets"], "task_id": "label", "map_index": -1}
    tab.go(f"{stage.url}/plugin/gemini-batches?{urlencode(where)}")
    tab.until(inside("document.querySelector('h1')?.innerText == 'support_tickets / label'"))
    tab.run(inside("document.querySelectorAll('.where a')[2].click()"))
    tab.until("location.pathname.includes('/dags/support_tickets/runs/') && location.pathname.endsWith('/label')")


def test_a_task_links_to_its_batch_and_to_the_results(stage, runs):
    path = f"/api/v2/dags/support_tickets/dagRuns/{runs['support_tickets']}/taskInstances/label/links"
    links = stage.api("GET", path)["extra_links"]
    assert links["Gemini batch"].startswith(f"{stage.url}/plugin/gemini-batches?dag_id=support_tickets&run_id=")
    assert links["Results"] == f"{links['Gemini batch']}&show=results"
    waiting = f"/api/v2/dags/product_archive/dagRuns/{runs['product_archive']}/taskInstances/caption/links"
    assert stage.api("GET", waiting)["extra_links"]["Gemini batch"]


def test_a_viewer_is_offered_no_button_to_cancel(opened, tab):
    opened("product_archive", "caption", user="viewer")
    assert tab.run("document.querySelector('.cancelling')") is None


def test_an_editor_cancels_and_the_task_fails_without_a_retry(stage, runs, opened, tab, shot):
    opened("product_archive", "caption")
    click(tab, "Cancel the batch…")
    shot("cancel")
    click(tab, "Keep running")
    click(tab, "Cancel the batch…")
    click(tab, "Cancel the jobs")
    tab.until("document.querySelector('#news').innerText == '2 jobs were asked to end.'")
    tab.until("document.querySelector('.timeline').innerText.includes(\"cancelled in Airflow's UI by editor\")")
    until(lambda: stage.task("product_archive", runs["product_archive"])["state"] == "failed", 60)
    task = stage.task("product_archive", runs["product_archive"])
    assert (task["try_number"], task["max_tries"]) == (1, 2)
    created = [call for call in stage.emulator.journal() if call["call"] == "batches.create"]
    assert len(created) == 6
    events = stage.api("GET", "/api/v2/eventLogs", params={"event": "gemini_batch_cancel"})["event_logs"]
    assert [(event["dag_id"], event["owner"]) for event in events] == [("product_archive", "editor")]
    tab.call("Page.reload")
    tab.until("!!document.querySelector('.pill.failed')")
    shot("cancelled", whole=True)


@pytest.fixture(scope="session")
def rescued(stage, runs):
    """A batch of which some rows were tried, and the others answered by single calls as its job was late."""
    run_id = stage.run("nightly_labels")
    until(lambda: stage.task("nightly_labels", run_id)["state"] == "success", 120)
    return run_id


def test_a_trial_and_a_rescue_are_shown_as_single_calls_with_their_cost(rescued, runs, opened, tab, shot):
    runs["nightly_labels"] = rescued
    opened("nightly_labels", "label")
    timeline = text_of(tab, ".timeline")
    for said in (
        "Trial",
        "4 rows are answered by single calls before the batch is sent",
        "Estimate by the trial",
        "Rescue",
        "the jobs were late: 8 rows are answered by single calls",
        "Rescue landed",
    ):
        assert said in timeline
    titles = tab.run("[...document.querySelectorAll('h3')].map((one) => one.innerText.split(': $')[0])")
    assert [title.split(" $")[0] for title in titles] == [
        "Trial 4 rows by single calls: 4 flex",
        "Round 1 8 rows in 1 job, asked to end",
        "Round 2: rescue 8 rows by single calls: 8 flex",
    ]
    ways = text_of(tab, "#ways")
    assert "Single calls, flex\t12\t" in ways
    assert "The rescue cost $0.00 more than the same tokens in batch mode." in ways
    assert tab.run("!!document.querySelector('.line-chart .tried')")
    assert "4 rows, a range of 95 %" in text_of(tab, ".pairs")
    assert text_of(tab, ".pill") == "Landed"
    shot("rescued", whole=True)
    tab.size(360, 780, phone=True)
    tab.until("document.documentElement.scrollWidth == 360")
    assert errors(tab) == []


def test_screenshots_of_all_views_were_kept():
    names = {path.stem for path in SHOTS.glob("*.png")}
    assert names >= {"table", "details", "in-airflow", "running-dark", "phone-table", "phone-details", "cancelled"}
