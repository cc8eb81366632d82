"""``list``, ``show``, ``download`` and ``cancel``."""

from __future__ import annotations

import io
import json
import re
import sys

import httpx
import pytest
from upath import UPath

from airflow_provider_batch.batch.decide.call_rules import CallRules
from airflow_provider_batch.cli.jobs import SETTLED, _newest
from airflow_provider_batch.cli.parsers import build
from airflow_provider_batch.gemini.prices import PriceTable
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.wire import Batch
from faults.task import Task, ask
from tests.cli.conftest import KEY, SUBMIT

QUICK = ("--poll-interval", "1")

LASTING = pytest.mark.parametrize("gemini_emulator", [{"job_seconds": 60}], indirect=True)
"""Jobs that no slow machine lets end before they are cancelled."""


@pytest.fixture
def done(ab, job):
    """A job of two rows that has ended."""
    name = job()
    assert ab("wait", name, *QUICK).status == 0
    return name


def raw(gemini_emulator, name):
    """The result lines of an ended job, as the API gives them."""
    headers, base = {"x-goog-api-key": KEY}, f"{gemini_emulator.base_url}/v1beta"
    file = httpx.get(f"{base}/{name}", headers=headers).json()["response"]["responsesFile"]
    return httpx.get(f"{base}/{file}:download?alt=media", headers=headers).content


def test_jobs_are_listed_newest_first_with_what_matters(ab, job):
    first, second = job("night.monday"), job("night.tuesday", "abc")
    head, one, two = ab("list").out.splitlines()
    assert head.split() == ["JOB", "STATE", "ROWS", "FAILED", "AGE", "MODEL", "DISPLAY", "NAME"]
    assert (one.split()[0], one.split()[-1]) == (second, "night.tuesday")
    assert two.split()[0] == first
    assert [line["rows"] for line in ab("list", "--json").lines] == [3, 2]


def test_a_job_that_cannot_be_read_hides_no_other(ab, gemini_emulator):
    jobs = [{"name": "batches/a", "metadata": {"displayName": 7}}, {"name": "batches/b", "metadata": {}}]
    body = {"operations": jobs}
    gemini_emulator.add_fault(call="batches.list", action="status", status=200, body=body, times=None)
    done = ab("list", "--json")
    assert ([line["name"] for line in done.lines], done.status) == (["batches/b"], 0)
    assert "a job is left out" in done.err


def test_a_listing_is_narrowed_by_number_prefix_and_state(ab, job, gemini_emulator):
    names = [job("a.1"), job("b.1"), job("a.2")]
    gemini_emulator.force_job(names[1], state="FAILED")

    def listed(*options):
        return [line["name"] for line in ab("list", "--json", *options).lines]

    assert listed("--limit", "1") == [names[2]]
    assert listed("--prefix", "a.") == [names[2], names[0]]
    assert listed("--state", "failed") == [names[1]]
    assert listed("--limit", "0") == names[::-1]


def test_nothing_in_a_display_name_steers_the_terminal(ab, job):
    job("\x1b[2Jgone")
    assert "\x1b" not in (listed := ab("list").out)
    assert "\\x1b[2Jgone" in listed


def stored(count, start=0):
    """Jobs of a listing, the newest first."""
    for age in range(start, start + count):
        at = f"2026-01-{28 - age // 1440:02}T{23 - age % 1440 // 60:02}:{59 - age % 60:02}:00Z"
        yield Batch.model_validate({"name": f"batches/j{age}", "metadata": {"state": "X", "createTime": at}})


def test_reading_stops_when_a_long_listing_brings_no_newer_job():
    options, seen = build("x").parse_args(["list", "--limit", "2"]), []
    newest = _newest((seen.append(job) or job for job in stored(SETTLED * 3)), options)
    assert ([job.name for job in newest], len(seen)) == (["batches/j0", "batches/j1"], SETTLED + 2)


def test_a_newer_job_further_back_in_the_listing_is_still_found():
    options = build("x").parse_args(["list", "--limit", "2"])
    listing = [*stored(SETTLED - 1, start=10), *stored(1)]
    assert [job.name for job in _newest(iter(listing), options)] == ["batches/j0", "batches/j10"]


