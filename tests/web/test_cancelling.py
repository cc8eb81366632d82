"""Which jobs the button ends, with ledgers written by hand and jobs on the emulator."""

from __future__ import annotations

from datetime import datetime, timezone

import httpx
import pytest
from upath import UPath

from airflow_provider_batch.batch.ledger.documents import BatchPlan, Outcome, RoundPlan, Sending, ShardPlan
from airflow_provider_batch.batch.ledger.job_names import Identity, JobTag, folder_digest
from airflow_provider_batch.batch.ledger.store import generation
from airflow_provider_batch.web import app
from airflow_provider_batch.web.bounded import Bounded
from airflow_provider_batch.web.cancelling import cancel
from airflow_provider_batch.web.views import Row

NOW = datetime.now(timezone.utc)
MINE = Identity("mine", "batch", "r1")
OTHER = Identity("other", "batch", "r1")
CONTENT = "c" * 16


@pytest.fixture
def job(gemini_emulator, connection):
    """Create a job of a task instance; its name."""
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)

    def create(identity, place, shard=1):
        name = JobTag(identity.task_digest, place, CONTENT, 1, 1, shard, 1).new_display_name()
        requests = [{"request": {"contents": [{"parts": [{"text": "a"}]}]}, "metadata": {"key": "a"}}]
        batch = {"displayName": name, "inputConfig": {"requests": {"requests": requests}}}
        url = f"{gemini_emulator.base_url}/v1beta/models/gemini-2.5-flash:batchGenerateContent"
        answer = httpx.post(url, json={"batch": batch}, headers={"x-goog-api-key": "k"}, trust_env=False)
        return str(answer.raise_for_status().json()["name"])

    return create


@pytest.fixture
def place(tmp_path):
    return folder_digest(str(tmp_path))


@pytest.fixture
def batch(tmp_path, place):
    """Write the ledger of a batch of these jobs; its row on the page."""

    def write(*jobs):
        ledger = generation(UPath(tmp_path), MINE.task_digest, 1)
        shard = ShardPlan(file="x", rows=1, size_bytes=1, content=CONTENT, tokens=1)
        plan = RoundPlan(shards=(shard,) * len(jobs), created_at=NOW, clock_from=NOW)
        said = {"account": "a", "model": "gemini-2.5-flash", "content": CONTENT, "rows": 1, "size_bytes": 1}
        ledger.put("plan.json", BatchPlan(ledger_version=1, identity=MINE, place=place, first=plan, **said))
        for number, name in enumerate(jobs, 1):
            label = JobTag(MINE.task_digest, place, CONTENT, 1, 1, number, 1).new_display_name()
            sending = Sending(at=NOW, owner="adopted", display_name=label, input_file="files/x")
            ledger.put(f"r1.s{number}.e1.sending.json", sending)
            ledger.put(f"r1.s{number}.e1.outcome.json", Outcome(at=NOW, job=name))
        return Row(
            dag_id="mine",
            run_id="r1",
            task_id="batch",
            state="waiting",
            task_state="deferred",
            try_number=1,
            changed_at=0,
            conn_id="gemini_default",
            ledger=str(ledger.folder),
            folder=str(tmp_path),
            task_digest=MINE.task_digest,
        )

    return write


def cancelled(emulator):
    return [call["batch"] for call in emulator.journal() if call["call"] == "batches.cancel"]


def noted(row, tmp_path):
    return generation(UPath(tmp_path), row.task_digest, 1).path("r1.cancel.json").exists()


def test_all_jobs_are_asked_though_the_first_is_refused(job, batch, place, gemini_emulator, tmp_path):
    first, second = job(MINE, place), job(MINE, place, shard=2)
    row = batch(first, second)
    gemini_emulator.add_fault(action="status", call="batches.cancel", status=403)
    asked = cancel(row, "me")
    assert (asked.jobs, [*asked.refused]) == ([second], [first])
    assert "1 of its jobs may run on" in asked.trouble
    assert noted(row, tmp_path)
    assert cancel(row, "me").jobs == [first, second]


def test_the_note_is_there_before_the_first_job_is_asked(job, batch, place, gemini_emulator, tmp_path):
    row = batch(job(MINE, place))
    gemini_emulator.add_fault(action="status", call="batches.get", status=403, times=None)
    assert cancel(row, "me").jobs == []
    assert noted(row, tmp_path)
    assert cancelled(gemini_emulator) == []


def test_a_forged_ledger_ends_no_job_of_another_dag(job, batch, place, gemini_emulator):
    theirs, elsewhere = job(OTHER, place), job(MINE, folder_digest("/elsewhere"))
    asked = cancel(batch(theirs, elsewhere), "me")
    assert asked.refused == dict.fromkeys((theirs, elsewhere), "It is not a job of this batch.")
    assert cancelled(gemini_emulator) == []


def test_a_job_that_is_gone_is_no_trouble(job, batch, place):
    asked = cancel(batch("batches/gone"), "me")
    assert (asked.jobs, asked.trouble) == ([], "")


def test_a_cancel_that_takes_long_is_not_waited_for_and_goes_on(job, batch, place, gemini_emulator, monkeypatch):
    monkeypatch.setattr(app, "_cancels", Bounded(threads=1, keep_s=0.0, patience_s=0.05))
    name = job(MINE, place)
    row = batch(name)
    gemini_emulator.add_fault(action="delay", call="batches.get", seconds=0.5)
    _, trouble = app._asked(row, "me")
    assert trouble.startswith("The jobs are not all asked to end yet")
    assert cancelled(gemini_emulator) == []
    # The same press again waits for the one that is under way.
    while trouble:
        asked, trouble = app._asked(row, "me")
    assert asked.jobs == [name]
