"""``wait``: it looks and lands; it never sends and never cancels."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from upath import UPath

from airflow_provider_batch.cli.progress import Lines
from airflow_provider_batch.contract import JobSnapshot, JobState
from tests.cli.conftest import KEY, SUBMIT

QUICK = ("--poll-interval", "1")


def test_the_results_of_a_batch_land_and_each_change_is_a_line(ab, rows, calls, tmp_path):
    ab(*SUBMIT)
    ended = ab("wait", "out", *QUICK)
    (job,) = calls("batches.create")
    assert ended.status == 0
    assert ended.out.startswith(f"landed   {tmp_path}/out/results.jsonl\n")
    assert ended.err.splitlines()[-1].startswith(f"{job} succeeded, 100 %, 3 of 3 rows, ")
    assert (tmp_path / "out" / "manifest.json").exists()


def test_a_cost_that_nobody_knows_is_told_with_what_may_be_missing(ab, rows, tmp_path, gemini_emulator):
    silent = {"embedding": {"values": [0.5] * 64}}
    gemini_emulator.add_fault(action="rows", mutation="replace", response=silent)
    (tmp_path / "texts.csv").write_text("id,text\n1,I like it\n2,Broken\n")
    like = ("--embeddings", "--model", "gemini-embedding-001", "--key-column", "id", "--prompt", "{text}")
    ended = ab("submit", "texts.csv", *like, "--result-path", "vectors", "--wait", *QUICK)
    assert ended.status == 0
    assert "cost     unknown: 2 answers have no token count, or no price for gemini-embedding-001" in ended.out


def test_it_sends_no_row_again(ab, rows, calls, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    ab(*SUBMIT)
    ended = ab("wait", "out", *QUICK, "--json")
    assert (ended.status, ended.json["counts"]) == (1, {"error": 1, "success": 2})
    assert len(calls("batches.create")) == 1


def test_the_same_command_after_a_wait_sends_what_failed_in_passing(ab, rows, calls, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    ab(*SUBMIT)
    ab("wait", "out", *QUICK)
    assert ab(*SUBMIT, "--wait", "--json").json["counts"] == {"success": 3}
    assert len(calls("batches.create")) == 2


def test_a_job_of_somebody_else_is_waited_for_by_its_name(ab, job):
    ended = ab("wait", name := job(), *QUICK)
    assert ended.status == 0
    assert ended.out.splitlines()[0] == name
    assert ended.out.splitlines()[-1] == f"next: airflow-batch download {name}"


def test_a_job_that_failed_is_a_finding(ab, job, gemini_emulator):
    name = job()
    gemini_emulator.force_job(name, state="FAILED", error={"code": 3, "message": "no good"})
    ended = ab("wait", name, *QUICK, "--json")
    assert (ended.status, ended.json["state"], ended.json["error"]) == (1, "failed", "no good")


def test_a_job_that_does_not_exist_is_told_at_once(ab):
    ended = ab("wait", "batches/nowhere")
    assert ended.status == 3
    assert "404" in ended.err


def test_when_the_time_is_over_the_job_is_left_alone(ab, job, calls, gemini_emulator):
    name = job()
    gemini_emulator.force_job(name, state="STUCK")
    ended = ab("wait", name, "--timeout", "0.3", *QUICK)
    assert ended.status == 4
    assert f"Not finished within 0.3 s. {name} runs on and is billed." in ended.err
    assert calls("batches.cancel") == []


def interrupted(command, env, cwd, when="pending, 3 rows"):
    """Run a command, press Ctrl-C when it has said something, and return what came of it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_provider_batch.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=cwd,
    )
    seen = ""
    while when not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    return process.returncode, out, seen + err


