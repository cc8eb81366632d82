"""The operator that lands what another task has submitted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_batch.airflow_compat import object_path, saving_retries, tell_outlets
from airflow_provider_batch.arguments import Check, CheckedArguments, flag, mapping, maybe, share, text
from airflow_provider_batch.deferring import left_s
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.links.gemini import LINKS, show
from airflow_provider_batch.operators.running import DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_batch.engine.ledger import Ledger
    from airflow_provider_batch.engine.run import Landed
    from airflow_provider_batch.rows.manifest import Manifest

MAX_RESULT_LOOKS = 50


class GeminiBatchFetchResultsOperator(BaseOperator, CheckedArguments):
    """Land the results of jobs that were submitted with ``wait_for_completion=False``.

    Does not wait: put a :class:`~airflow_provider_batch.sensors.gemini.GeminiBatchSensor` before it. Running
    it again gives the same manifest and costs nothing. It never submits: rows that are left over are in
    ``failed.jsonl``.

    :param submission: What the submitting operator returned.
    :param conn_id: Airflow connection of type ``gemini``.
    :param max_failed_fraction: Fail, after landing, if a greater share of the rows has no usable answer, 0 to 1.
        None = any number of them, but not all.
    :param fail_on_partial_error: The same as ``max_failed_fraction=0``.
    :param keep_remote_files: Leave the uploaded and the result files on the server, which deletes them after 48 h.
    """

    template_fields: Sequence[str] = ("submission", "conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"submission": "json"}
    ui_color = "#e8f0fe"
    operator_extra_links = LINKS
    checks: ClassVar[Mapping[str, Check]] = {
        "submission": mapping,
        "conn_id": text,
        "max_failed_fraction": maybe(share),
        "fail_on_partial_error": flag,
        "keep_remote_files": flag,
    }

    submission: Mapping[str, Any]
    conn_id: str
    max_failed_fraction: float | None
    fail_on_partial_error: bool
    keep_remote_files: bool

    def __init__(
        self,
        *,
        submission: Mapping[str, Any],
        conn_id: str = GeminiBatchHook.default_conn_name,
        max_failed_fraction: float | None = None,
        fail_on_partial_error: bool = False,
        keep_remote_files: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._take(
            submission=submission,
            conn_id=conn_id,
            max_failed_fraction=max_failed_fraction,
            fail_on_partial_error=fail_on_partial_error,
            keep_remote_files=keep_remote_files,
        )
        self._landed: tuple[Manifest, Ledger] | tuple[()] = ()

    @saving_retries()
    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch, match, publish; return the manifest."""
        from airflow_provider_batch.engine.actions import Wait
        from airflow_provider_batch.engine.ledger import Ledger
        from airflow_provider_batch.engine.outcome import ensure_done, ensure_enough
        from airflow_provider_batch.engine.run import Landed, Run, Work
        from airflow_provider_batch.engine.step import Policy
        from airflow_provider_batch.engine.submission import Submission
        from airflow_provider_batch.errors import JobError
        from airflow_provider_batch.gemini.rows import GeminiRows
        from airflow_provider_batch.lineage.report import TaskReport

        self._check_rendered(context)
        submission = Submission.load(self.submission)
        hook = GeminiBatchHook(self.conn_id)
        with hook.service() as service, TaskReport(self.log) as report:
            work = Work(
                service=service,
                ledger=Ledger(object_path(submission.ledger, "submission.ledger")),
                folder=object_path(submission.result_path, "submission.result_path"),
                dialect=GeminiRows(),
                policy=Policy(timeout_s=MAX_TIMEOUT_S, max_row_attempts=1, is_new_try=False, may_send=False),
                keep_remote_files=self.keep_remote_files,
                prices=hook.prices().price,
                observer=report,
            )
            result = Run(work).go()
            for _ in range(MAX_RESULT_LOOKS):
                # Nothing runs any more and the results come a moment after the success.
                if not isinstance(result, Wait) or result.jobs or result.names or result.until is None:
                    break
                time.sleep(max(0.1, left_s(result, service.now())))
                result = Run(work).go()
        if not isinstance(result, Landed):
            raise JobError(
                f"{', '.join(submission.job_names)} is not finished.",
                job_name=submission.job_name,
                code="AGB-J04",
                remedy="Put a GeminiBatchSensor before this task.",
            )
        self._landed = result.manifest, work.ledger
        if self.do_xcom_push:
            self._show(context, result, submission.ledger)
        ensure_done(result.batch, result.manifest)
        ensure_enough(result.manifest, 0.0 if self.fail_on_partial_error else self.max_failed_fraction)
        tell_outlets(context, self.outlets, result.manifest.to_xcom())
        return result.manifest.to_xcom()

    def _show(self, context: Context, result: Landed, ledger: str) -> None:
        from airflow_provider_batch.engine.glance import LANDED_KEY, landed, of_plan

        plan = result.batch.plan
        before = of_plan(plan, ledger, self.conn_id, plan.first.clock_from.timestamp() + DEFAULT_TIMEOUT_S)
        show(context["ti"], LANDED_KEY, landed(before, result.manifest))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What the OpenLineage provider asks when the task has succeeded, and when it has failed."""
        from airflow_provider_batch.lineage.gemini import lineage

        return lineage([], *self._landed)
