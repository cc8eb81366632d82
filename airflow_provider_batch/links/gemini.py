"""The links of a task to its batch and to the results, and the note from which the page lists it.

Airflow takes the address of a link from XCom. So it is there as soon as the operator has pushed it, not only when
the task is over. XCom is emptied when a new try begins and kept over a deferral, so each try pushes anew.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperatorLink

from airflow_provider_batch.airflow_compat import PAGE_ROUTE

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

    from airflow_provider_batch.airflow_types import RunningTask, TaskName
    from airflow_provider_batch.batch.summary import BatchSummary

log = logging.getLogger(__name__)

CONSOLES = {
    "gs": "https://console.cloud.google.com/storage/browser/{bucket}/{key}",
    "gcs": "https://console.cloud.google.com/storage/browser/{bucket}/{key}",
    "s3": "https://console.aws.amazon.com/s3/buckets/{bucket}?prefix={key}/",
}
"""Where a person looks into a bucket."""


class GeminiBatchLink(BaseOperatorLink):
    """To the batch on the page "Gemini batches"."""

    name = "Gemini batch"
    xcom_key = "_link_gemini_batch"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Called by Airflow when the task is over. The address is the one that it had all the time."""
        return batch_url(ti_key)


class GeminiResultsLink(BaseOperatorLink):
    """To the results: the bucket's console, or what the page says about them."""

    name = "Results"
    xcom_key = "_link_gemini_results"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Called by Airflow when the task is over."""
        submission = getattr(operator, "submission", None)
        known = submission.get("result_path") if isinstance(submission, Mapping) else None
        return results_url(str(getattr(operator, "result_path", None) or known or ""), ti_key)


LINKS = (GeminiBatchLink(), GeminiResultsLink())


def batch_url(ti: TaskName) -> str:
    """The page in Airflow's UI, opened at the batch of a task instance."""
    from airflow.configuration import conf

    base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    what = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id, "map_index": _map_index(ti)}
    return f"{base}/plugin/{PAGE_ROUTE}?{urlencode(what)}"


def results_url(folder: str, ti: TaskName) -> str:
    """Where a person can look at the results."""
    scheme, _, rest = folder.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme in CONSOLES and bucket:
        # The part before the @ is an Airflow connection.
        bucket, key = quote(bucket.rpartition("@")[2], safe=""), quote(key.strip("/"))
        return CONSOLES[scheme].format(bucket=bucket, key=key)
    return f"{batch_url(ti)}&show=results"


def show(ti: RunningTask, key: str, summary: BatchSummary) -> None:
    """Have the page list a batch, and the links lead to it. What is only for looking at fails no task."""
    try:
        ti.xcom_push(key=key, value=summary.to_xcom())
        ti.xcom_push(key=GeminiBatchLink.xcom_key, value=batch_url(ti))
        ti.xcom_push(key=GeminiResultsLink.xcom_key, value=results_url(summary.folder, ti))
    except Exception as error:  # noqa: BLE001
        # XCom backends raise anything.
        log.warning("The batch is not shown on the page about batches (%s).", type(error).__name__)


def _map_index(ti: TaskName) -> int:
    return -1 if ti.map_index is None else int(ti.map_index)
