"""A mistake that is the same for every row. Rows that share it are not sent, and paid for, again by themselves.

A prompt may ask for something else than the output type says, or no answer may fit the schema. Then all answers
are useless. Another round of the same costs as much and brings the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from airflow_provider_batch.batch.ledger.documents import Fault
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.rows.causes import alike
from airflow_provider_batch.rows.dialect import LandedRow, RowStatus
from airflow_provider_batch.rows.manifest import Manifest

NEARLY_ALL = 0.9
"""From this share of a batch's rows on, one cause is a mistake and no chance."""

MOST_FAULTS = 30
"""Causes that are told apart in one job. Rows with others are not counted. A common one is among the first."""

_OUTPUT_TYPE = "the answer is not of the output type: "


@dataclass
class Faults:
    """Counts why rows ended as ``invalid_output``, while they land."""

    _rows: Counter[str] = field(default_factory=Counter)
    _keys: dict[str, str] = field(default_factory=dict)

    def add(self, row: LandedRow) -> None:
        """Take a row. Other statuses than ``invalid_output`` are passed over."""
        if row.status is not RowStatus.INVALID_OUTPUT or row.error is None:
            return
        # Of the faults of one answer the first stands for all.
        cause = alike(row.error.message.split(";")[0])
        if cause in self._rows or len(self._rows) < MOST_FAULTS:
            self._rows[cause] += 1
            self._keys.setdefault(cause, row.key)

    @property
    def common(self) -> tuple[Fault, ...]:
        """The most frequent ones."""
        return tuple(Fault(cause=c, rows=n, key=self._keys[c]) for c, n in self._rows.most_common(3))


def common_mistake(batch: BatchState) -> Fault | None:
    """What all, or nearly all, rows of a batch got wrong in its last round. None if there is no common mistake.

    One row alone shows nothing about others.
    """
    rows: Counter[str] = Counter()
    keys: dict[str, str] = {}
    for shard in batch.latest:
        for fault in shard.landed.faults if shard.landed else ():
            rows[fault.cause] += fault.rows
            keys.setdefault(fault.cause, fault.key)
    for cause, count in rows.most_common(1):
        if count > 1 and count >= NEARLY_ALL * batch.plan.rows:
            return Fault(cause=cause, rows=count, key=keys[cause])
    return None


def in_words(fault: Fault, manifest: Manifest) -> str:
    """What went wrong, with a sample, and what it cost."""
    cost = "an unknown sum" if manifest.cost_usd is None else f"USD {manifest.cost_usd:,.4f}"
    tokens = manifest.tokens
    return (
        f"{fault.rows:,} of {manifest.request_count:,} rows have the same fault and are not sent again by "
        f"themselves: {fault.cause.removeprefix(_OUTPUT_TYPE)}; for example the row {ascii(fault.key)[:80]}, "
        f"whose answer is in {manifest.result_uri}. The batch has cost {cost} ({tokens.input:,} tokens in, "
        f"{tokens.output + tokens.thinking:,} out)."
    )
