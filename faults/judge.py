"""What really happened, by the emulator's journal and by the files that a user reads."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.job_names import JobTag
from airflow_provider_batch.batch.ledger.state import BatchState, read_batch
from airflow_provider_batch.emulator.answers.texts import request_digest
from airflow_provider_batch.emulator.process import Emulator, JournalEntry
from airflow_provider_batch.rows.dialect import RowStatus
from airflow_provider_batch.rows.manifest import Manifest
from faults.task import Task


@dataclass(frozen=True)
class Figures:
    """Of one batch.

    :param duplicates: Jobs that were accepted beyond one for each shard of each round.
    :param lost: Rows that do not have exactly one line in the results.
    :param unlanded: Jobs that a real account is billed for and whose results nobody took.
    :param unaccounted: Tokens that were billed and are not in the manifest, or the other way round.
    :param resent: Rows that were sent more than once.
    :param again: Single calls beyond one for each row, and beyond those that are told as lost.
    :param untold: Single calls that were billed and that no document counts, as answered or as lost.
    :param needless: Rows that were called although the answer of a job had landed.
    """

    duplicates: int
    lost: int
    unlanded: int
    unaccounted: int
    resent: int
    again: int = 0
    untold: int = 0
    needless: int = 0


def judge(emulator: Emulator, task: Task) -> Figures:
    """Compare what was wanted with what was accepted, billed and landed."""
    created = [
        (tag, call)
        for call in emulator.journal()
        if call["call"] == "batches.create"
        and (tag := JobTag.read(call.get("displayName", ""))) is not None
        and tag.task_digest == task.identity.task_digest
    ]
    parts = Counter((tag.generation, tag.round, tag.shard) for tag, _ in created)
    billed = set(emulator.bills()) & {call["batch"] for _, call in created}
    batch = read_batch(task.ledger)
    landed = {shard.landed.job for shard in batch.shards if shard.landed}
    manifest = Manifest.read(task.folder)
    told = sum(vars(manifest.tokens).values()) if manifest else 0
    bills = emulator.bills()
    calls = _calls(emulator, task)
    lost = sum(one.lost_calls for one in batch.landed)
    noted = sum(total.rows for one in batch.landed for total in one.calls) + _noted_late(task)
    billed_tokens = sum(sum(bills[name].values()) for name in billed)
    called_tokens = sum(sum(call["tokens"].values()) for call in calls)
    return Figures(
        duplicates=sum(count - 1 for count in parts.values()),
        lost=_lost(task),
        unlanded=len(billed - landed),
        # What is told as lost, or as a job that runs on, has no tokens that could be told.
        unaccounted=0 if lost or _noted_late(task) else abs(billed_tokens + called_tokens - told),
        resent=sum(call["rows"] for _, call in created) - len(task.rows),
        again=max(0, sum(count - 1 for count in Counter(call["request"] for call in calls).values()) - lost),
        untold=max(0, len(calls) - noted - lost),
        needless=_needless(task, batch, {call["request"] for call in calls}),
    )


def digest_of(row: Mapping[str, Any]) -> str:
    """The request of a row, as the journal of the emulator names it."""
    return str(request_digest(row["request"]))


def _calls(emulator: Emulator, task: Task) -> list[JournalEntry]:
    """The billed single calls for rows of the task. The texts of its rows are those of no other."""
    wanted = {digest_of(row) for row in task.rows}
    return [call for call in emulator.billed_calls() if call["request"] in wanted]


def _noted_late(task: Task) -> int:
    """Answers that a worker has noted after their shard had landed: it had stood still."""
    late = [name for name in task.ledger.names() if names.kind_of(name)[0] == names.NOTE]
    return sum(len(task.ledger.path(name).read_text().splitlines()) - 1 for name in late)


def _needless(task: Task, batch: BatchState, called: set[str]) -> int:
    """Rows that jobs have answered, as far as more were called than they had left."""
    by_jobs = sum(
        shard.landed.counts.get(RowStatus.SUCCESS, 0)
        for round_ in batch.rounds
        for shard in round_.shards
        if shard.landed and not round_.is_live
    )
    return max(0, len(called) - (len(task.rows) - by_jobs))


def _lost(task: Task) -> int:
    path = task.folder / "results.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    counts = Counter(json.loads(line)["key"] for line in lines)
    wanted = {row["key"] for row in task.rows}
    return sum(1 for key in wanted if counts[key] != 1) + sum(1 for key in counts if key not in wanted)
