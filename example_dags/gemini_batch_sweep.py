"""Every hour: land what was paid for and no task came back for, and fail if a person should look.

Paused DAGs, deleted runs and dead workers leave finished batches behind, and the API deletes results after 48 h.
"""

from __future__ import annotations

import os

import pendulum
from airflow.sdk import ObjectStoragePath, dag, task

LAKE = os.environ.get("GEMINI_BATCH_EXAMPLE_DIR", "/tmp/gemini_batch_examples")  # noqa: S108


@dag(schedule="@hourly", start_date=pendulum.datetime(2026, 1, 1), catchup=False, tags=["gemini", "example"])
def gemini_batch_sweep():
    @task
    def sweep_results() -> list[str]:
        from airflow_provider_batch.batch.sweep import sweep
        from airflow_provider_batch.gemini.rows.dialect import GeminiRows
        from airflow_provider_batch.hooks.gemini import GeminiBatchHook
        from airflow_provider_batch.observability.metrics import BatchMetrics

        hook, metrics = GeminiBatchHook(), BatchMetrics()
        with hook.service() as service:
            lake = [ObjectStoragePath(LAKE)]
            report = sweep(
                service,
                lake,
                GeminiRows(),
                account=hook.account().label,
                prices=hook.prices().price,
                observer=metrics,
            )
        metrics.found(report, hook.gemini_conn_id)
        # Batches that have just ended are still their tasks' to land.
        findings = [finding for finding in report.findings if finding.ledger not in report.too_young]
        for finding in findings:
            print(finding.kind.value, finding.text, finding.ledger)
        if findings:
            raise RuntimeError(f"{len(findings)} findings: see the log")
        return list(report.landed)

    sweep_results()


DAG = gemini_batch_sweep()
