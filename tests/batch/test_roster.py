"""What is asked next when so many wait: literal values and a clock in, a plan out."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_batch.batch.wait.schedule import BELIEVE_S, FEW, ROOM, Agenda, Look, Roster, Scan, Waiter
from airflow_provider_batch.batch.wait.watch import Watch
from airflow_provider_batch.contract import JobSnapshot, JobState

NOON = 1_800_000_000.0
DEADLINE = NOON + 86_400
INTERVAL_S = 60.0
MANY = 3 * FEW


@pytest.fixture
def roster():
    return Roster()


@pytest.fixture
def look():
    """One who waits for a job, to be looked at at the time given."""
    loop = asyncio.new_event_loop()

    def look(name, due=0.0):
        return Look(Watch(name, DEADLINE, INTERVAL_S), Waiter(loop.create_future(), print), due)

    yield look
    loop.close()


def running(name):
    return JobSnapshot(name, JobState.RUNNING, "BATCH_STATE_RUNNING")


def names(count):
    return [f"batches/{number}" for number in range(count)]


def read_listing(roster, at, jobs, took_s=1.0, pages=1):
    """The listing is read and shows these jobs."""
    roster.begin()
    for name in jobs:
        roster.showed(running(name), at, NOON)
    roster.reading(at, took_s, pages)


def test_few_jobs_are_asked_for_one_by_one(roster, look):
    roster.add([look(name) for name in names(FEW)], [])
    plan = roster.plan(0.0)
    assert (sorted(plan.jobs), plan.listing) == (names(FEW), False)


def test_many_jobs_are_looked_up_in_the_listing(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    assert roster.plan(0.0)[:2] == ((), True)


def test_many_who_wait_for_the_same_job_ask_once(roster, look):
    roster.add([look("batches/a") for _ in range(MANY)], [])
    assert roster.plan(0.0)[:2] == (("batches/a",), False)


def test_a_listing_that_is_long_because_of_others_is_not_read_for_less_than_it_costs(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    read_listing(roster, 0.0, names(MANY), pages=MANY)
    plan = roster.plan(INTERVAL_S)
    assert (len(plan.jobs), plan.listing) == (MANY, False)


def test_nothing_is_asked_before_the_interval_is_over(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    read_listing(roster, 0.0, names(MANY))
    plan = roster.plan(1.0)
    assert plan[:2] == ((), False)
    assert 0.95 * INTERVAL_S <= plan.at <= INTERVAL_S


def test_all_are_served_again_by_one_reading_at_the_same_time(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    read_listing(roster, 0.0, names(MANY))
    assert roster.plan(INTERVAL_S)[:2] == ((), True)


def test_many_who_come_between_two_readings_wait_for_the_next(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    read_listing(roster, 0.0, names(MANY))
    roster.add([look(f"batches/late-{number}", due=10.0) for number in range(FEW + 1)], [])
    plan = roster.plan(10.0)
    assert plan[:2] == ((), False)
    assert plan.at <= INTERVAL_S


def test_few_who_come_between_two_readings_are_served_at_once(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    read_listing(roster, 0.0, names(MANY))
    roster.add([look("batches/late", due=10.0)], [])
    assert roster.plan(10.0)[:2] == (("batches/late",), False)


def test_a_listing_that_takes_long_is_read_for_half_of_the_time_at_most(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    read_listing(roster, 0.0, names(MANY), took_s=100.0)
    assert roster.plan(INTERVAL_S)[:2] == ((), False)
    assert roster.plan(INTERVAL_S).at == 200.0
    assert roster.plan(200.0).listing


def test_a_job_that_the_listing_hides_is_asked_for_until_it_is_looked_for_again(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    assert roster.plan(0.0).listing
    hidden, *shown = names(MANY)
    read_listing(roster, 0.0, shown)
    assert roster.hid() == [hidden]
    roster.saw(running(hidden), 0.0, NOON)
    assert roster.plan(INTERVAL_S)[:2] == ((hidden,), True)
    read_listing(roster, INTERVAL_S, shown)
    roster.saw(running(hidden), INTERVAL_S, NOON)
    assert roster.plan(BELIEVE_S)[:2] == ((), True)


def test_whoever_comes_while_the_listing_is_read_does_not_wait_for_it_to_show_the_job(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    roster.begin()
    roster.add([look("batches/new")], [])
    for name in names(MANY):
        roster.showed(running(name), 0.0, NOON)
    assert roster.wanted() == set()
    roster.begin()
    assert roster.wanted() == {*names(MANY), "batches/new"}


def test_whoever_leaves_while_the_listing_is_read_is_wanted_no_more(roster, look):
    looks = [look(name) for name in names(MANY)]
    roster.add(looks, [])
    roster.begin()
    roster.remove(looks, [])
    assert roster.hid() == []


def test_a_listing_that_broke_off_is_read_for_all_again(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    read_listing(roster, 0.0, names(2))
    roster.begin()
    assert roster.wanted() == {*names(MANY)}


def test_a_display_name_takes_a_reading_whoever_else_waits(roster):
    roster.add([], [Scan(("agb.",), print, 5.0, 5.0, 60.0)])
    assert roster.plan(0.0) == ((), False, 5.0)
    assert roster.plan(5.0).listing


def test_readings_for_a_display_name_become_rarer(roster):
    scan = Scan(("agb.",), lambda jobs, error: None, 5.0, 10.0, 60.0)
    dues = []
    for _ in range(5):
        at = scan.due
        scan.begin()
        scan.ended(at, None)
        dues.append(scan.due)
    assert dues == [15.0, 35.0, 75.0, 135.0, 195.0]


def test_whoever_is_woken_is_due_at_once(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    read_listing(roster, 0.0, names(MANY))
    roster.wake("batches/3")
    assert roster.plan(3.0)[:2] == (("batches/3",), False)


def test_whoever_is_woken_while_the_answer_is_on_its_way_is_due_again(roster, look):
    roster.add([look("batches/a")], [])
    assert roster.plan(0.0).jobs == ("batches/a",)
    roster.wake("batches/a")
    roster.saw(running("batches/a"), 1.0, NOON)
    assert roster.plan(1.0).jobs == ("batches/a",)
    roster.saw(running("batches/a"), 2.0, NOON)
    assert roster.plan(2.0).jobs == ()


def test_a_hint_that_names_no_job_of_ours_is_a_reason_to_read_the_listing(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    read_listing(roster, 0.0, names(MANY))
    roster.wake("batch_123456")
    assert roster.plan(3.0)[:2] == ((), True)


def test_a_hint_that_names_no_job_of_ours_makes_few_be_asked_for_at_once(roster, look):
    roster.add([look(name, due=50.0) for name in names(2)], [])
    roster.wake("")
    assert sorted(roster.plan(3.0).jobs) == names(2)
    read_listing(roster, 3.0, names(2))
    assert roster.plan(3.0).jobs == ()


def test_hints_that_come_while_the_listing_is_read_are_followed_right_after_it(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    assert roster.plan(0.0).listing
    for name in names(MANY):
        roster.wake(name)
    read_listing(roster, 0.0, names(MANY))
    assert roster.plan(2.0)[:2] == ((), True)


def test_a_hint_for_everybody_waits_until_it_can_be_followed(roster, look):
    scan = Scan(("agb.",), lambda jobs, error: None, 5.0, 60.0, 60.0)
    roster.add([look(name, due=50.0) for name in names(2)], [scan])
    read_listing(roster, 0.0, names(2), took_s=5.0)
    roster.wake("")
    assert roster.plan(6.0) == ((), False, 10.0)
    roster.remove([], [scan])
    assert sorted(roster.plan(7.0).jobs) == names(2)


def test_a_hint_that_comes_while_the_listing_is_read_has_it_read_again(roster):
    scan = Scan(("agb.",), lambda jobs, error: None, 5.0, 60.0, 60.0)
    roster.add([], [scan])
    assert roster.plan(5.0).listing
    scan.begin()
    roster.wake("")
    scan.ended(5.0, None)
    roster.reading(5.0, 1.0, 1)
    assert roster.plan(7.0).listing


def test_times_that_are_moved_leave_nothing_behind(look):
    agenda = Agenda()
    agenda.put(look("batches/soon", due=1.0))
    late = [look(name) for name in names(ROOM)]
    for at in range(10):
        for one in late:
            one.due = 100.0 + at
            agenda.put(one)
    assert len(agenda._entries) <= 4 * ROOM
    assert {*agenda.due(200.0, 2 * ROOM)} >= {*late}


def test_a_time_that_was_moved_counts_and_no_other(roster, look):
    roster.add([look("batches/a", due=50.0)], [])
    for at in (10.0, 20.0, 30.0):
        roster.saw(running("batches/a"), at, NOON)
    soon = roster.plan(30.0).at
    assert 30.0 + 0.95 * INTERVAL_S <= soon <= 30.0 + INTERVAL_S
    assert roster.plan(soon).jobs == ("batches/a",)


def test_whoever_looks_more_often_makes_all_be_looked_up_more_often(roster, look):
    roster.add([look(name) for name in names(MANY)], [])
    read_listing(roster, 0.0, names(MANY))
    quick = [look(f"batches/late-{number}", due=10.0) for number in range(FEW + 1)]
    for one in quick:
        one.watch.poll_interval_s = 12.0
    roster.add(quick, [])
    assert roster.plan(10.0).at <= 12.0
    assert roster.plan(12.0).listing


def test_those_who_have_left_are_asked_for_no_more(roster, look):
    one, other = look("batches/a"), look("batches/a")
    roster.add([one, other], [])
    roster.remove([one], [])
    assert roster.plan(0.0).jobs == ("batches/a",)
    roster.remove([other], [])
    assert (roster.plan(0.0).jobs, bool(roster)) == ((), False)