def test_a_job_is_shown_with_its_rows_and_times(ab, done):
    shown = ab("show", done)
    assert shown.out.splitlines()[0] == done
    assert "  rows          2, 2 succeeded, 0 failed" in shown.out.splitlines()
    said = ab("show", done, "--json").json
    assert (said["state"], said["model"], said["display_name"]) == ("succeeded", "gemini-2.5-flash", "theirs")


def test_a_batch_is_shown_as_a_history_without_a_key(ab, rows, calls, tmp_path, monkeypatch, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    ab(*SUBMIT, "--wait")
    monkeypatch.delenv("GEMINI_API_KEY")
    asked = len(gemini_emulator.requests())
    shown = ab("show", "out").out
    first, second = calls("batches.create")
    told = [line[25:] for line in shown.splitlines() if line.startswith("20")]
    assert told[0] == "Planned: 3 rows, 1 job"
    assert f"round 1 shard 1: Accepted: {first}" in told
    assert "round 1 shard 1: Landed, succeeded: 1 error, 2 success" in told
    assert "round 2: Sent again: 1 row, 1 job" in told
    assert told[-1] == "round 2: Published: the results are in the result folder"
    assert "  estimated USD 0.0000 to " in shown
    assert f"    2      1     1  {second}  succeeded  1 success" in shown.splitlines()
    assert "rows     3 (3 success)" in shown
    assert len(gemini_emulator.requests()) == asked


def test_a_rescued_batch_is_shown_with_its_calls_and_what_they_cost(ab, gemini_emulator, tmp_path):
    calls = CallRules(requests_per_minute=60_000, tokens_per_minute=10_000_000)
    rows = [ask(key) for key in "abcdefgh"]
    task = Task(gemini_emulator.base_url, UPath(tmp_path / "out"), rows, prices=PriceTable.shipped().price)
    task = task.but(calls=calls, trial_rows=2, timeout_s=3600.0, at_timeout="answer")
    task.attempt()
    gemini_emulator.force_job(task.jobs[0], state="STUCK")
    gemini_emulator.advance_clock(3605)
    task.finish()
    shown = ab("show", "out").out.splitlines()
    parts = [re.split(" {2,}", line.strip()) for line in shown]
    assert ["trial", "1", "2", "single calls: 2 flex", "answered", "2 success"] in parts
    assert ["2", "1", "6", "single calls: 6 flex", "answered", "6 success"] in parts
    told = [line[25:] for line in shown if line.startswith("20")]
    assert "Trial: 2 rows are answered by single calls before the batch is sent" in told
    assert "round 2: Rescue: the jobs were late: 6 rows are answered by single calls" in told
    assert any(line.startswith("flex     8 rows, ") for line in shown)
    assert "rescue   USD 0.000000 more than in batch mode, included in the cost" in shown
    assert any(line.startswith("  by 2 tried rows USD 0.0") for line in shown)
    said = ab("show", "out", "--json").json
    assert [(shard["kind"], shard["calls"]) for shard in said["shards"]] == [
        ("trial", {"flex": 2}),
        ("batch", {}),
        ("rescue", {"flex": 6}),
    ]
    assert said["trial"]["rows_tried"] == 2


def test_the_history_for_scripts_holds_no_address_of_an_upload(ab, rows, tmp_path):
    ab(*SUBMIT)
    (session,) = (tmp_path / "out").glob("_ledger/*/1/*.session.json")
    ended = ab("show", "out", "--json")
    assert (ended.json["state"], ended.json["shards"][0]["state"]) == ("submitted", "submitted")
    assert json.loads(session.read_text())["address"] not in ended.out


def test_the_lines_of_a_job_are_downloaded_as_they_are(ab, rows, calls, tmp_path, gemini_emulator):
    ab(*SUBMIT)
    (name,) = calls("batches.create")
    ab("wait", name, *QUICK)
    ended = ab("download", name, "-o", "lines.jsonl")
    assert ended.status == 0
    assert (tmp_path / "lines.jsonl").read_bytes() == raw(gemini_emulator, name)
    assert (tmp_path / "lines.jsonl").stat().st_mode & 0o777 == 0o600
    assert ab("download", name, "-o", "-").out.encode() == raw(gemini_emulator, name)
    assert [p.name for p in tmp_path.glob(".*.part")] == []


def test_a_download_that_broke_goes_on_where_it_stopped(ab, rows, calls, tmp_path, gemini_emulator):
    ab(*SUBMIT)
    (name,) = calls("batches.create")
    ab("wait", name, *QUICK)
    lines, file = raw(gemini_emulator, name), ab("show", name, "--json").json["output_file"]
    part = tmp_path / f".lines.jsonl.{file.replace('/', '-')}.part"
    # What was fetched before is not what the server has, so that it shows which bytes were fetched now.
    part.write_bytes(b"#" * 100)
    assert ab("download", name, "-o", "lines.jsonl").status == 0
    assert (tmp_path / "lines.jsonl").read_bytes() == b"#" * 100 + lines[100:]


def test_inline_answers_are_downloaded_as_lines(ab, done, tmp_path):
    assert ab("download", done).status == 0
    (file,) = tmp_path.glob("*.jsonl")
    assert file.name == f"{done.removeprefix('batches/')}.jsonl"
    assert [json.loads(line)["key"] for line in file.open()] == ["a", "b"]


def test_inline_answers_have_the_metadata_that_their_rows_were_sent_with(ab, gemini_emulator, tmp_path):
    rows = [
        {"request": {"contents": [{"parts": [{"text": key}]}]}, "metadata": {"key": key, "region": "EU"}}
        for key in "ab"
    ]
    batch = {"displayName": "d", "inputConfig": {"requests": {"requests": rows}}}
    address = f"{gemini_emulator.base_url}/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    name = httpx.post(address, json={"batch": batch}, headers={"x-goog-api-key": KEY}).json()["name"]
    ab("wait", name, *QUICK)
    assert ab("download", name, "-o", "lines.jsonl").status == 0
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").open()]
    assert [line["metadata"] for line in lines] == [row["metadata"] for row in rows]
    assert [GeminiRows().read_result(json.dumps(line).encode()).key for line in lines] == ["a", "b"]


def test_a_file_that_is_there_is_replaced_only_if_that_is_wanted(ab, done, tmp_path):
    (tmp_path / "mine").write_text("mine")
    ended = ab("download", done, "-o", "mine")
    assert (ended.status, (tmp_path / "mine").read_text()) == (2, "mine")
    assert "--force" in ended.err
    assert ab("download", done, "-o", "mine", "--force").status == 0
    assert (tmp_path / "mine").read_text() != "mine"


def test_a_job_that_runs_has_nothing_to_download_yet(ab, job, gemini_emulator, tmp_path):
    name = job()
    gemini_emulator.force_job(name, state="STUCK")
    ended = ab("download", name)
    assert ended.status == 4
    assert f"airflow-batch wait {name} waits for it." in ended.err


def test_a_job_that_failed_without_results_is_a_finding(ab, job, gemini_emulator):
    name = job()
    gemini_emulator.force_job(name, state="FAILED", error={"code": 3, "message": "no good"})
    ended = ab("download", name)
    assert (ended.status, "no good" in ended.err) == (1, True)


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self):
        return True


