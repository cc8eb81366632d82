"""The main job on a real Airflow: rows in, landed results out, and what happens when it goes wrong."""

from __future__ import annotations

import json
import re

import pytest

from airflow_provider_batch.rows.manifest import MAX_XCOM_BYTES


def request_line(key):
    return json.dumps({"key": key, "request": {"contents": [{"parts": [{"text": f"hello {key}"}]}]}}) + "\n"


def calls(emulator, name):
    return [entry for entry in emulator.journal() if entry["call"] == name]


def landed(folder):
    return {row["key"]: row for row in map(json.loads, (folder / "results.jsonl").read_text().splitlines())}


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["deferred", "synchronous"])
def test_a_file_of_requests_becomes_landed_results_and_a_manifest(case, gemini_emulator, name):
    run = case(name, "a", "b", "c")
    assert run.state == "success", run.log
    manifest = run.xcom["batch"]
    assert manifest["counts"] == {"success": 3}
    assert manifest["request_count"] == 3
    assert manifest["tokens"]["input"] > 0
    assert run.xcom["read"] == {"a": "success", "b": "success", "c": "success"}
    assert {key: row["status"] for key, row in landed(case.folder).items()} == run.xcom["read"]
    assert len(calls(gemini_emulator, "batches.create")) == 1


def test_the_manifest_is_the_same_on_disk_and_stays_small(case):
    run = case("deferred")
    on_disk = json.loads((case.folder / "manifest.json").read_text())
    assert on_disk == run.xcom["batch"]
    assert len(json.dumps(run.xcom["batch"])) < MAX_XCOM_BYTES


def test_the_uploaded_input_is_deleted_after_landing(case, gemini_emulator):
    case("deferred")
    assert len(calls(gemini_emulator, "files.delete")) == 1


def test_a_short_list_of_rows_is_sent_as_it_is_and_never_rendered(case, gemini_emulator):
    run = case("listed")
    assert run.xcom["read"] == {"a": "success", "b": "success"}
    answer = landed(case.folder)["a"]["text"]
    assert "{% off {{ ds }}" in answer


@pytest.mark.parametrize(
    ("state", "code"),
    [("BATCH_STATE_FAILED", "AGB-J01"), ("BATCH_STATE_EXPIRED", "AGB-J02"), ("BATCH_STATE_CANCELLED", "AGB-J03")],
)
def test_a_job_that_ended_badly_fails_the_task_and_names_the_job(case, gemini_emulator, state, code):
    gemini_emulator.add_fault(action="job", state=state, times=None)
    run = case("once")
    (created,) = calls(gemini_emulator, "batches.create")
    assert run.tasks == {"batch": "failed", "read": "upstream_failed"}
    assert code in run.log
    assert created["batch"] in run.log
    assert set(landed(case.folder)) == {"a", "b", "c"}


def test_rows_of_an_expired_job_are_sent_again_and_the_task_succeeds(case, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="BATCH_STATE_EXPIRED")
    run = case("deferred")
    assert run.state == "success", run.log
    assert run.xcom["batch"]["rounds"] == 2
    assert run.xcom["batch"]["counts"] == {"success": 3}


def test_a_job_that_somebody_cancelled_is_not_begun_again_by_a_retry(case, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="BATCH_STATE_CANCELLED")
    run = case("deferred_retry")
    assert run.tasks["batch"] == "failed"
    assert len(calls(gemini_emulator, "batches.create")) == 1


def test_rows_that_changed_are_paid_for_by_a_cleared_task_if_the_user_wants_it(
    connection, gemini_emulator, tmp_path, airflow_db
):
    """Two tries of one task instance, as Airflow runs them, with another list of rows in the second."""
    from tests.airflow.tries import tries

    first, second = tries(tmp_path, [["a", "b"], ["c"]], failures={"on_content_change": "cancel_and_resubmit"})
    assert (first["counts"], second["counts"]) == ({"success": 2}, {"success": 1})
    assert set(landed(tmp_path / "out")) == {"c"}
    assert len(calls(gemini_emulator, "batches.create")) == 2


