"""``rescue``: what jobs have not answered, single calls answer, and no answer is paid for twice."""

from __future__ import annotations

import json
import os
import re

import pytest
from upath import UPath

from airflow_provider_batch.cli.ledgers import newest
from faults.task import Task, ask
from tests.cli.conftest import KEY, SUBMIT
from tests.cli.test_waiting import interrupted

SLOW = {"job_seconds": 3600, "call_seconds": 0.01}
slow_jobs = pytest.mark.parametrize("gemini_emulator", [SLOW], indirect=True)
FAST = ("--requests-per-minute", "60000", "--tokens-per-minute", "10000000", "--poll-interval", "1")
RESCUE = ("rescue", "out", "--yes", *FAST)


def statuses(folder):
    return {row["key"]: row["status"] for row in map(json.loads, (folder / "results.jsonl").open())}


@slow_jobs
def test_the_jobs_are_asked_to_end_and_their_rows_are_answered_by_single_calls(
    ab, rows, calls, tmp_path, gemini_emulator
):
    ab(*SUBMIT)
    ended = ab(*RESCUE)
    assert ended.status == 0, ended.err
    assert statuses(tmp_path / "out") == dict.fromkeys("abc", "success")
    assert calls("batches.cancel") == calls("batches.create")
    assert [call["tier"] for call in gemini_emulator.billed_calls()] == ["flex"] * 3
    assert ended.out.startswith(f"landed   {tmp_path}/out/results.jsonl\nrows     3 (3 success)\n")
    progress = r"^3 of 3 rows answered, 3 flex, USD 0\.0\d+ so far, ends by \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"
    assert re.search(progress, ended.err, re.MULTILINE)
    assert f"To do: ask {calls('batches.create')[0]} to end, and have up to 3 rows answered" in ended.err
    assert "Single calls for round 2, shard 1 have ended: 3 answers (3 success)." in ended.err


@slow_jobs
def test_once_more_it_calls_for_nothing_and_asks_nothing(ab, rows, calls, gemini_emulator):
    ab(*SUBMIT)
    first = ab(*RESCUE, "--json")
    again = ab("rescue", "out", "--json")
    assert (again.status, again.json) == (0, first.json)
    assert first.json["counts"] == {"success": 3}
    assert (len(gemini_emulator.billed_calls()), len(calls("batches.cancel"))) == (3, 1)


@slow_jobs
def test_without_a_yes_nothing_is_cancelled_or_called(ab, rows, calls, gemini_emulator):
    ab(*SUBMIT)
    (job,) = calls("batches.create")
    ended = ab("rescue", "out", *FAST)
    assert ended.status == 2
    assert f"Ask {job} to end, and have up to 3 rows answered by single calls (flex, USD " in ended.err
    assert "Give --yes" in ended.err
    assert (calls("batches.cancel"), gemini_emulator.billed_calls()) == ([], [])


def test_the_rows_that_a_landed_batch_has_no_answer_for_are_called_alone(
    ab, rows, calls, tmp_path, gemini_emulator
):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    ab(*SUBMIT)
    assert ab("wait", "out", "--poll-interval", "1").status == 1
    ended = ab(*RESCUE, "--tiers", "standard")
    assert ended.status == 0, ended.err
    assert statuses(tmp_path / "out") == dict.fromkeys("abc", "success")
    assert [call["tier"] for call in gemini_emulator.billed_calls()] == ["standard"]
    _, batch = newest(UPath(tmp_path / "out"))
    assert [round_.plan.kind.value for round_ in batch.rounds] == ["batch", "rescue"]
    assert calls("batches.cancel") == []


@slow_jobs
def test_the_batch_of_a_task_is_rescued_by_what_its_ledger_says(ab, calls, tmp_path, gemini_emulator):
    task = Task(gemini_emulator.base_url, UPath(tmp_path / "theirs"), [ask(key) for key in "ab"], key=KEY)
    task.attempt()
    _, batch = newest(UPath(tmp_path / "theirs"))
    refused = ab("rescue", "theirs", "--yes", *FAST)
    assert (refused.status, "AGB-S06" in refused.err, calls("batches.cancel")) == (2, True, [])
    ended = ab("rescue", "theirs", "--yes", *FAST, "--account", batch.plan.account)
    assert ended.status == 0, ended.err
    assert "This is the batch of dag.label of run run. If a task still works on it, leases" in ended.err
    assert task.finish().counts == {"success": 2}
    assert len(gemini_emulator.billed_calls()) == 2


@slow_jobs
@pytest.mark.parametrize("place", ["ledger", "job"])
def test_a_ledger_and_a_job_stand_for_the_batch_of_their_folder(ab, rows, calls, tmp_path, place):
    ab(*SUBMIT)
    ledger, batch = newest(UPath(tmp_path / "out"))
    target = str(ledger.folder) if place == "ledger" else batch.jobs[0]
    assert ab("rescue", target, "--yes", *FAST).status == 0
    assert statuses(tmp_path / "out") == dict.fromkeys("abc", "success")


