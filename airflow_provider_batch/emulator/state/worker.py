"""Ends batches when their time has come: waits on the clock, writes results, records the outcome."""

from __future__ import annotations

import asyncio
import heapq
import sys
import traceback
from pathlib import Path

import msgspec

from airflow_provider_batch.emulator.answers.results import ResultFacts, ResultJob, StoppedError, write_results
from airflow_provider_batch.emulator.answers.texts import AnswerFunction
from airflow_provider_batch.emulator.faults import ROWS_CALL, FaultPlan
from airflow_provider_batch.emulator.state.deliveries import Deliveries
from airflow_provider_batch.emulator.state.journal import Journal
from airflow_provider_batch.emulator.state.lifecycle import results_due_at
from airflow_provider_batch.emulator.state.records import BatchRecord, FileRecord, Outcome, Verdict
from airflow_provider_batch.emulator.state.store import Store

_MAX_WRITERS = 4


class Worker:
    """One task of the event loop for all batches. Results are written in threads.

    :param function: the user's answers, or None for the built-in ones.
    :param workers: how many of them are asked for at the same time.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        deliveries: Deliveries,
        faults: FaultPlan,
        function: AnswerFunction | None,
        workers: int,
    ) -> None:
        self._store = store
        self._journal = journal
        self._deliveries = deliveries
        self._faults = faults
        self._function = function
        self._workers = workers
        self._due: list[tuple[float, str]] = []
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._writers = asyncio.Semaphore(_MAX_WRITERS)
        self._wake = asyncio.Event()
        self._stopping = False
        for batch in store.all_batches():
            self.schedule(batch)

    def schedule(self, batch: BatchRecord) -> None:
        """Take note of a batch that is new or whose end has moved."""
        due = results_due_at(batch)
        if due is not None:
            heapq.heappush(self._due, (due, batch.id))
        self._wake.set()

    def clock_moved(self) -> None:
        """Look again what is due."""
        self._wake.set()

    async def ended(self, batch_id: str) -> None:
        """Wait until a batch that is due has its results. Return at once for one that is not."""
        self._begin_due()
        task = self._busy.get(batch_id)
        if task is not None:
            await asyncio.wait([task])

    def stop(self) -> None:
        """Make the threads end at their next row."""
        self._stopping = True

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self._wake.clear()
            now = self._begin_due()
            pause = self._store.clock.real_seconds(self._due[0][0] - now) if self._due else None
            try:
                await asyncio.wait_for(self._wake.wait(), pause)
            except asyncio.TimeoutError:
                continue

    def _begin_due(self) -> float:
        now = self._store.clock.now()
        while self._due and self._due[0][0] <= now:
            self._begin(heapq.heappop(self._due)[1])
        return now

    def _begin(self, batch_id: str) -> None:
        batch = self._store.batch(batch_id)
        if batch is None or results_due_at(batch) is None or batch_id in self._busy:
            return
        task = asyncio.create_task(self._finish(batch))
        self._busy[batch_id] = task
        task.add_done_callback(lambda _: self._busy.pop(batch_id))

    async def _finish(self, batch: BatchRecord) -> None:
        job = ResultJob(
            input_path=self._store.input_path(batch.id),
            output_path=self._output_path(batch),
            inline=batch.input_file is None,
            faults=self._faults.strike(ROWS_CALL),
            function=self._function,
            workers=self._workers,
            current=lambda: self._current(batch.id),
            has_file=lambda file_id: self._store.had_file(file_id, batch.project, batch.finishes_at),
        )
        try:
            async with self._writers:
                facts = await asyncio.to_thread(write_results, job)
        except StoppedError:
            return
        except Exception as problem:  # noqa: BLE001 - one broken batch must not end all the others
            traceback.print_exc(file=sys.stderr)
            self._fail(batch.id, problem)
            return
        self._succeed(batch.id, facts)

    def _current(self, batch_id: str) -> BatchRecord | None:
        batch = self._store.batch(batch_id)
        return None if self._stopping or batch is None or batch.verdict is not None else batch

    def _output_path(self, batch: BatchRecord) -> Path:
        if batch.input_file is None:
            return self._store.inline_output_path(batch.id)
        return self._store.file_path(batch.output_file_id)

    def _fail(self, batch_id: str, problem: Exception) -> None:
        batch = self._current(batch_id)
        if batch is None:
            return
        error = {"code": 13, "message": f"{type(problem).__name__}: {problem}"}
        verdict = Verdict(state="BATCH_STATE_FAILED", at=self._store.clock.now(), error=error)
        batch = msgspec.structs.replace(batch, verdict=verdict)
        self._store.save_batch(batch)
        self._deliveries.ended(batch, verdict.state)

    def _succeed(self, batch_id: str, facts: ResultFacts) -> None:
        batch = self._current(batch_id)
        if batch is None:
            return
        now = self._store.clock.now()
        if batch.input_file is not None:
            self._store.save_file(_results_file(batch, facts, now + batch.output_delay_s))
        outcome = Outcome(
            at=now,
            succeeded=facts.succeeded,
            failed=facts.failed,
            tokens=facts.tokens,
            output_at=now + batch.output_delay_s,
        )
        batch = msgspec.structs.replace(batch, outcome=outcome)
        self._store.save_batch(batch)
        self._journal.end_batch(batch, outcome)
        self._deliveries.ended(batch, "BATCH_STATE_SUCCEEDED")


def _results_file(batch: BatchRecord, facts: ResultFacts, created_at: float) -> FileRecord:
    return FileRecord(
        id=batch.output_file_id,
        project=batch.project,
        display_name="",
        mime_type="application/jsonl",
        size_bytes=facts.size_bytes,
        sha256=facts.sha256,
        created_at=created_at,
        active_at=created_at,
        source="GENERATED",
    )