def test_a_large_input_becomes_several_jobs_of_one_task(case, gemini_emulator):
    run = case("sharded", *"abcdefg")
    assert run.state == "success", run.log
    assert run.xcom["batch"]["job_count"] == 4
    assert set(landed(case.folder)) == set("abcdefg")


def test_at_the_deadline_the_jobs_are_ended_if_asked_and_what_finished_is_landed(case, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK")
    run = case("short_cancelled")
    assert run.tasks["batch"] == "failed"
    assert "AGB-P05 The jobs were cancelled: the deadline passed" in run.log
    assert len(calls(gemini_emulator, "batches.cancel")) == 1
    assert set(landed(case.folder)) == {"a", "b", "c"}


@pytest.mark.parametrize("name", ["short", "short_synchronous"])
def test_a_job_that_outlasts_the_timeout_fails_the_task_and_is_left_alone(case, gemini_emulator, name):
    gemini_emulator.add_fault(action="job", state="STUCK")
    run = case(name)
    assert run.tasks["batch"] == "failed"
    assert "AGB-P05" in run.log
    assert calls(gemini_emulator, "batches.cancel") == []


def test_rows_with_errors_are_landed_and_by_default_accepted(case, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], times=None)
    run = case("deferred", "a", "b")
    assert run.xcom["batch"]["counts"] == {"success": 1, "error": 1}
    assert run.xcom["read"] == {"a": "success", "b": "error"}


