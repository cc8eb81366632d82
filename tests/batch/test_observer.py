"""Who is told what happens to remote jobs: each once, however often a task visits its batch."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_batch.batch.decide.call_rules import CallRules
from airflow_provider_batch.batch.observer import Observer
from airflow_provider_batch.batch.sweep import sweep
from airflow_provider_batch.contract import JobState
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.rows.check.shards import ShardLimits


class Notes(Observer):
    """Writes down what it is told."""

    def __init__(self):
        self.chapters, self.jobs, self.bills, self.times, self.called_bills = [], 0, [], [], []

    def chapter(self, title):
        self.chapters.append(title)

    def submitted(self, plan):
        assert plan.model == "gemini-2.5-flash"
        self.jobs += 1

    def landed(self, plan, receipt, turnaround):
        assert plan.identity.dag_id == "dag"
        self.bills.append(receipt)
        self.times.append(turnaround)

    def called(self, plan, receipts, extra_usd):
        self.called_bills.append((receipts, extra_usd))


@pytest.fixture
def notes():
    return Notes()


def test_each_job_is_told_once_however_often_it_is_landed(task, notes):
    task = task.but(observer=notes, limits=ShardLimits(rows=2))
    manifest = task.finish()
    assert task.finish() == manifest
    assert task.but(observer=notes).finish() == manifest
    assert notes.jobs == len(notes.bills) == 2
    assert sum(bill.counts["success"] for bill in notes.bills) == 3
    assert all(time > timedelta(0) for time in notes.times)


def test_a_job_whose_create_answer_was_lost_is_told_once(task, notes, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    task.but(observer=notes).finish()
    assert (notes.jobs, len(notes.bills)) == (1, 1)


def test_rows_sent_again_are_told_with_the_job_that_they_are_in(task, notes, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="BATCH_STATE_EXPIRED")
    task.but(observer=notes).finish()
    assert [bill.state for bill in notes.bills] == [JobState.EXPIRED, JobState.SUCCEEDED]
    assert [sorted(bill.counts) for bill in notes.bills] == [["expired"], ["success"]]


def test_what_a_sweep_lands_is_told_to_it_and_not_to_the_task_again(task, notes):
    swept = Notes()
    task = task.but(observer=notes)
    task.attempt()
    with task.service() as service:
        while not swept.bills:
            sweep(service, [task.folder], GeminiRows(), abandoned_s=0.0, observer=swept)
    task.finish()
    assert (notes.jobs, notes.bills, len(swept.bills)) == (1, [], 1)


def test_chapters_follow_each_other_and_none_stays_open_while_waiting(task, notes):
    task.but(observer=notes).finish()
    told = [title for number, title in enumerate(notes.chapters) if title != notes.chapters[number - 1]]
    assert told == ["Submission", None, "Landing"]


def test_an_observer_that_fails_is_logged_and_costs_no_row(task, caplog):
    class Broken(Observer):
        def submitted(self, plan):
            raise OSError("no receiver")

        landed = finished = submitted

    assert task.but(observer=Broken()).finish().counts == {"success": 3}
    assert "no receiver" in caplog.text


def test_single_calls_are_told_once_by_tier(task, notes):
    calls = CallRules(requests_per_minute=60_000, tokens_per_minute=10_000_000)
    task = task.but(observer=notes, trial_rows=2, calls=calls, may_call=True)
    task.finish()
    task.finish()
    ((receipts, extra_usd),) = notes.called_bills
    assert [(one.way, one.rows, one.counts) for one in receipts] == [("flex", 2, {"success": 2})]
    assert extra_usd is None
    assert [bill.counts for bill in notes.bills] == [{"success": 1}]