@pytest.mark.parametrize("gemini_emulator", [{"job_seconds": 3600}], indirect=True)
@pytest.mark.parametrize("command", [("wait", "out"), (*SUBMIT, "--wait")], ids=["wait", "submit --wait"])
def test_ctrl_c_stops_the_waiting_and_cancels_nothing(ab, rows, calls, tmp_path, command):
    ab(*SUBMIT)
    (job,) = calls("batches.create")
    status, out, err = interrupted(command, dict(os.environ), tmp_path)
    assert (status, out) == (130, "")
    assert f"{job} runs on and is billed. airflow-batch wait out goes on waiting" in err
    assert f"airflow-batch cancel {job} asks to end" in err
    assert (calls("batches.cancel"), "Traceback" in err, KEY in err) == ([], False, False)


def test_a_batch_that_waits_for_room_in_the_queue_goes_on_with_the_next_submit(
    ab, rows, calls, tmp_path, gemini_emulator
):
    gemini_emulator.add_fault(call="batches.create", action="status", status=429)
    status, _, err = interrupted(SUBMIT, dict(os.environ), tmp_path, when="trying again in")
    assert (status, "Run the same command again" in err) == (130, True)
    shown = ab("show", "out").out
    assert shown.startswith(f"{tmp_path}/out: not submitted\n")
    assert shown.endswith("next: the same airflow-batch submit again, which goes on with what exists\n")
    ended = ab("wait", "out")
    assert (ended.status, calls("batches.create")) == (2, [])
    assert "Run the submit command again" in ended.err


def on_a_terminal(*arguments, columns, cwd):
    """Run a command whose stderr is a terminal; the process's end, stdout, and what the terminal got."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "airflow_provider_batch.cli", *arguments]
    env = dict(os.environ) | {"COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=env, cwd=cwd)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # which is how the end of a terminal is told
        while piece := os.read(ours, 65536):
            shown += piece
    out, _ = process.communicate(timeout=20)
    return process.returncode, out, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())


def test_on_a_terminal_there_is_a_bar(ab, job, tmp_path):
    name = job()
    status, out, bars = on_a_terminal("wait", name, *QUICK, columns=150, cwd=tmp_path)
    assert status == 0
    assert re.search(rf"{name} succeeded \S+ +100 % +2 of 2 rows +\d+ s", bars)
    assert out.startswith(f"{name}\n  state         succeeded\n")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_several_jobs_share_one_line_that_stays_whole(ab, rows, tmp_path, columns):
    many = (*SUBMIT, "--max-rows-per-job", "1", "--wait")
    status, _, shown = on_a_terminal(*many, columns=columns, cwd=tmp_path)
    assert status == 0
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", shown)]
    bars = [line for line in lines if re.match(r"\d jobs, ", line)]
    assert any(line.startswith("3 jobs, ") for line in bars)
    assert max(map(len, bars)) <= columns
    assert not any("Created" in line or "Landed" in line for line in bars)


def test_the_batch_of_a_task_is_waited_for_and_left_to_it(ab, tmp_path, gemini_emulator):
    from faults.task import Task, ask

    task = Task(gemini_emulator.base_url, UPath(tmp_path / "theirs"), [ask("a")], key=KEY)
    task.attempt()
    ended = ab("wait", "theirs", *QUICK)
    assert ended.status == 0
    assert "the batch of dag.label of run run, which lands it" in ended.err
    assert not (tmp_path / "theirs" / "results.jsonl").exists()


def test_a_folder_without_a_batch_is_refused(ab, tmp_path):
    ended = ab("wait", "nothing")
    assert ended.status == 2
    assert f"There is no batch in {tmp_path}/nothing" in ended.err


def test_a_line_is_written_when_the_state_or_a_tenth_of_the_rows_has_changed(capsys):
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    job = JobSnapshot(
        name="batches/x", state=JobState.PENDING, raw_state="BATCH_STATE_PENDING", created_at=at, requests=1000
    )
    board, now = Lines(), at.timestamp() + 120
    for seen in (job, job, replace(job, succeeded=100), replace(job, succeeded=120), replace(job, succeeded=210)):
        board.saw(seen, now)
    assert capsys.readouterr().err.splitlines() == [
        "batches/x pending, 1,000 rows, 2 min old",
        "batches/x pending, 10 %, 100 of 1,000 rows, 2 min old",
        "batches/x pending, 21 %, 210 of 1,000 rows, 2 min old",
    ]
