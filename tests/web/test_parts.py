"""What the page adds up and concludes, with literal values."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import datetime, timezone

import pytest
from airflow.utils.session import create_session
from upath import UPath

from airflow_provider_batch.batch.ledger.documents import BatchPlan, Landed, RoundKind, RoundPlan, ShardPlan
from airflow_provider_batch.batch.ledger.job_names import Identity, folder_digest
from airflow_provider_batch.batch.ledger.store import generation
from airflow_provider_batch.batch.state_words import by_task
from airflow_provider_batch.contract import JobSnapshot, JobState
from airflow_provider_batch.errors import LedgerError
from airflow_provider_batch.web import totals
from airflow_provider_batch.web.bounded import Bounded, TookTooLongError
from airflow_provider_batch.web.detail import detail, forget, message_for_page
from airflow_provider_batch.web.live import seen_as
from airflow_provider_batch.web.totals import BOUNDS_S, BatchFigures, noted, summed
from airflow_provider_batch.web.views import Row

NOON = int(datetime(2026, 5, 4, 12, tzinfo=timezone.utc).timestamp())
MARK = "a" * 24


def batch(ledger, took=60, cost=1.0, standard=2.0, landed_at=NOON):
    return BatchFigures(
        "d", ledger, "m", "c", 10, landed_at - took if landed_at else NOON, landed_at, cost, standard
    )


def test_a_batch_counts_once_whichever_task_landed_it():
    said = summed([batch("l1"), batch("l1"), batch("l2", landed_at=None)], 30, {"deferred": 1, "None": 1})
    assert (said.landed, said.rows, said.cost_usd, said.saved_usd, said.active) == (1, 10, 1.0, 1.0, 2)
    assert said.per_day == [("2026-05-04", "m", 1, 1.0, 1.0, 0)]


def test_an_unknown_cost_is_counted_and_not_taken_for_nothing():
    said = summed([batch("l1"), batch("l2", cost=None, standard=None)], 30, {})
    assert (said.cost_usd, said.unknown_costs) == (1.0, 1)


@pytest.mark.parametrize(("took", "place"), [(0, 0), (300, 0), (301, 1), (48 * 3600, 9), (48 * 3600 + 1, 10)])
def test_a_turnaround_falls_below_the_bound_that_it_just_meets(took, place):
    (counts,) = summed([batch("l1", took)], 30, {}).turnaround.values()
    assert counts == [int(at == place) for at in range(len(BOUNDS_S) + 1)]


@pytest.mark.parametrize(
    ("task_state", "counts", "state"),
    [
        ("success", {"success": 2}, "landed"),
        ("success", {"success": 1, "error": 1}, "partial"),
        ("success", None, "submitted"),
        ("failed", {"success": 2}, "failed"),
        ("up_for_retry", None, "retrying"),
        ("deferred", None, "waiting"),
        (None, None, "working"),
        ("removed", None, "skipped"),
    ],
)
def test_the_state_of_a_batch_follows_from_its_task_and_rows(task_state, counts, state):
    assert by_task(task_state, counts).key == state


def job(state, place="r1s1e1", generation=1, **said):
    name = f"agb1.{MARK}.{folder_digest('/lake')}.{'c' * 16}.g{generation}{place}.{'0' * 8}"
    return JobSnapshot("batches/x", state, "", display_name=name, **said)


def seen(*jobs, ledger=f"/lake/_ledger/{MARK}/1"):
    row = Row(
        dag_id="d",
        run_id="r",
        task_id="t",
        state="waiting",
        task_state="deferred",
        try_number=1,
        changed_at=0,
        ledger=ledger,
        folder="/lake",
        task_digest=MARK,
    )
    return seen_as(row, {(MARK, folder_digest("/lake")): list(jobs)})


def test_of_each_shard_the_newest_create_call_counts():
    said = seen(
        job(JobState.FAILED, "r1s1e1", requests=5),
        job(JobState.RUNNING, "r1s1e2", requests=5, succeeded=2),
        job(JobState.SUCCEEDED, "r1s2e1", requests=4, succeeded=3, failed=1),
    )
    assert (said.state, said.jobs, said.requests, said.succeeded, said.failed) == ("running", 2, 9, 5, 1)


def test_rounds_and_generations_before_the_newest_are_passed_over():
    said = seen(job(JobState.FAILED, generation=2), job(JobState.SUCCEEDED), job(JobState.PENDING, "r2s1e1"))
    assert (said.state, said.jobs) == ("pending", 1)
    assert seen(job(JobState.RUNNING, generation=2)) is None


@pytest.mark.parametrize("ledger", ["nonsense", f"/lake/_ledger/{MARK}/one"])
def test_a_ledger_that_is_none_has_no_jobs_and_stops_nobody(ledger):
    assert seen(job(JobState.RUNNING), ledger=ledger) is None


@pytest.mark.parametrize("said", [None, "yesterday", "nan", "inf", "-1", 10**400, "1e300", {}, []])
def test_what_is_no_number_of_a_batch_is_not_added_up(said):
    said_nothing = noted("d", "l", "m", "c", said, said, said, said, said)
    assert said_nothing[4:] == (None,) * 5


def test_numbers_are_taken_as_texts_as_some_databases_give_them():
    assert noted("d", "l", "m", "c", "10", 7, "8", "0.5", 1)[4:] == (10, 7, 8, 0.5, 1.0)


def test_sums_of_the_newest_notes_only_say_that_they_are():
    assert summed([batch("l1")], 30, {}).is_all
    assert not summed([batch("l1")], 30, {}, is_all=False).is_all


def test_sums_are_remembered_for_few_numbers_of_days(airflow_db):
    with create_session(scoped=False) as session:
        for days in range(1, 20):
            totals.totals(session, {"d"}, days)
    assert [*totals._remembered] == [17, 18, 19]


def test_results_are_lost_two_days_after_the_first_job_has_ended():
    ended = datetime(2026, 5, 4, tzinfo=timezone.utc)
    said = seen(job(JobState.SUCCEEDED, ended_at=ended), job(JobState.RUNNING, "r1s2e1"))
    assert said.lost_at == int(ended.timestamp()) + 48 * 3600


def test_many_who_ask_at_once_have_it_worked_out_once():
    asked, go, answers = [], threading.Event(), []
    bounded = Bounded(threads=4, keep_s=60, patience_s=10)

    def work():
        asked.append(1)
        go.wait(10)
        return 7

    waiting = [threading.Thread(target=lambda: answers.append(bounded.get("k", work))) for _ in range(5)]
    for thread in waiting:
        thread.start()
    time.sleep(0.05)
    go.set()
    for thread in waiting:
        thread.join()
    assert (answers, asked) == ([7] * 5, [1])


def test_nobody_waits_longer_than_the_patience_for_what_is_slow():
    go = threading.Event()
    bounded = Bounded(threads=1, keep_s=60, patience_s=0.05)
    with pytest.raises(TookTooLongError):
        bounded.get("k", lambda: go.wait(10))
    go.set()
    assert Bounded.get(bounded, "k", lambda: None) is True


def test_somebody_who_asks_for_many_waits_for_the_slowest_only():
    go = threading.Event()
    bounded = Bounded(threads=3, keep_s=60, patience_s=0.2)
    began = time.monotonic()
    answers = [bounded.begin(number, lambda: go.wait(10)) for number in range(3)]
    until = bounded.patience()
    for answer in answers:
        with pytest.raises(TookTooLongError):
            answer.wait(until)
    assert time.monotonic() - began < 0.55
    go.set()


def test_an_answer_holds_from_the_moment_at_which_it_is_there():
    bounded = Bounded(threads=1, keep_s=1.0, patience_s=0.1)
    go, asked = threading.Event(), []

    def work():
        asked.append(1)
        go.wait(10)
        return 7

    answer = bounded.begin("k", work)
    # Longer than an answer holds.
    with pytest.raises(TookTooLongError):
        answer.wait(time.monotonic() + 1.1)
    go.set()
    answer.wait(time.monotonic() + 10)
    assert (bounded.get("k", work), len(asked)) == (7, 1)


def test_work_that_hangs_keeps_no_process_from_ending():
    code = """