@slow_jobs
def test_a_job_that_could_not_be_asked_to_end_is_asked_again(ab, rows, calls, tmp_path, gemini_emulator):
    ab(*SUBMIT)
    gemini_emulator.add_fault(call="batches.cancel", action="status", status=403, times=1)
    assert ab(*RESCUE).status == 3
    assert (calls("batches.cancel"), gemini_emulator.billed_calls()) == ([], [])
    assert ab(*RESCUE).status == 0
    assert calls("batches.cancel") == calls("batches.create")
    assert statuses(tmp_path / "out") == dict.fromkeys("abc", "success")


def test_a_job_that_no_ledger_knows_is_refused(ab, job, calls, tmp_path):
    ended = ab("rescue", job(), "--yes", *FAST)
    assert ended.status == 2
    assert f"No ledger below {tmp_path} knows batches/" in ended.err
    assert calls("batches.cancel") == []


@slow_jobs
def test_embeddings_are_refused_by_name_before_a_job_is_ended(ab, calls, tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"key": "a", "text": "x"}\n')
    embed = ("submit", "texts.jsonl", "--embeddings", "--model", "gemini-embedding-001", "--prompt", "{text}")
    ab(*embed, "--result-path", "out")
    ended = ab(*RESCUE)
    assert ended.status == 2
    assert "error: AGB-T04 gemini-embedding-001 answers with vectors" in ended.err
    assert calls("batches.cancel") == []


@slow_jobs
def test_a_model_without_a_price_is_refused_under_a_limit_before_a_job_is_ended(ab, rows, calls, tmp_path):
    (tmp_path / "prices.json").write_text('{"models": []}')
    ab(*SUBMIT)
    ended = ab(*RESCUE, "--max-cost-usd", "1", "--prices", "prices.json")
    assert (ended.status, calls("batches.cancel")) == (1, [])
    assert "AGB-C09 --max-cost-usd is 1, and no price is known for gemini-2.5-flash" in ended.err


@slow_jobs
def test_what_the_limit_on_the_cost_does_not_pay_for_is_left_and_said(ab, rows, gemini_emulator, tmp_path):
    ab(*SUBMIT)
    ended = ab(*RESCUE, "--max-cost-usd", "0.000001")
    assert (ended.status, gemini_emulator.billed_calls()) == (1, [])
    assert "max-cost-usd would be exceeded" in (tmp_path / "out" / "results.jsonl").read_text() + ended.err


@slow_jobs
@pytest.mark.parametrize(
    ("time", "code"), [("2020-01-01T07:00Z", "AGB-T03"), ("07:00 tomorrow", "AGB-C06"), ("2099-01-01", "AGB-C06")]
)
def test_a_time_to_be_ready_by_that_cannot_be_meant_is_refused(ab, rows, calls, time, code):
    ab(*SUBMIT)
    ended = ab(*RESCUE, "--ready-by", time)
    assert (ended.status, code in ended.err, calls("batches.cancel")) == (2, True, [])


@slow_jobs
def test_with_little_time_left_the_rescue_begins_at_once(ab, rows, tmp_path):
    ab(*SUBMIT)
    assert ab(*RESCUE, "--ready-by", "0:30").status == 0
    assert statuses(tmp_path / "out") == dict.fromkeys("abc", "success")


@slow_jobs
def test_with_time_left_the_jobs_run_on(ab, rows, calls, tmp_path):
    ab(*SUBMIT)
    status, _, err = interrupted((*RESCUE, "--ready-by", "9:00"), dict(os.environ), tmp_path, when=" old")
    assert (status, calls("batches.cancel")) == (130, [])
    assert "was not asked to end. airflow-batch rescue out goes on" in err


@pytest.mark.parametrize("gemini_emulator", [{"job_seconds": 3600, "call_seconds": 0.3}], indirect=True)
def test_ctrl_c_notes_what_is_answered_and_the_next_call_pays_for_none_of_it_again(
    ab, rows, tmp_path, gemini_emulator
):
    rows(*(f"row-{number}" for number in range(12)))
    ab(*SUBMIT)
    command = (*RESCUE, "--concurrency", "2")
    status, _, err = interrupted(command, dict(os.environ), tmp_path, when=" 2 flex")
    assert status == 130
    assert re.search(r"Stopped. What single calls have answered is noted \(\d+ of 12 rows\)", err)
    assert "airflow-batch rescue out goes on, and pays for no answer again." in err
    assert 2 <= len(gemini_emulator.billed_calls()) < 12
    assert ab(*RESCUE).status == 0
    assert set(statuses(tmp_path / "out").values()) == {"success"}
    assert len(gemini_emulator.billed_calls()) == 12
