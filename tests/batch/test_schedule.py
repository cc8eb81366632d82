"""What is asked next when so many wait: literal values and a clock in, a plan out."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_batch.batch.wait.schedule import (
    BELIEVE_S,
    FEW,
    ROOM,
    DueQueue,
    JobWait,
    NameWait,
    Waiter,
    WaitSchedule,
)
from airflow_provider_batch.batch.wait.watch import Watch
from airflow_provider_batch.contract import JobSnapshot, JobState

NOON = 1_800_000_000.0
DEADLINE = NOON + 86_400
INTERVAL_S = 60.0
MANY = 3 * FEW


@pytest.fixture
def schedule():
    return WaitSchedule()


@pytest.fixture
def look():
    """One who waits for a job, to be looked at at the time given."""
    loop = asyncio.new_event_loop()

    def look(name, due=0.0):
        return JobWait(Watch(name, DEADLINE, INTERVAL_S), Waiter(loop.create_future(), print), due)

    yield look
    loop.close()


def running(name):
    return JobSnapshot(name, JobState.RUNNING, "BATCH_STATE_RUNNING")


def names(count):
    return [f"batches/{number}" for number in range(count)]


def read_listing(schedule, at, jobs, took_s=1.0, pages=1):
    """The listing is read and shows these jobs."""
    schedule.begin()
    for name in jobs:
        schedule.showed(running(name), at, NOON)
    schedule.reading(at, took_s, pages)


def test_few_jobs_are_asked_for_one_by_one(schedule, look):
    schedule.add([look(name) for name in names(FEW)], [])
    plan = schedule.plan(0.0)
    assert (sorted(plan.jobs), plan.listing) == (names(FEW), False)


def test_many_jobs_are_looked_up_in_the_listing(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    assert schedule.plan(0.0)[:2] == ((), True)


def test_many_who_wait_for_the_same_job_ask_once(schedule, look):
    schedule.add([look("batches/a") for _ in range(MANY)], [])
    assert schedule.plan(0.0)[:2] == (("batches/a",), False)


def test_a_listing_that_is_long_because_of_others_is_not_read_for_less_than_it_costs(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    read_listing(schedule, 0.0, names(MANY), pages=MANY)
    plan = schedule.plan(INTERVAL_S)
    assert (len(plan.jobs), plan.listing) == (MANY, False)


def test_nothing_is_asked_before_the_interval_is_over(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    read_listing(schedule, 0.0, names(MANY))
    plan = schedule.plan(1.0)
    assert plan[:2] == ((), False)
    assert 0.95 * INTERVAL_S <= plan.at <= INTERVAL_S


def test_all_are_served_again_by_one_reading_at_the_same_time(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    read_listing(schedule, 0.0, names(MANY))
    assert schedule.plan(INTERVAL_S)[:2] == ((), True)


def test_many_who_come_between_two_readings_wait_for_the_next(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    read_listing(schedule, 0.0, names(MANY))
    schedule.add([look(f"batches/late-{number}", due=10.0) for number in range(FEW + 1)], [])
    plan = schedule.plan(10.0)
    assert plan[:2] == ((), False)
    assert plan.at <= INTERVAL_S


def test_few_who_come_between_two_readings_are_served_at_once(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    read_listing(schedule, 0.0, names(MANY))
    schedule.add([look("batches/late", due=10.0)], [])
    assert schedule.plan(10.0)[:2] == (("batches/late",), False)


def test_a_listing_that_takes_long_is_read_for_half_of_the_time_at_most(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    read_listing(schedule, 0.0, names(MANY), took_s=100.0)
    assert schedule.plan(INTERVAL_S)[:2] == ((), False)
    assert schedule.plan(INTERVAL_S).at == 200.0
    assert schedule.plan(200.0).listing


def test_a_job_that_the_listing_hides_is_asked_for_until_it_is_looked_for_again(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    assert schedule.plan(0.0).listing
    hidden, *shown = names(MANY)
    read_listing(schedule, 0.0, shown)
    assert schedule.hid() == [hidden]
    schedule.saw(running(hidden), 0.0, NOON)
    assert schedule.plan(INTERVAL_S)[:2] == ((hidden,), True)
    read_listing(schedule, INTERVAL_S, shown)
    schedule.saw(running(hidden), INTERVAL_S, NOON)
    assert schedule.plan(BELIEVE_S)[:2] == ((), True)


def test_whoever_comes_while_the_listing_is_read_does_not_wait_for_it_to_show_the_job(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    schedule.begin()
    schedule.add([look("batches/new")], [])
    for name in names(MANY):
        schedule.showed(running(name), 0.0, NOON)
    assert schedule.wanted() == set()
    schedule.begin()
    assert schedule.wanted() == {*names(MANY), "batches/new"}


def test_whoever_leaves_while_the_listing_is_read_is_wanted_no_more(schedule, look):
    looks = [look(name) for name in names(MANY)]
    schedule.add(looks, [])
    schedule.begin()
    schedule.remove(looks, [])
    assert schedule.hid() == []


def test_a_listing_that_broke_off_is_read_for_all_again(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    read_listing(schedule, 0.0, names(2))
    schedule.begin()
    assert schedule.wanted() == {*names(MANY)}


def test_a_display_name_takes_a_reading_whoever_else_waits(schedule):
    schedule.add([], [NameWait(("agb.",), print, 5.0, 5.0, 60.0)])
    assert schedule.plan(0.0) == ((), False, 5.0)
    assert schedule.plan(5.0).listing


def test_readings_for_a_display_name_become_rarer(schedule):
    scan = NameWait(("agb.",), lambda jobs, error: None, 5.0, 10.0, 60.0)
    dues = []
    for _ in range(5):
        at = scan.due
        scan.begin()
        scan.ended(at, None)
        dues.append(scan.due)
    assert dues == [15.0, 35.0, 75.0, 135.0, 195.0]


def test_whoever_is_woken_is_due_at_once(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    read_listing(schedule, 0.0, names(MANY))
    schedule.wake("batches/3")
    assert schedule.plan(3.0)[:2] == (("batches/3",), False)


def test_whoever_is_woken_while_the_answer_is_on_its_way_is_due_again(schedule, look):
    schedule.add([look("batches/a")], [])
    assert schedule.plan(0.0).jobs == ("batches/a",)
    schedule.wake("batches/a")
    schedule.saw(running("batches/a"), 1.0, NOON)
    assert schedule.plan(1.0).jobs == ("batches/a",)
    schedule.saw(running("batches/a"), 2.0, NOON)
    assert schedule.plan(2.0).jobs == ()


def test_a_hint_that_names_no_job_of_ours_is_a_reason_to_read_the_listing(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    read_listing(schedule, 0.0, names(MANY))
    schedule.wake("batch_123456")
    assert schedule.plan(3.0)[:2] == ((), True)


def test_a_hint_that_names_no_job_of_ours_makes_few_be_asked_for_at_once(schedule, look):
    schedule.add([look(name, due=50.0) for name in names(2)], [])
    schedule.wake("")
    assert sorted(schedule.plan(3.0).jobs) == names(2)
    read_listing(schedule, 3.0, names(2))
    assert schedule.plan(3.0).jobs == ()


def test_hints_that_come_while_the_listing_is_read_are_followed_right_after_it(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    assert schedule.plan(0.0).listing
    for name in names(MANY):
        schedule.wake(name)
    read_listing(schedule, 0.0, names(MANY))
    assert schedule.plan(2.0)[:2] == ((), True)


def test_a_hint_for_everybody_waits_until_it_can_be_followed(schedule, look):
    scan = NameWait(("agb.",), lambda jobs, error: None, 5.0, 60.0, 60.0)
    schedule.add([look(name, due=50.0) for name in names(2)], [scan])
    read_listing(schedule, 0.0, names(2), took_s=5.0)
    schedule.wake("")
    assert schedule.plan(6.0) == ((), False, 10.0)
    schedule.remove([], [scan])
    assert sorted(schedule.plan(7.0).jobs) == names(2)


def test_a_hint_that_comes_while_the_listing_is_read_has_it_read_again(schedule):
    scan = NameWait(("agb.",), lambda jobs, error: None, 5.0, 60.0, 60.0)
    schedule.add([], [scan])
    assert schedule.plan(5.0).listing
    scan.begin()
    schedule.wake("")
    scan.ended(5.0, None)
    schedule.reading(5.0, 1.0, 1)
    assert schedule.plan(7.0).listing


def test_times_that_are_moved_leave_nothing_behind(look):
    queue = DueQueue()
    queue.put(look("batches/soon", due=1.0))
    late = [look(name) for name in names(ROOM)]
    for at in range(10):
        for one in late:
            one.due = 100.0 + at
            queue.put(one)
    assert len(queue._entries) <= 4 * ROOM
    assert {*queue.due(200.0, 2 * ROOM)} >= {*late}


def test_a_time_that_was_moved_counts_and_no_other(schedule, look):
    schedule.add([look("batches/a", due=50.0)], [])
    for at in (10.0, 20.0, 30.0):
        schedule.saw(running("batches/a"), at, NOON)
    soon = schedule.plan(30.0).at
    assert 30.0 + 0.95 * INTERVAL_S <= soon <= 30.0 + INTERVAL_S
    assert schedule.plan(soon).jobs == ("batches/a",)


def test_whoever_looks_more_often_makes_all_be_looked_up_more_often(schedule, look):
    schedule.add([look(name) for name in names(MANY)], [])
    read_listing(schedule, 0.0, names(MANY))
    quick = [look(f"batches/late-{number}", due=10.0) for number in range(FEW + 1)]
    for one in quick:
        one.watch.poll_interval_s = 12.0
    schedule.add(quick, [])
    assert schedule.plan(10.0).at <= 12.0
    assert schedule.plan(12.0).listing


def test_those_who_have_left_are_asked_for_no_more(schedule, look):
    one, other = look("batches/a"), look("batches/a")
    schedule.add([one, other], [])
    schedule.remove([one], [])
    assert schedule.plan(0.0).jobs == ("batches/a",)
    schedule.remove([other], [])
    assert (schedule.plan(0.0).jobs, bool(schedule)) == ((), False)
