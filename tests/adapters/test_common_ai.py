"""Gemini behind ``@task.llm_batch``: the real common-ai package and a real Airflow against the emulator."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

pytest.importorskip(
    "airflow.providers.common.ai.batch.base",
    reason="common-ai is not installed: the extra common-ai, on Python 3.11 or newer",
    exc_type=ImportError,
)

from airflow.providers.common.ai.batch import dispatch
from airflow.providers.common.ai.batch.output_schema import build_output_spec
from airflow.providers.common.ai.exceptions import (
    LLMBatchInputError,
    LLMBatchModelMismatchError,
    LLMBatchOutputTypeError,
)
from airflow.providers.common.ai.triggers.llm_batch import LLMBatchTrigger

from airflow_provider_batch.adapters.common_ai import GeminiBatchAdapter
from airflow_provider_batch.emulator.process import running_emulator
from airflow_provider_batch.errors import ApiError, BatchError, ConfigError, QuotaError, SubmitUnknownError

KEY, FINGERPRINT = "0123456789abcdef", "f" * 64
PROMPTS = [{"prompt": f"hello {number}"} for number in range(3)]
BATCH = {"model": "gemini-2.5-flash", "idempotency_key": KEY, "max_tokens": 100, "system_prompt": "Be short."}

# Done at the first look: the operator's next one would be 30 s later.
quick = pytest.mark.parametrize("gemini_emulator", [{"job_seconds": 0.01}], indirect=True)


@pytest.fixture
def run_case(run_dag, tmp_path, gemini_emulator, monkeypatch):
    fields = {"conn_type": "pydanticai", "host": gemini_emulator.base_url, "password": "test-key"}
    monkeypatch.setenv("AIRFLOW_CONN_PYDANTICAI_DEFAULT", json.dumps(fields))
    return lambda name: run_dag("dags/llm_batch.py", name, result_path=str(tmp_path / "results"))


@pytest.fixture
def adapter(gemini_emulator):
    adapter = GeminiBatchAdapter(api_key="test-key", base_url=gemini_emulator.base_url)
    yield adapter
    adapter.close()


def rows_of(run) -> list[dict]:
    lines = Path(run.xcom["label"]["result_uri"].removeprefix("file://")).read_text().splitlines()
    return sorted(map(json.loads, lines), key=lambda row: row["index"])


def creates(emulator) -> int:
    return sum(entry["call"] == "batches.create" for entry in emulator.journal())


def submit(adapter, output_type=str, **changes):
    spec = build_output_spec(output_type)
    return adapter.submit(PROMPTS, input_fingerprint=FINGERPRINT, output_spec=spec, **BATCH | changes)


def find(adapter, began):
    return adapter.find_orphaned_batch(KEY, FINGERPRINT, began.isoformat())


def now():
    return datetime.now(timezone.utc)


@quick
def test_each_prompt_gets_its_answer_with_its_tokens(run_case):
    run = run_case("texts")
    assert run.state == "success", run.log
    rows = rows_of(run)
    assert [row["status"] for row in rows] == ["success"] * 6
    assert rows[3]["output"].startswith("Answer to: Review 3: 100 {% off")
    assert (rows[3]["model"], rows[3]["finish_reason"]) == ("gemini-2.5-flash", "STOP")
    assert min(rows[3]["usage"].values()) > 0
    assert run.xcom["label"]["counts"]["succeeded"] == 6
    assert "test-key" not in run.log + json.dumps(run.xcom)


@quick
def test_the_dag_of_the_page_runs(run_dag, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "common-ai.md").read_text()
    (source,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / "common_ai_page.py").write_text(
        source.replace("s3://lake/labels/{{ dag_run.run_after | ds }}", str(tmp_path))
    )
    subprocess.run([sys.executable, "-m", "airflow", "dags", "reserialize"], check=True, capture_output=True)
    run = run_dag("common_ai_page.py", "dag")
    assert run.state == "success", run.log
    assert [set(row["output"]) for row in rows_of(run)] == [{"sentiment", "stars"}] * 2


@quick
def test_a_connection_of_common_ai_and_a_blocking_task_do_as_well(run_case):
    run = run_case("blocking")
    assert run.state == "success", run.log
    assert run.xcom["label"]["terminal_reason"] == "succeeded"


@quick
def test_answers_of_an_output_type_come_as_its_values(run_case):
    run = run_case("labels")
    assert run.state == "success", run.log
    (row, *_) = rows_of(run)
    assert row["status"] == "success", row
    assert {tuple(sorted(label)) for label in row["output"]} == {("sentiment", "stars")}


@quick
def test_a_row_that_fails_is_one_row_with_the_api_s_reason(run_case, gemini_emulator):
    error = {"code": 8, "message": "the quota is used up"}
    gemini_emulator.add_fault(action="rows", mutation="error", every=4, error=error)
    run = run_case("texts")
    assert run.state == "success", run.log
    assert run.xcom["label"]["counts"] | {"succeeded": 5, "errored": 1} == run.xcom["label"]["counts"]
    assert [row["error"] for row in rows_of(run) if row["error"]] == [
        {"type": "provider_error", "message": error["message"], "provider_code": "8", "stage": "provider"}
    ]


@quick
def test_a_job_whose_answer_was_lost_is_found_by_the_same_try(run_case, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    run = run_case("texts")
    assert run.state == "success", run.log
    assert creates(gemini_emulator) == len(gemini_emulator.bills()) == 1


@quick
def test_a_lost_job_that_no_listing_shows_is_waited_for_by_the_next_tries(run_case, gemini_emulator):
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    gemini_emulator.add_fault(action="hide", seconds=4)
    run = run_case("retried")
    assert run.state == "success", run.log
    assert "AGB-S04" in run.log
    assert creates(gemini_emulator) == len(gemini_emulator.bills()) == 1


@quick
def test_the_input_is_deleted_from_the_api_when_results_have_landed(run_case, adapter):
    assert run_case("texts").state == "success"
    assert not [file for file in adapter._client.list_files() if file.display_name.startswith("llm_batch.")]


def test_common_ai_finds_the_adapter_by_its_entry_point():
    assert dispatch.get_adapter_class("gemini", "google:gemini-2.5-flash") is GeminiBatchAdapter
    assert dispatch.get_adapter_class("pydanticai", "google:gemini-2.5-flash") is GeminiBatchAdapter


def test_a_worker_that_died_after_its_call_leaves_a_job_to_be_found(adapter):
    began = now()
    job = submit(adapter).batch_id
    assert find(adapter, began) == job
    assert adapter.find_orphaned_batch(KEY, "e" * 64, (began - timedelta(hours=1)).isoformat()) is None


def test_a_job_of_long_before_the_intent_is_not_taken_for_the_lost_one(adapter, gemini_emulator):
    submit(adapter)
    gemini_emulator.advance_clock(3600)
    with pytest.raises(SubmitUnknownError):
        find(adapter, now() + timedelta(seconds=3600))


def test_a_call_that_never_arrived_is_believed_so_after_twelve_minutes_and_without_its_input(
    adapter, gemini_emulator
):
    began = now()
    gemini_emulator.add_fault(call="batches.create", action="drop")
    with pytest.raises(SubmitUnknownError, match="its answer was lost"):
        submit(adapter)
    gemini_emulator.advance_clock(11 * 60)
    with pytest.raises(SubmitUnknownError, match="no listing shows it"):
        find(adapter, began)
    gemini_emulator.advance_clock(2 * 60)
    assert find(adapter, began) is None
    assert list(adapter._client.list_files()) == []
    assert creates(gemini_emulator) == 0


def test_the_twelve_minutes_begin_when_a_slow_upload_has_ended(adapter, gemini_emulator):
    began = now() - timedelta(minutes=30)
    gemini_emulator.add_fault(call="batches.create", action="accept_then_drop")
    gemini_emulator.add_fault(action="hide", seconds=300)
    with pytest.raises(SubmitUnknownError):
        submit(adapter)
    with pytest.raises(SubmitUnknownError):
        find(adapter, began)
    gemini_emulator.advance_clock(310)
    assert find(adapter, began).startswith("batches/")


def test_after_a_refusal_the_next_try_may_send_after_two_minutes(adapter, gemini_emulator):
    began = now()
    gemini_emulator.add_fault(call="batches.create", action="status", status=429, message="queue full")
    with pytest.raises(QuotaError):
        submit(adapter)
    with pytest.raises(SubmitUnknownError):
        find(adapter, began)
    gemini_emulator.advance_clock(130)
    assert find(adapter, began) is None
    assert submit(adapter).batch_id.startswith("batches/")


def test_a_listing_that_fails_is_no_proof_that_there_is_no_job(adapter, gemini_emulator):
    gemini_emulator.add_fault(call="batches.list", action="status", status=403, times=None)
    with pytest.raises(BatchError):
        find(adapter, now() - timedelta(hours=1))


def test_input_that_cannot_be_deleted_keeps_the_next_try_from_sending(adapter, gemini_emulator):
    began = now()
    gemini_emulator.add_fault(call="batches.create", action="drop")
    gemini_emulator.add_fault(call="files.delete", action="status", status=400, times=None)
    with pytest.raises(SubmitUnknownError):
        submit(adapter)
    gemini_emulator.advance_clock(13 * 60)
    with pytest.raises(SubmitUnknownError, match="could not be deleted"):
        find(adapter, began)


@pytest.mark.parametrize(
    ("state", "status"),
    [("FAILED", "failed"), ("CANCELLED", "cancelled"), ("EXPIRED", "expired"), ("NEW_WORD", "in_progress")],
)
def test_a_job_ends_in_the_words_of_common_ai(adapter, gemini_emulator, state, status):
    job = submit(adapter).batch_id
    gemini_emulator.force_job(job, state=state)
    assert adapter.get_batch(job).status == status


@pytest.mark.parametrize(
    ("ended_ago_s", "state", "status"),
    [
        (5, "FAILED", "in_progress"),
        (5, "CANCELLED", "in_progress"),
        (5, "EXPIRED", "in_progress"),
        (700, "FAILED", "failed"),
        (700, "CANCELLED", "cancelled"),
    ],
)
def test_results_of_finished_rows_may_be_named_a_little_after_the_end(
    adapter, gemini_emulator, ended_ago_s, state, status
):
    ended = now() - timedelta(seconds=ended_ago_s)
    metadata = {
        "state": f"BATCH_STATE_{state}",
        "endTime": ended.isoformat(),
        "batchStats": {"requestCount": "3", "successfulRequestCount": "2"},
    }
    body = {"name": "batches/a", "done": True, "metadata": metadata}
    gemini_emulator.add_fault(call="batches.get", action="status", status=200, body=body)
    assert adapter.get_batch("batches/a").status == status


def test_a_job_that_is_not_found_is_no_reason_to_submit_again(adapter):
    with pytest.raises(ApiError) as raised:
        adapter.get_batch("batches/nobody-knows-it")
    assert raised.value.http_status == 404
    assert not hasattr(raised.value, "status_code"), "common-ai would submit and pay again"


def test_a_slow_answer_does_not_hold_up_the_triggerer(adapter, connection, gemini_emulator):
    job = ended(adapter)
    gemini_emulator.add_fault(call="batches.get", action="delay", seconds=3)
    trigger = LLMBatchTrigger(
        llm_conn_id="gemini_default",
        adapter="google",
        batch_id=job,
        poll_interval=30,
        end_time=time.time() + 60,
        cancel_on_kill=True,
        cancel_on_timeout=True,
    )

    async def wait() -> tuple[str, float]:
        event = asyncio.ensure_future(anext(trigger.run()))
        longest = 0.0
        while not event.done():
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began)
        return (await event).payload["status"], longest

    status, longest = asyncio.run(wait())
    assert status == "success"
    assert longest < 1.5


def test_a_cancelled_job_is_told_as_cancelled_with_what_was_left(adapter, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK")
    job = submit(adapter).batch_id
    adapter.cancel_batch(job)
    state = adapter.get_batch(job)
    assert (state.status, state.counts["cancelled"]) == ("cancelled", 3)
    assert list(adapter.iter_results(job)) == []


def ended(adapter) -> str:
    """A job that has ended."""
    job = submit(adapter).batch_id
    while adapter.get_batch(job).status == "in_progress":
        time.sleep(0.05)
    return job


def answered(adapter, gemini_emulator, response) -> dict:
    """The only item of a batch whose rows all have this response."""
    gemini_emulator.add_fault(action="rows", mutation="replace", response=response)
    return next(adapter.iter_results(ended(adapter)))


def test_a_truncated_answer_is_no_success_and_keeps_its_text(adapter, gemini_emulator):
    content = {"parts": [{"text": "half an ans"}]}
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 90, "totalTokenCount": 97}
    item = answered(
        adapter,
        gemini_emulator,
        {"candidates": [{"content": content, "finishReason": "MAX_TOKENS"}], "usageMetadata": usage},
    )
    assert (item.provider_status, item.error["type"]) == ("errored", "truncated")
    assert item.error["partial_output"] == "half an ans"
    assert item.usage == {"input_tokens": 5, "output_tokens": 92, "thinking_tokens": 90}


def test_a_blocked_prompt_is_an_error_with_its_reason(adapter, gemini_emulator):
    item = answered(adapter, gemini_emulator, {"promptFeedback": {"blockReason": "SAFETY"}})
    assert (item.provider_status, item.error["type"]) == ("errored", "blocked")
    assert "SAFETY" in item.error["message"]


def test_a_damaged_line_is_passed_over_and_said_in_the_log(adapter, gemini_emulator, caplog):
    gemini_emulator.add_fault(action="rows", mutation="corrupt", every=2)
    job = ended(adapter)
    with caplog.at_level(logging.WARNING):
        assert sorted(item.index for item in adapter.iter_results(job)) == [0, 2]
    assert "Result line 2" in caplog.text


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"request_params": {"temperature": 0.2}}, "Request 0: .*generationConfig"),
        ({"request_params": {"generation_config": {"topKK": 1}}}, "Request 0: .*topK"),
    ],
)
def test_parameters_in_the_wrong_place_are_refused_before_the_network(adapter, gemini_emulator, changes, why):
    with pytest.raises(LLMBatchInputError, match=why):
        adapter.validate_requests(PROMPTS, output_spec=build_output_spec(str), **BATCH | changes)
    assert gemini_emulator.requests() == []


def test_one_batch_has_one_model(adapter):
    both = [*PROMPTS, {"prompt": "x", "model": "google:gemini-2.5-pro"}]
    with pytest.raises(LLMBatchModelMismatchError, match="Request 3"):
        adapter.validate_requests(both, output_spec=build_output_spec(str), **BATCH)


def test_an_output_type_that_the_api_cannot_express_is_refused_before_the_network(adapter, gemini_emulator):
    with pytest.raises(LLMBatchOutputTypeError, match="map with free keys"):
        adapter.validate_requests(PROMPTS, output_spec=build_output_spec(dict[str, int]), **BATCH)
    assert gemini_emulator.requests() == []


def test_more_bytes_than_the_api_takes_are_refused_with_the_way_out(adapter):
    adapter.max_payload_bytes = 300
    with pytest.raises(LLMBatchInputError, match=r"\.expand\(\)"):
        adapter.validate_requests(PROMPTS, output_spec=build_output_spec(str), **BATCH)


def test_a_model_that_is_not_there_fails_before_the_upload(adapter, gemini_emulator):
    with pytest.raises(ConfigError, match="no-model"):
        submit(adapter, model="no-model")
    assert gemini_emulator.journal() == []


def test_a_connection_without_a_key_is_refused_and_says_where_the_key_belongs():
    with pytest.raises(ConfigError, match="password"):
        GeminiBatchAdapter(api_key=None)


def test_the_key_is_in_no_error_of_a_rejected_key(tmp_path):
    with running_emulator(tmp_path, api_keys=["another"]) as emulator:
        adapter = GeminiBatchAdapter(api_key="test-key", base_url=emulator.base_url)
        with pytest.raises(BatchError) as raised:
            submit(adapter)
        adapter.close()
    assert "test-key" not in repr(raised.value) + repr(adapter)