@LASTING
@pytest.mark.parametrize(("typed", "status", "cancels"), [("y\n", 0, 1), ("\n", 1, 0), ("no\n", 1, 0)])
def test_a_person_is_asked_before_a_job_is_cancelled(ab, job, calls, monkeypatch, typed, status, cancels):
    name = job()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    ended = ab("cancel", name)
    assert (ended.status, len(calls("batches.cancel"))) == (status, cancels)
    assert f"Cancel {name} (pending, 2 rows)? What it has finished is billed. [y/N]" in ended.err


@LASTING
def test_where_nobody_can_be_asked_nothing_is_cancelled(ab, job, calls, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    ended = ab("cancel", job())
    assert (ended.status, calls("batches.cancel")) == (2, [])
    assert "--yes" in ended.err


@LASTING
def test_several_jobs_are_cancelled_after_all_names_were_checked(ab, job, calls):
    names = [job(), job()]
    assert ab("cancel", *names, "batches/nowhere", "--yes").status == 3
    assert calls("batches.cancel") == []
    ended = ab("cancel", *names, "--yes", "--json")
    assert [(one["name"], one["asked"]) for one in ended.json] == [(name, True) for name in names]
    assert calls("batches.cancel") == names


def test_a_job_that_has_ended_is_left_as_it_is(ab, done, calls):
    ended = ab("cancel", done, "--yes")
    assert (ended.status, calls("batches.cancel")) == (0, [])
    assert f"{done} is succeeded already." in ended.err
