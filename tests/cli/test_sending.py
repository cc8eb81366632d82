"""``submit``: however often it is run, a batch is paid for once."""

from __future__ import annotations

import json

import pytest
from upath import UPath

from airflow_provider_batch.cli.ledgers import newest
from tests.cli.conftest import KEY, SUBMIT


def statuses(folder):
    return {row["key"]: row["status"] for row in map(json.loads, (folder / "results.jsonl").open())}


def test_it_names_the_jobs_and_what_to_run_next(ab, rows, calls):
    ended = ab(*SUBMIT)
    (job,) = calls("batches.create")
    assert ended.status == 0
    assert ended.out.splitlines() == [
        "submitted 3 rows with gemini-2.5-flash",
        f"  {job}",
        "next: airflow-batch wait out",
    ]


def test_the_same_command_again_goes_on_and_pays_nothing(ab, rows, calls, tmp_path, monkeypatch):
    ab(*SUBMIT)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = ab(
        "submit",
        "../rows.jsonl",
        "--model",
        "models/gemini-2.5-flash",
        "--result-path",
        f"{tmp_path}/out",
        "--json",
    )
    assert (again.status, again.json["created"], again.json["job_names"]) == (0, [], calls("batches.create"))
    assert len(calls("batches.create")) == 1


def test_a_relative_result_path_means_the_same_folder_as_the_absolute_one(ab, rows, tmp_path):
    ab(*SUBMIT)
    _, batch = newest(UPath(tmp_path / "out"))
    assert batch.plan.identity.run_id == str(tmp_path / "out")


@pytest.mark.parametrize("spelling", ["./out/", "elsewhere/../out", "link", "file://{folder}/out/"])
def test_one_folder_spelled_two_ways_is_one_batch_and_paid_once(ab, rows, calls, tmp_path, spelling):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert ab(*SUBMIT, "--wait").status == 0
    place = spelling.format(folder=tmp_path)
    again = ab("submit", "rows.jsonl", "--model", "gemini-2.5-flash", "--result-path", place, "--wait")
    assert (again.status, len(calls("batches.create"))) == (0, 1)
    assert ab("show", place, "--json").json["results"]["counts"] == {"success": 3}
    assert ab("wait", place).status == 0


@pytest.mark.parametrize("gemini_emulator", [{"job_seconds": 60}], indirect=True)
def test_a_lost_answer_is_looked_for_and_not_sent_again(ab, rows, calls, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    assert [ab(*SUBMIT).status, ab(*SUBMIT).status] == [0, 0]
    assert len(calls("batches.create")) == 1


def test_with_wait_the_results_land_and_the_answers_are_counted(ab, rows, tmp_path):
    ended = ab(*SUBMIT, "--wait")
    assert ended.status == 0, ended.err
    assert ended.out.splitlines()[:2] == [f"landed   {tmp_path}/out/results.jsonl", "rows     3 (3 success)"]
    assert "cost     USD 0.0000" in ended.out
    assert statuses(tmp_path / "out") == dict.fromkeys("abc", "success")


def test_a_batch_that_has_landed_is_told_again_for_nothing(ab, rows, calls):
    first, again = ab(*SUBMIT, "--wait", "--json"), ab(*SUBMIT, "--json")
    assert again.json == first.json
    assert (first.json["state"], first.json["counts"]) == ("landed", {"success": 3})
    assert len(calls("batches.create")) == 1


def test_rows_that_failed_for_a_passing_reason_are_sent_again_alone(ab, rows, calls, gemini_emulator, tmp_path):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"])
    assert ab(*SUBMIT, "--wait").status == 0
    assert statuses(tmp_path / "out") == dict.fromkeys("abc", "success")
    assert len(calls("batches.create")) == 2


def test_a_row_without_an_answer_is_a_finding(ab, rows, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], error={"code": 3, "message": "no"})
    ended = ab(*SUBMIT, "--wait")
    assert ended.status == 1, ended.err
    assert "rows     3 (1 error, 2 success)" in ended.out
    assert "failed.jsonl" in ended.out


def test_a_job_that_failed_is_a_finding_and_is_named(ab, rows, calls, gemini_emulator):
    ab(*SUBMIT)
    (job,) = calls("batches.create")
    gemini_emulator.force_job(job, state="CANCELLED")
    ended = ab("wait", "out", "--poll-interval", "1")
    assert ended.status == 1
    assert f"error: The batch job {job} was cancelled." in ended.err


def test_other_rows_for_the_same_result_path_are_refused_and_named(ab, rows, calls):
    ab(*SUBMIT)
    rows("d")
    ended = ab(*SUBMIT)
    (job,) = calls("batches.create")
    assert ended.status == 2
    assert f"error: AGB-S05 {job} was submitted" in ended.err