def test_rows_with_errors_fail_the_task_if_asked_but_are_landed(case, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b"], times=None)
    run = case("partial", "a", "b")
    assert run.tasks["batch"] == "failed"
    assert "1 of 2 rows" in run.log
    assert landed(case.folder)["b"]["status"] == "error"


def test_as_many_rows_may_fail_as_the_task_allows(case, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b", "d"], times=None)
    assert case("half", "a", "b", "c", "d").state == "success"


def test_more_rows_that_fail_for_good_fail_the_task_at_once(case, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["b", "c"], times=None)
    run = case("half", "a", "b", "c")
    assert (run.tasks["batch"], run.tries["batch"]) == ("failed", 1)
    assert "2 of 3 rows" in run.log
    assert "At most 50 % of them may." in run.log
    assert set(landed(case.folder)) == {"a", "b", "c"}


def test_a_batch_without_any_usable_answer_fails_its_task(case, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="error", keys=["a", "b"], times=None)
    run = case("deferred", "a", "b")
    assert (run.tasks["batch"], set(landed(case.folder))) == ("failed", {"a", "b"})


@pytest.mark.parametrize(("keys", "conf"), [("aa", {}), ("ab", {"model": "gemini-none"})], ids=["row", "model"])
def test_what_no_retry_can_mend_is_not_tried_again(case, gemini_emulator, keys, conf):
    run = case("deferred_retry", *keys, **conf)
    assert (run.tasks["batch"], run.tries["batch"]) == ("failed", 1)
    assert calls(gemini_emulator, "files.upload") == []


def test_dropped_repeated_and_shuffled_rows_still_add_up(case, gemini_emulator):  # T24, T25
    gemini_emulator.add_fault(action="rows", mutation="drop", keys=["a"], times=None)
    gemini_emulator.add_fault(action="rows", mutation="duplicate", keys=["b"], times=None)
    gemini_emulator.add_fault(action="rows", mutation="shuffle", times=None)
    manifest = case("deferred", "a", "b", "c", "d").xcom["batch"]
    assert manifest["counts"] == {"success": 3, "missing": 1}
    assert manifest["quarantined"] == 1
    assert landed(case.folder)["a"]["status"] == "missing"


def test_a_corrupt_result_line_is_kept_in_quarantine_and_its_row_is_missing(case, gemini_emulator):
    gemini_emulator.add_fault(action="rows", mutation="corrupt", keys=["a"], times=None)
    manifest = case("deferred", "a", "b").xcom["batch"]
    assert manifest["counts"] == {"success": 1, "missing": 1}
    assert (case.folder / "quarantine.jsonl").read_bytes()


@pytest.mark.parametrize("status", [500, 503, 429])
def test_polls_that_fail_for_a_while_do_not_fail_the_task(case, gemini_emulator, status):
    gemini_emulator.add_fault(call="batches.get", action="status", status=status, times=5)
    assert case("deferred").state == "success"


def test_a_lost_answer_to_the_create_is_resolved_without_a_second_one(case, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop", times=1)
    run = case("deferred")
    assert run.state == "success", run.log
    assert len(calls(gemini_emulator, "batches.create")) == 1


def test_a_refused_create_deletes_the_upload_and_says_so(case, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="status", status=403, times=None)
    run = case("deferred")
    assert run.tasks["batch"] == "failed"
    assert "AGB-S02 No job was created" in run.log
    assert len(calls(gemini_emulator, "files.delete")) == 1


@pytest.mark.parametrize("name", ["deferred", "synchronous"])
def test_a_full_queue_is_waited_out_without_a_retry_or_a_second_upload(case, gemini_emulator, name):
    gemini_emulator.add_fault(call="batches.create", action="status", status=429, retry_delay=1, times=2)
    run = case(name)
    assert run.state == "success", run.log
    assert len(calls(gemini_emulator, "files.create")) == 1


BAD_INPUT = [
    ("not JSON", '{"key": "a"\n', {}, "AGB-I06 line 1"),
    (
        "a key twice",
        '{"key":"k","request":{"contents":[{"parts":[{"text":"x"}]}]}}\n' * 2,
        {},
        "same key as on line 1",
    ),
    ("empty", "", {}, "AGB-I01"),
    ("a malformed model name", None, {"model": "Gemini Pro"}, "is not a model name"),
    ("a model that does not exist", None, {"model": "gemini-0-none"}, "knows no model"),
    ("a missing file", None, {"requests": "/nowhere/requests.jsonl"}, "does not exist"),
    ("a relative path", None, {"requests": "requests.jsonl"}, "must be an absolute path"),
]


@pytest.mark.parametrize(("content", "conf", "words"), [b[1:] for b in BAD_INPUT], ids=[b[0] for b in BAD_INPUT])
def test_bad_input_fails_before_any_upload_and_leaves_no_results(
    case, gemini_emulator, tmp_path, content, conf, words
):
    if content is not None:
        bad = tmp_path / "bad.jsonl"
        bad.write_text(content)
        conf = {"requests": str(bad)}
    run = case("deferred", **conf)
    assert run.tasks["batch"] == "failed"
    assert words in run.log
    assert gemini_emulator.journal() == []
    assert not case.folder.exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"password": ""}, "There is no API key"),
        ({"password": "two words"}, "white space"),
        ({"host": "http://gemini.example"}, "would send the credential unencrypted"),
        ({"extra": {"auth_type": "magic"}}, "auth_type must be one of"),
        ({"extra": {"api_version": "v9"}}, "api_version must be one of"),
    ],
    ids=["no key", "white space in the key", "http elsewhere", "unknown kind of credential", "unknown version"],
)
def test_a_bad_connection_fails_before_any_call(case, connection, gemini_emulator, fields, words):
    connection(**fields)
    run = case("deferred")
    assert run.tasks["batch"] == "failed"
    assert words in run.log
    assert gemini_emulator.requests() == []


def test_a_connection_that_does_not_exist_is_named(case, gemini_emulator):
    run = case("deferred", conn_id="nowhere")
    assert run.tasks["batch"] == "failed"
    assert "There is no connection 'nowhere'" in run.log


def test_mapped_rows_of_an_upstream_task_become_a_job_each(case, gemini_emulator):
    run = case("mapped")
    assert run.state == "success", run.log
    assert run.xcom["read"] == ["r0", "r1", "r2"]
    assert len(calls(gemini_emulator, "batches.create")) == 3


def test_mapped_tasks_that_share_a_folder_do_not_replace_each_other(case, gemini_emulator):
    run = case("mapped_together")
    assert "AGB-C15" in run.log
    assert re.search(r"case_mapped_together.batch\[\d\] of run", run.log)
    assert len(calls(gemini_emulator, "batches.create")) == 1
    assert len(landed(case.folder)) == 1
