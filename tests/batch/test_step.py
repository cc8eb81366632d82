"""What is next, for every state of a ledger: values in, one action out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_batch.batch.decide import actions
from airflow_provider_batch.batch.decide.next_step import next_action, retry_helps
from airflow_provider_batch.batch.decide.policy import Policy
from airflow_provider_batch.batch.decide.visit import Visit
from airflow_provider_batch.batch.ledger.documents import (
    BatchPlan,
    Cancel,
    Extended,
    Landed,
    Outcome,
    Refusal,
    Revoked,
    RoundPlan,
    Sending,
    ShardPlan,
)
from airflow_provider_batch.batch.ledger.job_names import Identity, JobTag
from airflow_provider_batch.batch.ledger.publication import Published
from airflow_provider_batch.batch.ledger.state import Attempt, BatchState, Round, Shard, Upload
from airflow_provider_batch.contract import Absent, CannotTell, Found, JobSnapshot, JobState
from airflow_provider_batch.errors import BatchError

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
NOW = NOON.timestamp()
ROWS = ShardPlan(file="f", rows=3, size_bytes=400, content="c" * 16, tokens=100)


def later(seconds):
    return NOON + timedelta(seconds=seconds)


def attempt(number=1, outcome=None, revoked=None, scans=0, sent_at=NOON, in_flight=0):
    sending = Sending(
        at=sent_at, owner="o", display_name=f"name {number}", input_file="files/a", tokens_in_flight=in_flight
    )
    return Attempt(number, sending, outcome, revoked, scans)


def accepted(job="batches/a"):
    return attempt(outcome=Outcome(at=NOON, job=job))


def refused(kind=Refusal.QUOTA, retry_in=60.0, in_flight=0, at=NOON):
    return attempt(outcome=Outcome(at=at, refusal=kind, retry_at=later(retry_in)), in_flight=in_flight)


def landed(state=JobState.SUCCEEDED, passing=0, undone=0, error_code=0):
    return Landed(
        at=NOON, job="batches/a", state=state, counts={}, passing=passing, undone=undone, error_code=error_code
    )


def shard(*attempts, number=1, done=None, tokens=100):
    return Shard(1, number, ROWS.model_copy(update={"tokens": tokens}), attempts, Upload(0), done)


def batch(*shards, rounds=1, cancel=None, published=None, tidied=False, extended=()):
    plan = RoundPlan(shards=(ROWS,), created_at=NOON, clock_from=NOON)
    last = Round(rounds, plan, shards, cancel, published, tidied, extended=extended)
    head = BatchPlan(
        ledger_version=1,
        identity=Identity("d", "t", "r"),
        account="a",
        model="m",
        content="c" * 16,
        place="p" * 8,
        rows=3,
        size_bytes=400,
        first=plan,
    )
    return BatchState(head, 1, (last,) * rounds, None)


def job(state, name="batches/a", display_name="", done=False):
    return JobSnapshot(name, state, state.name, done=done, display_name=display_name, created_at=NOON)


def seen(*jobs, found=None):
    return Visit({one.name: one for one in jobs}, found, is_timed=True)


NONE_LISTED = seen(found=Absent())


def decide(one, visit=None, now=NOW, **policy):
    return next_action(one, visit or seen(), Policy(**{"job_life_s": 48 * 3600.0, **policy}), now)


def test_rows_that_were_never_sent_are_sent_after_a_look_at_the_listing():
    assert decide(batch(shard())) == actions.List()
    assert decide(batch(shard()), NONE_LISTED) == actions.Send(shard())


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING, JobState.SUCCEEDED])
@pytest.mark.parametrize("last", [(), (refused(Refusal.FINAL, retry_in=0),)], ids=["never sent", "refused"])
def test_a_job_that_no_document_knows_is_adopted_and_its_rows_are_not_sent(last, state):
    one = shard(*last)
    mine = job(state, display_name=batch(one).tag(one, 1).new_display_name())
    assert decide(batch(one), seen(found=Found((mine,)))) == actions.Adopt(one, mine)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED])
def test_a_job_that_ended_without_results_keeps_no_row_from_being_sent(state):
    one = shard(refused(Refusal.FINAL, retry_in=0))
    dead = job(state, display_name=batch(one).tag(one, 1).new_display_name())
    assert decide(batch(one), seen(found=Found((dead,)))) == actions.Send(one)


def test_nothing_is_sent_while_the_listing_cannot_be_read():
    error = BatchError("page 2 failed")
    assert decide(batch(shard()), seen(found=CannotTell(error))) == actions.CannotSend(shard(), error)


def test_a_shard_that_cannot_be_sent_now_keeps_no_other_from_being_sent():
    first, second = shard(), shard(number=2)
    visit = seen(found=Absent())
    visit.not_sent["r1.s1"] = BatchError("503")
    assert decide(batch(first, second), visit) == actions.Send(second)
    visit.not_sent["r1.s2"] = BatchError("503")
    assert decide(batch(first, second), visit).until == NOW + 60
    assert decide(batch(first, second), visit, now=NOW + 86_400) == actions.TimedOut(())


UNTIMED = Visit({"batches/a": job(JobState.RUNNING)}, Absent())


def test_no_deadline_is_judged_before_an_answer_has_said_what_time_it_is():
    running = batch(shard(accepted()))
    assert decide(running, UNTIMED, now=NOW + 99_999, at_timeout="cancel") == actions.AskTime()
    asked = replace(UNTIMED, time_is_asked=True)
    for now in (NOW + 99_999, NOW - 99_999):
        wait = decide(running, asked, now=now, at_timeout="cancel")
        assert (wait.jobs, wait.until) == (("batches/a",), now + 60)


def test_a_wait_for_quota_is_not_over_before_an_answer_has_said_what_time_it_is():
    one = batch(shard(refused(retry_in=60)))
    assert decide(one, Visit(found=Absent()), now=NOW + 7_200) == actions.AskTime()
    wait = decide(one, Visit(found=Absent(), time_is_asked=True), now=NOW + 7_200)
    assert wait.until == NOW + 7_200 + 60


def test_no_round_is_begun_or_left_out_before_an_answer_has_said_what_time_it_is():
    one = batch(shard(done=landed(passing=1)))
    assert decide(one, Visit()) == actions.AskTime()
    assert isinstance(decide(one, Visit(time_is_asked=True), now=NOW + 99_999), actions.Wait)


def test_what_is_complete_is_published_whatever_time_it_is():
    assert decide(batch(shard(done=landed())), Visit()) == actions.Publish()


def test_a_person_who_clears_the_task_gives_its_jobs_new_time():
    running, visit = batch(shard(accepted())), seen(job(JobState.RUNNING))
    late = NOW + 86_400 + 60
    assert decide(running, visit, now=late) == actions.TimedOut(("batches/a",))
    assert decide(running, visit, now=late, is_cleared=True) == actions.Extend(1)
    longer = batch(shard(accepted()), extended=(Extended(at=later(86_460)),))
    assert decide(longer, visit, now=late).deadline == NOW + 86_460 + 86_400 - 60
    assert decide(longer, visit, now=NOW + 48 * 3600, is_cleared=True) == actions.TimedOut(("batches/a",))


def test_an_own_limit_that_is_longer_than_the_life_of_a_job_is_kept():
    longer = batch(shard(accepted()), extended=(Extended(at=later(3_600)),))
    visit = seen(job(JobState.RUNNING))
    assert decide(longer, visit, timeout_s=72 * 3600).deadline == NOW + 72 * 3600


def test_a_job_is_looked_at_before_anything_else_is_done():
    assert decide(batch(shard(accepted()), shard(number=2))) == actions.LookAtJobs(("batches/a",))


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED])
def test_a_job_that_has_ended_is_landed_however_it_ended(state):
    one = shard(accepted())
    assert decide(batch(one), seen(job(state))) == actions.Land(one, job(state))


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING, JobState.UNKNOWN])
def test_a_job_that_runs_is_waited_for(state):
    wait = decide(batch(shard(accepted())), seen(job(state)))
    assert wait == actions.Wait(("batches/a",), (), None, NOW + 86_400)


def test_a_job_that_could_not_be_looked_at_is_waited_for():
    wait = decide(batch(shard(accepted())), Visit({"batches/a": None}, is_timed=True))
    assert wait.jobs == ("batches/a",)


def test_a_job_that_is_done_in_an_unknown_word_is_not_waited_for_and_not_sent_again():
    strange = job(JobState.UNKNOWN, done=True)
    assert decide(batch(shard(accepted())), seen(strange)) == actions.UnknownState(strange)


def test_an_unknown_outcome_is_resolved_by_the_listing_first():
    assert decide(batch(shard(attempt()))) == actions.List()


def test_a_job_of_that_very_call_is_adopted():
    one = shard(attempt(2))
    name = batch(one).tag(one, 2).new_display_name()
    mine, other = job(JobState.RUNNING, display_name=name), job(JobState.RUNNING, "batches/b", "something else")
    assert decide(batch(one), seen(found=Found((other, mine)))) == actions.Adopt(one, mine)


@pytest.mark.parametrize("shown", ["", " d.t", " other_dag.other_task", " cut of"])
def test_a_job_is_adopted_whatever_follows_its_tag(shown):
    one = shard(attempt(2))
    mine = job(JobState.RUNNING, display_name=batch(one).tag(one, 2).new_display_name() + shown)
    assert decide(batch(one), seen(found=Found((mine,)))) == actions.Adopt(one, mine)


def test_a_wait_for_a_name_is_for_its_tag_alone():
    name = JobTag("a" * 24, "b" * 8, "c" * 16, 1, 1, 1, 1).new_display_name(Identity("d", "t", "r"))
    unclear = replace(attempt(), sending=attempt().sending.model_copy(update={"display_name": name}))
    wait = decide(batch(shard(unclear)), seen(found=Absent()), now=NOW + 30)
    assert wait.names == (name.removesuffix(" d.t"),)


def test_a_job_of_an_earlier_call_is_not_taken_for_it():
    one = shard(attempt(2))
    name = batch(one).tag(one, 1).new_display_name()
    found = Found((job(JobState.FAILED, display_name=name),))
    assert isinstance(decide(batch(one), seen(found=found)), actions.Wait)


def test_before_the_evidence_is_due_everybody_waits_for_the_name():
    wait = decide(batch(shard(attempt())), seen(found=Absent()), now=NOW + 30)
    assert (wait.names, wait.until) == (("name 1",), NOW + 120)


def test_after_two_minutes_without_the_job_its_input_is_deleted():
    one = shard(attempt())
    assert decide(batch(one), seen(found=Absent()), now=NOW + 120) == actions.Revoke(one)


def test_a_listing_that_cannot_tell_is_no_evidence_however_late():
    unclear = seen(found=CannotTell(BatchError("page 2 failed")))
    assert isinstance(decide(batch(shard(attempt())), unclear, now=NOW + 9_999), actions.Wait)


def test_an_input_that_cannot_be_deleted_holds_everything_up():
    visit = seen(found=Absent())
    visit.not_revoked.add("r1.s1")
    assert isinstance(decide(batch(shard(attempt())), visit, now=NOW + 9_999), actions.Wait)


@pytest.mark.parametrize(
    ("scans", "minutes", "action"),
    [(0, 6, None), (0, 7, actions.NoteScan), (2, 19, None), (2, 20, actions.NoteScan), (3, 20, actions.Presume)],
)
def test_a_job_is_presumed_absent_after_three_listings_over_twenty_minutes(scans, minutes, action):
    one = shard(attempt(revoked=Revoked(at=NOON), scans=scans))
    found = decide(batch(one), seen(found=Absent()), now=NOW + 60 * minutes)
    assert isinstance(found, action or actions.Wait)


def test_a_listing_that_shows_another_job_of_the_batch_is_believed_in_half_the_time():
    one = shard(attempt(revoked=Revoked(at=NOON), scans=3), number=2)
    running = job(JobState.RUNNING)
    visit = seen(running, found=Found((running,)))
    assert decide(batch(shard(accepted()), one), visit, now=NOW + 600) == actions.Presume(one)


def test_a_user_who_wants_to_decide_is_asked():
    one = shard(attempt(revoked=Revoked(at=NOON), scans=3))
    visit = seen(found=Absent())
    assert decide(batch(one), visit, now=NOW + 1200, resubmit_ambiguous=False) == actions.Ambiguous(one)


def test_nobody_who_may_not_send_presumes_or_sends():
    one = shard(attempt(revoked=Revoked(at=NOON), scans=3))
    assert isinstance(decide(batch(one), seen(found=Absent()), now=NOW + 1200, may_send=False), actions.Wait)
    assert isinstance(decide(batch(shard()), may_send=False), actions.Wait)


def test_a_full_queue_is_tried_again_when_the_server_said_so():
    one = shard(refused(retry_in=60))
    assert decide(batch(one), NONE_LISTED, now=NOW + 59).until == NOW + 60
    assert decide(batch(one), NONE_LISTED, now=NOW + 60) == actions.Send(one)


def test_shards_go_out_until_the_limit_on_tokens_is_reached():
    flying, waiting = shard(accepted()), shard(number=2)
    visit = seen(job(JobState.RUNNING), found=Absent())
    assert decide(batch(flying, waiting), visit, max_tokens_in_flight=200) == actions.Send(waiting)
    assert isinstance(decide(batch(flying, waiting), visit, max_tokens_in_flight=199), actions.Wait)


def test_one_shard_is_tried_however_large_it_is():
    assert isinstance(decide(batch(shard()), NONE_LISTED, max_tokens_in_flight=1), actions.Send)


def test_after_a_refusal_for_quota_half_of_it_is_kept_in_flight_for_an_hour():
    flying, again = shard(accepted()), shard(refused(in_flight=100, retry_in=1), number=2)
    visit = seen(job(JobState.RUNNING), found=Absent())
    assert isinstance(decide(batch(flying, again), visit, now=NOW + 60), actions.Wait)
    assert decide(batch(flying, again), visit, now=NOW + 3_601) == actions.Send(again)


def test_landed_rows_are_published():
    assert decide(batch(shard(done=landed()))) == actions.Publish()


def test_rows_that_failed_in_passing_are_sent_again_within_the_time():
    one = batch(shard(done=landed(passing=1)))
    assert decide(one) == actions.BeginRound(is_new_start=False)
    assert decide(one, now=NOW + 86_400) == actions.Publish()
    assert decide(one, max_row_attempts=1) == actions.Publish()


def test_rows_are_sent_three_times_at_most():
    assert decide(batch(shard(done=landed(passing=1)), rounds=2)) == actions.BeginRound(is_new_start=False)
    assert decide(batch(shard(done=landed(passing=1)), rounds=3)) == actions.Publish()


@pytest.mark.parametrize(
    ("state", "code", "again"),
    [
        (JobState.EXPIRED, 0, True),
        (JobState.FAILED, 13, True),
        (JobState.FAILED, 14, True),
        (JobState.FAILED, 3, False),
        (JobState.FAILED, 0, False),
        (JobState.CANCELLED, 13, False),
        (JobState.SUCCEEDED, 0, False),
    ],
)
def test_rows_of_a_job_that_ended_badly_are_sent_again_if_it_may_do_better(state, code, again):
    one = batch(shard(done=landed(state, undone=3, error_code=code)))
    assert decide(one) == (actions.BeginRound(is_new_start=False) if again else actions.Publish())


def test_what_nobody_needs_after_the_publication_is_deleted_by_whoever_comes():
    one = batch(shard(done=landed()), published=Published(at=NOON))
    assert decide(one) == actions.Tidy()
    assert decide(one, replace(seen(), is_tidied=True)) == actions.Done()


def test_what_was_published_is_done_for_a_resume_and_goes_on_for_a_new_try():
    one = batch(shard(done=landed(JobState.CANCELLED, undone=3)), published=Published(at=NOON), tidied=True)
    assert decide(one, is_new_try=False) == actions.Done()
    assert decide(one, is_new_try=True) == actions.BeginRound(is_new_start=True)


@pytest.mark.parametrize(
    ("done", "rounds", "cancel", "helps"),
    [
        (landed(passing=1), 2, None, True),
        (landed(passing=1), 3, None, False),
        (landed(), 1, None, False),
        (landed(JobState.FAILED, undone=3), 1, None, True),
        (landed(passing=1), 1, Cancel(at=NOON, why="the deadline"), True),
        (landed(passing=1), 1, Cancel(at=NOON, why="cancelled by eva", by="eva"), False),
    ],
    ids=["failed in passing", "sent often enough", "none left", "a failed job", "the deadline", "a person"],
)
def test_a_retry_helps_if_rows_may_do_better(done, rounds, cancel, helps):
    one = batch(shard(done=done), rounds=rounds, cancel=cancel, published=Published(at=NOON))
    assert retry_helps(one, Policy()) == helps
    assert retry_helps(one, Policy(affords=lambda *_: False)) is False


def test_a_complete_batch_is_done_for_everybody():
    assert decide(batch(shard(done=landed()), published=Published(at=NOON), tidied=True)) == actions.Done()


def test_at_the_deadline_the_jobs_are_left_alone():
    late = decide(batch(shard(accepted())), seen(job(JobState.RUNNING)), now=NOW + 86_400)
    assert late == actions.TimedOut(("batches/a",))


def test_at_the_deadline_a_finished_job_is_landed_all_the_same():
    late = decide(batch(shard(accepted())), seen(job(JobState.SUCCEEDED)), now=NOW + 99_999)
    assert isinstance(late, actions.Land)


def test_the_deadline_is_judged_by_a_look_that_worked_for_five_minutes():
    one = batch(shard(accepted()))
    blind = Visit({"batches/a": None}, is_timed=True)
    assert isinstance(decide(one, blind, now=NOW + 86_400), actions.Wait)
    assert isinstance(decide(one, blind, now=NOW + 86_700), actions.TimedOut)


def test_nothing_is_sent_after_the_deadline():
    assert decide(batch(shard()), NONE_LISTED, now=NOW + 86_400) == actions.TimedOut(())


def test_at_the_deadline_the_jobs_are_asked_to_end_if_the_user_wants_it():
    visit = seen(job(JobState.RUNNING))
    late = decide(batch(shard(accepted())), visit, now=NOW + 86_400, at_timeout="cancel")
    assert late == actions.CancelRound(("batches/a",))


def test_cancelled_jobs_are_waited_for_and_nothing_more_is_sent():
    cancel = Cancel(at=later(86_400), why="the deadline passed")
    unsent = shard(number=2)
    one = batch(shard(accepted()), unsent, cancel=cancel)
    assert decide(one, seen(job(JobState.RUNNING)), now=NOW + 86_401) == actions.Land(unsent, None)
    visit = seen(job(JobState.RUNNING))
    visit.asked.add("batches/a")
    wait = decide(batch(shard(accepted()), cancel=cancel), visit, now=NOW + 86_401)
    assert wait.deadline == NOW + 86_400 + 3_600


@pytest.mark.parametrize("cancels", ["cancel", "fail"])
def test_results_are_waited_for_beyond_the_deadline_for_ten_minutes_from_the_end_of_their_job(cancels):
    visit = seen(replace(job(JobState.SUCCEEDED), ended_at=later(86_390)))
    visit.not_ready["batches/a"] = error = BatchError("not there yet")
    one = batch(shard(accepted()))
    assert decide(one, visit, now=NOW + 86_401, at_timeout=cancels).until == NOW + 86_401 + 15
    assert decide(one, visit, now=NOW + 86_991, at_timeout=cancels) == actions.ResultsOverdue(error)


@pytest.mark.parametrize(("ended_ago_s", "wait_s"), [(10, 15), (1_000, 100), (36_000, 600)])
def test_results_that_do_not_come_are_fetched_less_and_less_often(ended_ago_s, wait_s):
    visit = seen(replace(job(JobState.SUCCEEDED), ended_at=later(0)))
    visit.not_ready["batches/a"] = BatchError("a page of a proxy")
    now = NOW + ended_ago_s
    assert decide(batch(shard(accepted())), visit, now=now).until == now + wait_s


def test_a_job_that_runs_on_is_asked_again_to_end_at_each_visit_of_its_task():
    one = batch(shard(accepted()), cancel=Cancel(at=NOON, why="the deadline passed"))
    assert decide(one, seen(job(JobState.RUNNING))) == actions.CancelRound(("batches/a",))
    assert isinstance(decide(one, seen(job(JobState.RUNNING)), may_send=False), actions.Wait)


def test_what_a_person_has_ended_is_not_begun_again_by_a_retry_before_it_was_published():
    cancel = Cancel(at=NOON, why="asked to end", by="ann")
    assert (
        decide(batch(shard(done=landed(JobState.CANCELLED, undone=3)), cancel=cancel), is_new_try=True)
        == actions.Publish()
    )


def test_rows_of_a_task_that_was_stopped_are_sent_again_by_its_next_try_only():
    cancel = Cancel(at=NOON, why="the task was stopped")
    one = batch(shard(done=landed(JobState.CANCELLED, undone=3)), cancel=cancel)
    assert decide(one, is_new_try=True) == actions.BeginRound(is_new_start=True)
    assert decide(one, is_new_try=False) == actions.Publish()


def test_who_only_submits_is_done_when_everything_is_sent():
    running = seen(job(JobState.RUNNING), found=Absent())
    assert decide(batch(shard(accepted())), running, submit_only=True) == actions.Submitted()
    assert isinstance(decide(batch(shard(accepted()), shard(number=2)), running, submit_only=True), actions.Send)
