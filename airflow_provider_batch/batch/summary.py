"""A batch at a glance: what the page about batches lists.

It is small enough for XCom, so no file has to be read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_provider_batch.batch.ledger.documents import BatchPlan
from airflow_provider_batch.batch.ledger.store import FOLDER
from airflow_provider_batch.rows.dialect import RowStatus
from airflow_provider_batch.rows.manifest import Manifest, TokenTotals

KEY = "gemini_batch"
"""XCom key of the task instance that submits."""

LANDED_KEY = "gemini_batch_landed"
"""XCom key of another task instance of the same run that lands what the first one submitted."""


MOST = 253_402_300_799
"""No number of a note is larger: the last second of the year 9999, as Unix time."""


class BatchSummary(BaseModel):
    """A batch as the page lists it. Times are Unix seconds, so that a database can compare them.

    :param ledger: Its folder. The results are three folders above.
    :param rows: How many are sent.
    :param submitted_at: When it was planned, right before it was sent.
    :param deadline: When the task's patience ends.
    :param rescue_at: When single calls begin for rows that jobs have not answered by then. None = they will not.
    :param least_usd: The estimate, from here to ``most_usd``.
    :param counts: From here on None until it has landed: rows by status.
    :param jobs: Remote jobs, over all rounds.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: int = 1
    ledger: str
    conn_id: str
    model: str
    rows: int
    skipped: int = 0
    submitted_at: int
    deadline: int
    rescue_at: int | None = None
    least_usd: float | None = None
    most_usd: float | None = None
    counts: dict[RowStatus, int] | None = None
    tokens: TokenTotals | None = None
    cost_usd: float | None = None
    standard_usd: float | None = None
    unmetered: int = 0
    jobs: int | None = None
    rounds: int | None = None
    landed_at: int | None = None

    def to_xcom(self) -> dict[str, object]:
        """Plain JSON values, under 1 KiB unless the result path alone is longer."""
        return self.model_dump(mode="json", exclude_none=True)

    @classmethod
    def load(cls, value: object) -> BatchSummary | None:
        """Read it back. None if the value is no summary. Any DAG can push something under this key."""
        try:
            found = cls.model_validate(value)
        except ValidationError:
            return None
        return found if all(is_plausible(number) for number in found._numbers()) else None

    def _numbers(self) -> Iterator[float]:
        """All numbers that it holds."""
        for value in self.model_dump().values():
            inner = value.values() if isinstance(value, dict) else (value,)
            yield from (number for number in inner if isinstance(number, int | float))

    @property
    def folder(self) -> str:
        """Where the results are."""
        return self.ledger.rpartition(f"/{FOLDER}/")[0]

    @property
    def task_digest(self) -> str:
        """Of the task instance, as in the display names of its jobs."""
        return self.ledger.rpartition(f"/{FOLDER}/")[2].partition("/")[0]


def is_plausible(number: float) -> bool:
    """It can be a time, a count or an amount: what adds up and shows numbers need not expect others."""
    return math.isfinite(number) and 0 <= number <= MOST


def of_plan(
    plan: BatchPlan, ledger: str, conn_id: str, deadline: float, rescue_at: float | None = None
) -> BatchSummary:
    """A batch that is about to be sent, or was."""
    usd = plan.estimate.batch_usd if plan.estimate else None
    return BatchSummary(
        ledger=ledger,
        conn_id=conn_id,
        model=plan.model,
        rows=plan.rows,
        skipped=plan.skipped,
        submitted_at=int(plan.first.created_at.timestamp()),
        deadline=min(int(deadline), MOST),
        rescue_at=None if rescue_at is None else max(0, int(rescue_at)),
        least_usd=usd.least if usd else None,
        most_usd=usd.most if usd else None,
    )


def landed(before: BatchSummary, manifest: Manifest) -> BatchSummary:
    """The same batch, now that its results are there."""
    return before.model_copy(
        update={
            "counts": manifest.counts,
            "tokens": manifest.tokens,
            "cost_usd": manifest.cost_usd,
            "standard_usd": manifest.standard_usd,
            "unmetered": manifest.unmetered,
            "jobs": manifest.job_count,
            "rounds": manifest.rounds,
            "landed_at": int(manifest.landed_at.timestamp()) if manifest.landed_at else None,
        }
    )
