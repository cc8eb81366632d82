"""Airflow's own metrics of batches: what was submitted, landed and spent (``docs/metrics.md``).

Tags are of the task that submitted the job, even if another task lands it. Money is counted in whole millionths of
a dollar. A counter adds up over tasks and workers, as a gauge would not, and Airflow's counters are integers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from airflow_provider_batch.airflow_compat import stats
from airflow_provider_batch.batch.cost.receipts import answered
from airflow_provider_batch.batch.observer import Observer
from airflow_provider_batch.contract import JobState

if TYPE_CHECKING:
    from airflow_provider_batch.airflow_types import StatsClient
    from airflow_provider_batch.batch.cost.receipts import JobReceipt
    from airflow_provider_batch.batch.ledger.documents import BatchPlan
    from airflow_provider_batch.batch.sweep import Report

log = logging.getLogger(__name__)

PREFIX = "gemini_batch"

_BAD_ENDS = (JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED)


class BatchMetrics(Observer):
    """Sends metrics to wherever Airflow sends its own. Nothing that goes wrong here reaches the task."""

    def submitted(self, plan: BatchPlan) -> None:
        """One more remote job exists."""
        self._count("submitted", 1, _tags(plan))

    def landed(self, plan: BatchPlan, receipt: JobReceipt, turnaround: timedelta | None) -> None:
        """The results of a remote job are here."""
        tags = _tags(plan)
        self._count("landed", 1, tags)
        if receipt.state in _BAD_ENDS:
            self._count("failed", 1, tags | {"state": receipt.state.value})
        self._count_bill(receipt, answered(receipt.counts, receipt.state), tags)
        if turnaround is not None:
            self._send(lambda to: to.timing(f"{PREFIX}.turnaround", turnaround, tags=tags))

    def called(self, plan: BatchPlan, receipts: Sequence[JobReceipt], extra_usd: float | None) -> None:
        """The answers of single calls are here."""
        tags = _tags(plan)
        for receipt in receipts:
            self._count_bill(receipt, receipt.rows, tags)
            self._count("lost_calls", receipt.lost_calls, tags)
        self._count("rescue_extra_micro_usd", round((extra_usd or 0.0) * 1e6), tags)

    def _count_bill(self, receipt: JobReceipt, answers: int, tags: dict[str, str]) -> None:
        for status, rows in receipt.counts.items():
            self._count(f"rows.{status.value}", rows, tags)
        tags = tags | {"way": receipt.way}
        self._count("answers", answers, tags)
        for kind, tokens in msgspec.structs.asdict(receipt.tokens).items():
            self._count(f"tokens.{kind}", tokens, tags)
        if receipt.cost_usd is None or receipt.standard_usd is None:
            self._count("unpriced", 1, tags)
        else:
            self._count("cost_micro_usd", round(receipt.cost_usd * 1e6), tags)
            self._count("standard_micro_usd", round(receipt.standard_usd * 1e6), tags)

    def found(self, report: Report, conn_id: str) -> None:
        """What a sweep or a reconciliation has found: how many there are now."""
        kinds = [finding.kind.value for finding in report.findings]
        self._gauge("unlanded", kinds.count("unlanded"), conn_id)
        self._gauge("duplicates", kinds.count("duplicate"), conn_id)

    def _count(self, name: str, by: int, tags: dict[str, str]) -> None:
        if by:
            self._send(lambda to: to.incr(f"{PREFIX}.{name}", by, tags=tags))

    def _gauge(self, name: str, value: int, conn_id: str) -> None:
        self._send(lambda to: to.gauge(f"{PREFIX}.{name}", value, tags={"conn_id": conn_id}))

    def _send(self, call: Callable[[StatsClient], object]) -> None:
        try:
            call(stats())
        except Exception as error:  # noqa: BLE001
            # A receiver that is not there, or a client that is not installed, is no reason to lose a batch.
            log.warning("A metric could not be sent: %s: %s", type(error).__name__, error)


def _tags(plan: BatchPlan) -> dict[str, str]:
    return {"dag_id": plan.identity.dag_id, "task_id": plan.identity.task_id, "model": plan.model}