import time
from airflow_provider_batch.web.bounded import Bounded
Bounded(threads=1, keep_s=1, patience_s=1).begin("k", lambda: time.sleep(60))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_a_viewer_is_not_told_what_a_store_said():
    said = PermissionError("https://lake/x?signature=hunter2")
    error = LedgerError(f"The ledger at /x could not be read: PermissionError: {said}")
    # As "raise error from None" leaves it where the store's failure was caught.
    error.__context__ = said
    assert message_for_page(error) == "The ledger at /x could not be read (PermissionError)."
    assert message_for_page(LedgerError("It has no plan.")) == "It has no plan."


def test_a_failure_is_told_to_all_and_forgotten_with_time():
    bounded = Bounded(threads=1, keep_s=0, patience_s=5)
    with pytest.raises(ZeroDivisionError):
        bounded.get("k", lambda: 1 // 0)
    assert bounded.get("k", lambda: 3) == 3


def test_a_reader_of_slow_things_leaves_threads_to_others():
    gate = threading.Event()
    bounded = Bounded(threads=4, keep_s=60, patience_s=0.05)
    for number in range(4):
        with pytest.raises(TookTooLongError):
            bounded.get(("slow", number), gate.wait, "eve")
    assert bounded.get("quick", lambda: "there", "ann") == "there"
    gate.set()
    while bounded._readers:
        time.sleep(0.001)
    assert bounded.get("slow again", lambda: "there", "eve") == "there"


def test_a_batch_whose_rows_are_tried_or_called_now_says_so(tmp_path):
    at = datetime(2026, 5, 4, tzinfo=timezone.utc)
    shard = ShardPlan(file="f", rows=2, size_bytes=1, content="c", tokens=1)
    trial, first, rescue = (
        RoundPlan(kind=kind, shards=(shard,), created_at=at, clock_from=at)
        for kind in (RoundKind.TRIAL, RoundKind.BATCH, RoundKind.RESCUE)
    )
    whose = Identity("d", "t", "r")
    ledger = generation(UPath(tmp_path), whose.task_digest, 1)
    said = {"account": "a", "place": "p", "model": "m", "content": "c", "rows": 4, "size_bytes": 2}
    ledger.put("plan.json", BatchPlan(ledger_version=2, identity=whose, trial=trial, first=first, **said))
    named = {"dag_id": "d", "run_id": "r", "task_id": "t", "state": "working", "task_state": "running"}
    places = {"ledger": str(ledger.folder), "folder": str(tmp_path), "task_digest": whose.task_digest}
    row = Row(**named, **places, try_number=1, changed_at=0)

    def phase():
        forget(row)
        said = detail(row, "somebody")
        assert "trouble" not in said, said
        return said["phase"], [round_["shards"][0]["state"] for round_ in said["rounds"]]

    assert phase() == ("trying some rows", ["being called", "not submitted"])
    ledger.put("r0.s1.landed.json", Landed(at=at, state=JobState.EXPIRED, counts={"success": 1, "expired": 1}))
    assert phase() == ("", ["not all answered", "not submitted"])
    ledger.put("r1.s1.landed.json", Landed(at=at, state=JobState.CANCELLED, counts={"cancelled": 2}))
    ledger.put("r2.plan.json", rescue)
    assert phase() == ("answering rows by single calls", ["not all answered", "cancelled", "being called"])
