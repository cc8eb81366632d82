"""The task's log as a report: sections that Airflow folds, and a summary at the end, outside of them.

Airflow's page shows a section closed until it is clicked. So rows, money and where the results are have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_batch.observability.metrics import BatchMetrics

if TYPE_CHECKING:
    from airflow_provider_batch.airflow_types import TaskLog
    from airflow_provider_batch.batch.cost.estimate import Estimate
    from airflow_provider_batch.batch.ledger.documents import BatchPlan
    from airflow_provider_batch.rows.manifest import Manifest, TokenTotals

_ALWAYS_SHOWN = ("input", "output", "thinking")


class TaskReport(BatchMetrics):
    """Puts what a task logs into sections, and sends its metrics.

    As a context manager it ends the open section, so that an error is never folded away in one.

    :param log: The task's.
    """

    def __init__(self, log: TaskLog) -> None:
        self._log = log
        self._title: str | None = None

    def __enter__(self) -> TaskReport:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the open section."""
        self.chapter(None)

    def chapter(self, title: str | None) -> None:
        """Begin a section, or only end the open one."""
        if title == self._title:
            return
        if self._title is not None:
            self._log.info("::endgroup::")
        if title is not None:
            self._log.info(f"::group::{title}")
        self._title = title

    def finished(self, plan: BatchPlan, manifest: Manifest) -> None:
        """Say what it came to, where nothing is folded away."""
        self.chapter(None)
        for line in summary(manifest, plan.estimate):
            self._log.info("%s", line)
        self._log.info("results:      %s", manifest.result_uri)
        if manifest.failed_uri:
            self._log.info("failed rows:  %s", manifest.failed_uri)


def summary(manifest: Manifest, estimate: Estimate | None) -> list[str]:
    """Rows, tokens and money of a batch, a line for each.

    :param estimate: What it was to cost.
    """
    from airflow_provider_batch.rows.manifest import counts_in_words

    left_out = f"; {manifest.skipped:,} were left out before sending" if manifest.skipped else ""
    lines = [
        f"rows:         {manifest.request_count:,} ({counts_in_words(manifest.counts)}){left_out}",
        f"tokens:       {_tokens(manifest.tokens)}",
        *_money(manifest),
        *_single_calls(manifest),
    ]
    if estimate is not None and estimate.batch_usd is not None:
        most = "an unknown sum" if estimate.batch_usd.most is None else f"{estimate.batch_usd.most:.6f}"
        lines.append(f"estimated:    USD {estimate.batch_usd.least:.6f} to {most}, before it was sent")
    return lines


def _tokens(tokens: TokenTotals) -> str:
    kinds = {kind: count for kind, count in tokens.model_dump().items() if count or kind in _ALWAYS_SHOWN}
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())


def _money(manifest: Manifest) -> list[str]:
    bare = f"{manifest.unmetered} answers have no token count" if manifest.unmetered else ""
    if manifest.cost_usd is None or manifest.standard_usd is None:
        why = f"no price for {manifest.model}, or not for all of its tokens"
        return [f"The cost is unknown: {f'{bare}, or {why}' if bare else why}."]
    rest = f"; {bare}, which is not in it" if bare else ""
    return [
        f"cost:         USD {manifest.cost_usd:.6f}, by the price list{rest}",
        f"at standard:  USD {manifest.standard_usd:.6f}, {manifest.standard_usd - manifest.cost_usd:.6f} more",
    ]


def _single_calls(manifest: Manifest) -> list[str]:
    """What came by single calls, and what is billed beside the cost. No line where there is nothing to say."""
    from airflow_provider_batch.rows.manifest import way_in_words

    lines = [f"by {way + ':':<11}{way_in_words(totals)}" for way, totals in (manifest.ways or {}).items()]
    if manifest.rescue_extra_usd is not None:
        lines.append(
            f"rescue:       USD {manifest.rescue_extra_usd:.6f} more than in batch mode, included in the cost"
        )
    if manifest.lost_calls:
        lines.append(f"lost calls:   {manifest.lost_calls:,}, which may be billed, and are not in the cost")
    if manifest.called_again:
        lines.append(f"called again: {manifest.called_again:,}, answers to rows that had one, in the cost")
    if manifest.jobs_left_running:
        what = "What it finishes is" if manifest.jobs_left_running == 1 else "What they finish is"
        lines.append(
            f"left running: {manifest.jobs_left_running:,} of the jobs had not ended when the rows were called. "
            f"{what} billed, and not in the cost"
        )
    return lines
