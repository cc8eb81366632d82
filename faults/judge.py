"""What really happened, by the emulator's journal and by the files that a user reads."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from airflow_provider_batch.batch.ledger.job_names import JobTag
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.emulator.process import Emulator
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
    """

    duplicates: int
    lost: int
    unlanded: int
    unaccounted: int
    resent: int


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
    landed = {shard.landed.job for shard in read_batch(task.ledger).shards if shard.landed}
    manifest = Manifest.read(task.folder)
    told = sum(vars(manifest.tokens).values()) if manifest else 0
    bills = emulator.bills()
    return Figures(
        duplicates=sum(count - 1 for count in parts.values()),
        lost=_lost(task),
        unlanded=len(billed - landed),
        unaccounted=abs(sum(sum(bills[name].values()) for name in billed) - told),
        resent=sum(call["rows"] for _, call in created) - len(task.rows),
    )


def _lost(task: Task) -> int:
    path = task.folder / "results.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    counts = Counter(json.loads(line)["key"] for line in lines)
    wanted = {row["key"] for row in task.rows}
    return sum(1 for key in wanted if counts[key] != 1) + sum(1 for key in counts if key not in wanted)
