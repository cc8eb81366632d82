"""The pace of single calls: one for all tasks of a credential on a machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_provider_batch.batch.live.pace import Pace, shared_place


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 10_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def at_full_pace(pace, clock):
    """The pace after it has grown to its whole, with the next call free to leave."""
    pace.reserve(0)
    clock.now += 100
    pace.reserve(0)
    clock.now += 100
    return pace


def leave(pace, clock, tokens=0):
    """Wait for the next call as its caller does. The seconds that it took."""
    wait_s = pace.reserve(tokens)
    clock.now += wait_s
    return wait_s


def test_the_first_calls_leave_slowly_and_the_pace_doubles(clock):
    pace = Pace(60, 10**9, clock=clock)
    assert leave(pace, clock) == 0
    # An eighth of 60 a minute.
    assert leave(pace, clock) == pytest.approx(8)
    clock.now += 10
    leave(pace, clock)
    assert leave(pace, clock) == pytest.approx(4)


def test_calls_leave_evenly_at_the_whole_pace_and_never_faster(clock):
    pace = at_full_pace(Pace(60, 10**9, clock=clock), clock)
    began = clock.now
    for _ in range(61):
        leave(pace, clock)
    assert clock.now - began == pytest.approx(60)


def test_calls_with_many_tokens_leave_more_slowly(clock):
    pace = at_full_pace(Pace(6_000, 60_000, clock=clock), clock)
    leave(pace, clock, 30_000)
    assert leave(pace, clock) == pytest.approx(30)


def test_a_refusal_halves_the_pace_and_its_hint_is_waited_for(clock):
    pace = at_full_pace(Pace(60, 10**9, clock=clock), clock)
    pace.refuse(17.0)
    assert leave(pace, clock) == pytest.approx(17)
    assert leave(pace, clock) == pytest.approx(2)


def test_a_refusal_without_a_hint_is_waited_for_a_while(clock):
    pace = at_full_pace(Pace(60, 10**9, clock=clock), clock)
    pace.refuse(None)
    assert leave(pace, clock) == pytest.approx(20)


def test_refusals_of_calls_that_left_before_the_first_refusal_halve_nothing_again(clock):
    pace = at_full_pace(Pace(60, 10**9, clock=clock), clock)
    for _ in range(50):
        pace.refuse(5.0)
    leave(pace, clock)
    assert leave(pace, clock) == pytest.approx(2)


def test_after_a_refusal_the_pace_grows_in_small_steps_up_to_the_whole(clock):
    pace = at_full_pace(Pace(60, 10**9, clock=clock), clock)
    pace.refuse(0.0)
    clock.now += 10
    leave(pace, clock)
    assert leave(pace, clock) == pytest.approx(1 / (1 / 2 + 1 / 16))
    clock.now += 500
    leave(pace, clock)
    assert leave(pace, clock) == pytest.approx(1)


def test_after_a_long_time_without_calls_the_pace_begins_anew(clock):
    pace = at_full_pace(Pace(60, 10**9, clock=clock), clock)
    clock.now += 601
    leave(pace, clock)
    assert leave(pace, clock) == pytest.approx(8)


def test_tasks_of_one_machine_share_the_pace(clock, tmp_path):
    ours, theirs = (Pace(60, 10**9, tmp_path / "one.pace", clock=clock) for _ in range(2))
    at_full_pace(ours, clock)
    assert leave(theirs, clock) == 0
    assert leave(ours, clock) == pytest.approx(1)
    theirs.refuse(30.0)
    assert ours.wait_s() == pytest.approx(30)


def test_processes_that_reserve_at_once_get_a_place_each(tmp_path):
    place = tmp_path / "one.pace"
    program = (
        "import sys; from pathlib import Path; from airflow_provider_batch.batch.live.pace import Pace\n"
        f"pace = Pace(600, 10**9, Path({str(place)!r}))\n"
        "print(*(pace.reserve(0) for _ in range(50)))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    waits = sorted(float(wait) for one in running for wait in one.communicate()[0].split())
    assert len(waits) == 150
    # 150 calls at an eighth of ten a second, and more slowly than the whole pace in any case.
    assert waits[-1] > 149 / 10


def test_a_file_of_another_start_of_the_machine_is_not_believed(clock, tmp_path):
    place = tmp_path / "one.pace"
    later = Clock()
    later.now += 30 * 86_400
    at_full_pace(Pace(60, 10**9, place, clock=later), later).refuse(3_600.0)
    assert Pace(60, 10**9, place, clock=clock).wait_s() == 0


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 56])
def test_a_damaged_file_is_no_reason_not_to_call(clock, tmp_path, content):
    place = tmp_path / "one.pace"
    place.write_bytes(content)
    pace = Pace(60, 10**9, place, clock=clock)
    leave(pace, clock)
    assert leave(pace, clock) == pytest.approx(8)


def test_credentials_and_models_have_a_pace_each_in_a_folder_of_this_user_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    places = {shared_place(account, model) for account in "ab" for model in ("m", "n")}
    assert len(places) == 4
    [folder] = {place.parent for place in places}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_another_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    import os

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"airflow-provider-batch-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    assert shared_place("a", "m") is None
