"""The fetching operator, and jobs that are late: another task has submitted them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_batch.errors import BudgetError, ConfigError, JobTimeoutError
from airflow_provider_batch.operators.embeddings import GeminiEmbeddingsBatchOperator
from airflow_provider_batch.operators.fetch import GeminiBatchFetchResultsOperator
from airflow_provider_batch.operators.options import SingleCalls
from tests.airflow.tries import batch_of, run_try

slow_jobs = pytest.mark.parametrize("gemini_emulator", [{"job_seconds": 3600}], indirect=True)
QUICK = {"requests_per_minute": 60_000, "tokens_per_minute": 10_000_000}
PAST = datetime.now(timezone.utc) - timedelta(days=1)


@pytest.fixture(autouse=True)
def quick(connection):
    connection(extra=QUICK)


@pytest.fixture
def submission(connection, tmp_path):
    """What a task that does not wait has returned."""
    return run_try(batch_of(tmp_path, "ab", wait_for_completion=False))


@pytest.fixture
def calls(gemini_emulator):
    return lambda kind: [call["batch"] for call in gemini_emulator.journal() if call["call"] == kind]


def fetching(submission, **arguments):
    given = {"submission": submission, "deferrable": False, "poll_interval": 1} | arguments
    return GeminiBatchFetchResultsOperator(task_id="fetch", **given)


def statuses(folder):
    return {row["key"]: row["status"] for row in map(json.loads, (folder / "out" / "results.jsonl").open())}


@slow_jobs
@pytest.mark.parametrize(
    "late",
    [
        {"at_timeout": "answer", "timeout": 1},
        {"ready_by": PAST},
        {"ready_by": PAST.isoformat(), "max_cost_usd": "1"},
    ],
    ids=["at the deadline", "the time has passed", "within a limit"],
)
def test_the_rows_of_late_jobs_are_answered_by_single_calls(submission, calls, tmp_path, gemini_emulator, late):
    manifest = run_try(fetching(submission, **late))
    assert manifest["counts"] == {"success": 2}
    assert statuses(tmp_path) == {"a": "success", "b": "success"}
    assert calls("batches.cancel") == [submission["job_name"]]
    assert [call["tier"] for call in gemini_emulator.billed_calls()] == ["flex", "flex"]


@slow_jobs
def test_jobs_are_ended_early_enough_for_the_time(submission, gemini_emulator):
    ahead = datetime.now(timezone.utc) + timedelta(seconds=12)
    assert run_try(fetching(submission, ready_by=ahead))["counts"] == {"success": 2}
    assert datetime.now(timezone.utc) < ahead
    assert len(gemini_emulator.billed_calls()) == 2


@slow_jobs
def test_a_second_try_calls_for_nothing_again(submission, gemini_emulator):
    first = run_try(fetching(submission, at_timeout="answer", timeout=1))
    assert run_try(fetching(submission, at_timeout="answer", timeout=1)) == first
    assert len(gemini_emulator.billed_calls()) == 2


@slow_jobs
def test_the_tier_is_that_of_the_argument(submission, gemini_emulator):
    run_try(fetching(submission, ready_by=PAST, single_calls=SingleCalls(tiers=("standard",))))
    assert [call["tier"] for call in gemini_emulator.billed_calls()] == ["standard", "standard"]


@slow_jobs
def test_late_jobs_are_ended_without_a_call_if_that_is_wanted(submission, calls, gemini_emulator):
    with pytest.raises(JobTimeoutError, match="AGB-P05 The jobs were cancelled"):
        run_try(fetching(submission, at_timeout="cancel", timeout=1))
    assert (calls("batches.cancel"), gemini_emulator.billed_calls()) == ([submission["job_name"]], [])


def test_jobs_that_end_in_time_are_waited_for_without_a_sensor(submission, calls, gemini_emulator):
    assert run_try(fetching(submission, at_timeout="answer"))["counts"] == {"success": 2}
    assert (calls("batches.cancel"), gemini_emulator.billed_calls()) == ([], [])


@slow_jobs
def test_a_limit_without_a_price_is_refused_before_a_job_is_ended(connection, submission, calls, tmp_path):
    (tmp_path / "prices.json").write_text('{"models": []}')
    connection(extra=QUICK | {"prices": str(tmp_path / "prices.json")})
    with pytest.raises(BudgetError, match=r"AGB-C09 .*no price is known for gemini-2\.5-flash") as caught:
        run_try(fetching(submission, ready_by=PAST, max_cost_usd=1))
    assert "Nothing was cancelled or called." in str(caught.value)
    assert calls("batches.cancel") == []


@slow_jobs
def test_a_limit_that_no_call_fits_in_leaves_the_rows_and_says_so(submission, tmp_path, gemini_emulator):
    with pytest.raises(
        JobTimeoutError, match="AGB-P06 2 of 2 rows have no answer: max_cost_usd would be exceeded"
    ):
        run_try(fetching(submission, ready_by=PAST, max_cost_usd=0.000001))
    assert statuses(tmp_path) == {"a": "expired", "b": "expired"}
    assert "max_cost_usd would be exceeded" in (tmp_path / "out" / "results.jsonl").read_text()
    assert gemini_emulator.billed_calls() == []


@slow_jobs
def test_vectors_are_refused_before_a_job_is_ended(connection, calls, tmp_path):
    texts = GeminiEmbeddingsBatchOperator(
        task_id="label",
        requests=[{"key": "a", "text": "x"}],
        prompt="{text}",
        result_path=str(tmp_path / "out"),
        wait_for_completion=False,
    )
    submission = run_try(texts)
    with pytest.raises(ConfigError, match="AGB-T04 gemini-embedding-001 answers with vectors"):
        run_try(fetching(submission, at_timeout="answer", timeout=1))
    assert calls("batches.cancel") == []


@slow_jobs
def test_rows_with_media_need_the_folder_before_a_job_is_ended(connection, calls, tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 100)
    batch = batch_of(
        tmp_path,
        "",
        requests=[{"key": "a", "photo": "a.png"}],
        prompt="What is this?",
        media={"path": str(tmp_path / "media"), "columns": ["photo"], "inline_up_to": 0},
        wait_for_completion=False,
    )
    submission = run_try(batch)
    with pytest.raises(ConfigError, match="AGB-C06 The rows of this batch name media files"):
        run_try(fetching(submission, ready_by=PAST))
    assert calls("batches.cancel") == []
    manifest = run_try(fetching(submission, ready_by=PAST, media_path=tmp_path / "media"))
    assert manifest["counts"] == {"success": 1}


@pytest.mark.parametrize("gemini_emulator", [{"job_seconds": 3600}], indirect=True)
@pytest.mark.parametrize("name", ["fetched_late", "fetched_ready"])
def test_a_dag_whose_jobs_are_late_has_its_table_all_the_same(case, name, gemini_emulator):
    run = case(name, "a", "b", timeout="2")
    assert run.state == "success", run.log
    assert run.xcom["read"] == {"a": "success", "b": "success"}
    assert len(gemini_emulator.billed_calls()) == 2
    assert "by single calls" in run.log


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"at_timeout": "wait"}, "AGB-C06 at_timeout must be one of fail, cancel, answer"),
        ({"ready_by": "07:00 tomorrow"}, "AGB-C06 ready_by must be a time with its time zone"),
        ({"single_calls": {"tiers": ["priority"]}}, "AGB-C06 single_calls.tiers must be"),
        ({"max_cost_usd": 0}, "AGB-C06 max_cost_usd must be a sum in USD above 0"),
        ({"cancel_on_timeout": True}, 'Use at_timeout="cancel".'),
        ({"media_path": "media"}, "AGB-C08 media_path 'media' must be an absolute path"),
    ],
)
def test_arguments_that_cannot_be_meant_are_an_import_error_of_the_dag(arguments, what):
    with pytest.raises(ConfigError) as caught:
        fetching({"job_name": "batches/a"}, **arguments)
    assert what in str(caught.value)


@pytest.mark.parametrize("late", [{"at_timeout": "answer"}, {"at_timeout": "cancel"}, {"ready_by": PAST}])
def test_a_job_of_another_program_is_neither_ended_nor_answered(late):
    with pytest.raises(ConfigError, match="of a job of another program the rows are not known"):
        GeminiBatchFetchResultsOperator(task_id="fetch", job_name="batches/a", result_path="/out", **late)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"trial_rows": 5}, "trial_rows"),
        ({"ready_by": "{{ data_interval_end }}"}, "ready_by"),
        ({"failures": {"at_timeout": "answer"}}, 'failures.at_timeout="answer"'),
    ],
)
def test_single_calls_for_vectors_are_an_import_error_of_the_dag(arguments, named):
    with pytest.raises(ConfigError) as caught:
        GeminiEmbeddingsBatchOperator(task_id="t", requests="/r.jsonl", result_path="/out", **arguments)
    assert str(caught.value).startswith(f"AGB-T04 {named} is given to GeminiEmbeddingsBatchOperator")