def test_other_rows_are_paid_for_if_that_is_wanted(ab, rows, calls):
    ab(*SUBMIT)
    rows("d")
    assert ab(*SUBMIT, "--on-content-change", "cancel_and_resubmit").status == 0
    assert len(calls("batches.create")) == 2


def test_a_batch_that_may_cost_too_much_is_refused_before_the_upload(ab, rows, gemini_emulator):
    ended = ab(*SUBMIT, "--max-cost-usd", "0.0001")
    assert (ended.status, gemini_emulator.journal()) == (1, [])
    assert "AGB-C09" in ended.err


def test_a_price_file_decides_what_a_batch_may_cost(ab, rows, tmp_path):
    rates = {"input": "1", "output": "1"}
    entry = {"model": "gemini-2.5-flash", "standard": {**rates, "cached": "1"}, "batch": rates}
    (tmp_path / "prices.json").write_text(json.dumps({"models": [entry]}))
    usd = ab("estimate", *SUBMIT[1:4], "--prices", "prices.json", "--json").json["batch_usd"]
    assert usd["most"] == pytest.approx(0.1966, abs=0.001)


def test_bad_rows_are_left_out_if_that_is_wanted(ab, rows, tmp_path):
    (tmp_path / "rows.jsonl").open("a").write("{}\n")
    refused = ab(*SUBMIT, "--wait")
    assert (refused.status, refused.err.splitlines()[0]) == (1, f"error: {tmp_path}/rows.jsonl: 1 bad row")
    ended = ab(*SUBMIT, "--wait", "--skip-bad-rows")
    assert (ended.status, "left out 1 bad row\n" in ended.out) == (1, True)


def test_a_batch_in_the_folder_of_a_task_is_refused(ab, rows, tmp_path, gemini_emulator):
    from faults.task import Task, ask

    Task(gemini_emulator.base_url, UPath(tmp_path / "out"), [ask("z")]).attempt()
    ended = ab(*SUBMIT)
    assert ended.status == 2
    assert "AGB-C15" in ended.err


def test_a_final_no_of_the_api_is_told_and_a_wait_does_not_send(ab, rows, calls, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="status", status=400)
    assert ab(*SUBMIT).status == 3
    ended = ab("wait", "out")
    assert (ended.status, calls("batches.create")) == (2, [])
    assert "1 of 1 job is not submitted" in ended.err
    assert ab(*SUBMIT).status == 0
    assert len(calls("batches.create")) == 1


@pytest.mark.parametrize("gemini_emulator", [{"api_keys": [f"{KEY}=ours", "renewed=ours"]}], indirect=True)
def test_another_key_is_refused_unless_it_is_said_to_be_of_the_same_account(
    ab, rows, calls, monkeypatch, tmp_path
):
    assert ab(*SUBMIT).status == 0
    _, batch = newest(UPath(tmp_path / "out"))
    monkeypatch.setenv("GEMINI_API_KEY", "renewed")
    refused = ab(*SUBMIT)
    assert (refused.status, "AGB-S06" in refused.err) == (2, True)
    assert ab(*SUBMIT, "--account", batch.plan.account).status == 0
    assert len(calls("batches.create")) == 1


EMBED = (
    *("submit", "texts.jsonl", "--embeddings", "--model", "gemini-embedding-001", "--prompt", "{text}"),
    *("--task-type", "CLUSTERING", "--output-dimensionality", "8", "--result-path", "vectors"),
)


def test_texts_become_vectors(ab, calls, tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"key": "a", "text": "x"}\n{"key": "b", "text": "y"}\n')
    ended = ab(*EMBED, "--wait", "--poll-interval", "1")
    assert ended.status == 0, ended.err
    landed = [json.loads(line) for line in (tmp_path / "vectors/results.jsonl").open()]
    assert {row["key"]: len(row["vector"]) for row in landed} == {"a": 8, "b": 8}
    assert ab(*EMBED).status == 0
    assert len(calls("batches.create")) == 1


def test_the_wrong_kind_of_model_is_refused_before_anything_is_uploaded(ab, rows, gemini_emulator):
    ended = ab("submit", "rows.jsonl", "--model", "gemini-embedding-001", "--result-path", "out")
    assert ended.status == 2
    assert "submit with --embeddings" in ended.err
    assert gemini_emulator.journal() == []


def test_submitting_after_a_cancel_lands_and_the_next_time_sends_what_was_left(ab, rows, calls, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK")
    ab(*SUBMIT)
    (job,) = calls("batches.create")
    ab("cancel", job, "--yes")
    ab("wait", job, "--poll-interval", "1")
    ab(*SUBMIT)
    assert calls("batches.create") == [job]
    ab(*SUBMIT)
    assert len(calls("batches.create")) == 2
