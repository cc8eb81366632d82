"""The operator that lands what another task, or another program, has submitted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator

from airflow_provider_batch.airflow_compat import default_deferrable, object_path, saving_retries, tell_outlets
from airflow_provider_batch.argument_checks import (
    Check,
    checked_usd,
    flag,
    job_name_of,
    mapping,
    maybe,
    one_of,
    output_spec,
    path,
    share,
    text,
)
from airflow_provider_batch.arguments import CheckedArguments, ensure_no_old_names, ensure_one_knob, rendered
from airflow_provider_batch.contract import DEFAULT_TIMEOUT_S
from airflow_provider_batch.deferring import left_s, patience
from airflow_provider_batch.errors import BatchError, ConfigError, JobError
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.links.gemini import LINKS, show
from airflow_provider_batch.operators.late import LateJobs, ensure_known_rows
from airflow_provider_batch.operators.options import CHECKS, FailureOptions, SingleCalls
from airflow_provider_batch.operators.running import identity_of

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from airflow.sdk import Context
    from pydantic import BaseModel

    from airflow_provider_batch.batch.ledger.store import Ledger
    from airflow_provider_batch.batch.run import LandedBatch, Result
    from airflow_provider_batch.batch.work import Work
    from airflow_provider_batch.gemini.service import GeminiBatchService
    from airflow_provider_batch.observability.task_log import TaskReport
    from airflow_provider_batch.rows.manifest import Manifest
    from airflow_provider_batch.rows.output.type import OutputType

RENAMED: Mapping[str, str] = {"conn_id": "gemini_conn_id", "cancel_on_timeout": 'at_timeout="cancel"'}
"""Arguments that others have, and what they are called here."""

MAX_RESULT_LOOKS = 50

RESULT_LOOK_S = 2.0
"""Between looks for the results of a job that has just ended, seconds."""


class GeminiBatchFetchResultsOperator(BaseOperator, CheckedArguments):
    """Land the results of jobs that were submitted with ``wait_for_completion=False``, or by another program.

    Does not wait for jobs: put a :class:`~airflow_provider_batch.sensors.gemini.GeminiBatchSensor` before it. What
    keeps the results of an ended job from coming may pass, and that is waited for. Running it again gives the same
    manifest and costs nothing. It never submits: rows that are left over are in ``failed.jsonl``. Give either
    ``submission`` or ``job_name``.

    With ``at_timeout`` or ``ready_by`` it waits for the jobs of a submission by itself, and needs no sensor. Then
    it does about jobs that are late what these say.

    Of a job of another program only the results are known. So a row is what a result line speaks of, with its key
    or else its number. A row without a line is not missed. ``failed.jsonl`` has keys without requests. The files
    on the server are left to the other program.

    :param submission: What the submitting operator returned. Templated.
    :param job_name: A job of any submitter, ``batches/...``. Templated.
    :param result_path: Folder for the results of that job: an absolute path or a URI. Templated.
    :param output_type: What each answer of that job must be, as for :class:`GeminiBatchOperator`. The ledger of a
        ``submission`` knows it.
    :param output_format: ``jsonl`` or ``parquet``, for that job.
    :param gemini_conn_id: Airflow connection of type ``gemini``. Templated.
    :param max_failed_fraction: Fail, after landing, if a greater share of the rows has no usable answer, 0 to 1.
        None = any number of them, but not all.
    :param fail_on_partial_error: The word of other operators for ``max_failed_fraction=0``. Both at once are
        refused.
    :param keep_remote_files: Leave the uploaded and the result files on the server, which deletes them after 48 h.
        Those of a job of another program are always left.
    :param at_timeout: What becomes of jobs of a submission that are late. ``fail``: nothing, the task fails while
        they run. ``cancel``: they are asked to end, what finished is landed, and the task fails. ``answer``: they
        are asked to end, and the rows that are left are answered by single calls.
    :param timeout: Seconds or a ``timedelta`` from the submission, by the server's clock, after which jobs are
        late. Templated. Means something with ``at_timeout`` only.
    :param ready_by: When all rows are to be answered, as for :class:`GeminiBatchOperator`. Templated. A time that
        has passed begins the single calls at once.
    :param single_calls: How rows are answered one by one, as
        :class:`~airflow_provider_batch.operators.options.SingleCalls` or a dict of its fields.
    :param max_cost_usd: What the batch may cost, jobs and single calls together. Rows beyond it end as
        ``expired``. USD, above 0. Templated.
    :param media_path: Folder of the media files that rows name, for single calls. Templated.
    :param poll_interval: Seconds between looks at the jobs, 1 to 3,600, or a ``timedelta``.
    :param deferrable: Wait in the triggerer instead of on a worker slot. None = ``[operators]
        default_deferrable``.
    """

    template_fields: Sequence[str] = (
        "submission",
        "job_name",
        "result_path",
        "gemini_conn_id",
        "timeout",
        "ready_by",
        "max_cost_usd",
        "media_path",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"submission": "json"}
    ui_color = "#e8f0fe"
    operator_extra_links = LINKS
    checks: ClassVar[Mapping[str, Check]] = {
        "submission": maybe(mapping),
        "job_name": maybe(job_name_of),
        "result_path": maybe(path),
        "gemini_conn_id": text,
        "output_type": maybe(output_spec),
        "output_format": one_of("jsonl", "parquet"),
        "max_failed_fraction": maybe(share),
        "fail_on_partial_error": flag,
        "keep_remote_files": flag,
        "at_timeout": FailureOptions.checks["at_timeout"],
        **{
            name: CHECKS[name] for name in ("timeout", "ready_by", "single_calls", "max_cost_usd", "poll_interval")
        },
        "media_path": maybe(path),
        "deferrable": flag,
    }
    rendered_checks: ClassVar[Mapping[str, Check]] = {
        "submission": mapping,
        "job_name": job_name_of,
        "result_path": path,
        # A template that gives nothing must not lift the limit.
        "max_cost_usd": checked_usd,
    }

    def __init__(
        self,
        *,
        submission: Mapping[str, Any] | str | None = None,
        job_name: str | None = None,
        result_path: str | os.PathLike[str] | None = None,
        output_type: type[BaseModel] | str | dict[str, Any] | None = None,
        output_format: str = "jsonl",
        gemini_conn_id: str = GeminiBatchHook.default_conn_name,
        max_failed_fraction: float | None = None,
        fail_on_partial_error: bool = False,
        keep_remote_files: bool = False,
        at_timeout: Literal["fail", "cancel", "answer"] = "fail",
        timeout: float | str | timedelta = DEFAULT_TIMEOUT_S,
        ready_by: datetime | timedelta | str | None = None,
        single_calls: SingleCalls | Mapping[str, Any] | None = None,
        max_cost_usd: float | str | None = None,
        media_path: str | os.PathLike[str] | None = None,
        poll_interval: float | timedelta = 60.0,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        ensure_no_old_names(type(self).__name__, kwargs, RENAMED)
        super().__init__(**kwargs)
        self.submission = submission
        self.job_name = job_name
        self.result_path = result_path
        self.output_type = output_type
        self.output_format = output_format
        self.gemini_conn_id = gemini_conn_id
        self.max_failed_fraction = max_failed_fraction
        self.fail_on_partial_error = fail_on_partial_error
        self.keep_remote_files = keep_remote_files
        self.at_timeout = at_timeout
        self.timeout = timeout
        self.ready_by = ready_by
        self.single_calls = single_calls
        self.max_cost_usd = max_cost_usd
        self.media_path = media_path
        self.poll_interval = poll_interval
        self.deferrable = default_deferrable() if deferrable is None else deferrable
        self._check_given()
        ensure_known_rows(job_name, at_timeout, ready_by)
        ensure_one_knob(max_failed_fraction, fail_on_partial_error)
        _ensure_one(submission is not None, job_name is not None, result_path is not None, output_type is not None)
        self._landed: tuple[Manifest, Ledger] | tuple[()] = ()
        self._is_stopped = False

    def render_template(self, content: Any, context: Context, *others: Any, **named: Any) -> Any:
        """As Airflow's, also of paths."""
        render = super().render_template
        return rendered(content, lambda value: render(value, context, *others, **named))

    @saving_retries()
    def execute(self, context: Context) -> dict[str, Any]:
        """Fetch, match, publish. Returns the manifest."""
        return self._execute(context, {})

    def _execute(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        from airflow_provider_batch.batch.decide.common_mistake import common_mistake
        from airflow_provider_batch.batch.decide.outcome import ensure_done, ensure_enough
        from airflow_provider_batch.observability.task_log import TaskReport
        from airflow_provider_batch.rows.write.parquet import require_pyarrow

        self._check_rendered()
        late = LateJobs.of(vars(self), context)
        if self.output_format == "parquet":
            require_pyarrow()
        hook = GeminiBatchHook(self.gemini_conn_id)
        with hook.service() as service, TaskReport(self.log) as report:
            make = self._of_another if self.job_name else self._of_submission
            work = make(context, hook, service, report)
            if late.waits:
                work = late.apply(work, hook, lambda: self._is_stopped)
                result = self._ended(late.land(self, work, event))
            else:
                result = self._land(work)
        self._landed = result.manifest, work.ledger
        if self.do_xcom_push:
            self._show(context, result, str(work.ledger.folder))
        ensure_done(result.batch, result.manifest)
        allowed = 0.0 if self.fail_on_partial_error else self.max_failed_fraction
        ensure_enough(result.manifest, allowed, common_mistake(result.batch))
        tell_outlets(context, self.outlets, result.manifest.to_xcom())
        return result.manifest.to_xcom()

    def on_kill(self) -> None:
        """Begin no more single calls. Jobs are left alone."""
        self._is_stopped = True

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Look again after a wait. The ledger and the API say what is next, not the event."""
        with saving_retries():
            return self._execute(context, event)

    def _land(self, work: Work) -> LandedBatch:
        from airflow_provider_batch.batch.decide.actions import Wait
        from airflow_provider_batch.batch.run import Run

        result: Result = Run(work).go()
        for _ in range(MAX_RESULT_LOOKS):
            # Nothing runs any more and the results come a moment after the success.
            if not isinstance(result, Wait) or result.jobs or result.names or result.until is None:
                break
            now = work.service.now()
            if self.deferrable:
                self._defer(result.until, now)
            time.sleep(max(0.1, left_s(result, now)))
            result = Run(work).go()
        return self._ended(result)

    def _ended(self, result: Result) -> LandedBatch:
        from airflow_provider_batch.batch.decide.actions import Wait
        from airflow_provider_batch.batch.run import LandedBatch

        if isinstance(result, LandedBatch):
            return result
        jobs = result.jobs if isinstance(result, Wait) else ()
        raise JobError(
            f"{', '.join(jobs) or self.job_name or 'The job'} is not finished.",
            job_name=jobs[0] if jobs else "",
            code="AGB-J04",
            remedy="Put a GeminiBatchSensor before this task.",
        )

    def _defer(self, until: float, now: float) -> None:
        from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

        trigger = GeminiBatchTrigger(self.gemini_conn_id, deadline=until, until=until, looks=False, asked_at=now)
        self.defer(trigger=trigger, method_name="execute_complete", timeout=patience(until - now))

    def _of_submission(
        self, context: Context, hook: GeminiBatchHook, service: GeminiBatchService, report: TaskReport
    ) -> Work:
        from airflow_provider_batch.batch.assemble import to_land
        from airflow_provider_batch.batch.ledger.store import Ledger
        from airflow_provider_batch.batch.submission import Submission
        from airflow_provider_batch.gemini.rows.dialect import GeminiRows

        submission = Submission.load(self.submission)
        return to_land(
            service,
            Ledger(object_path(submission.ledger, "submission.ledger")),
            object_path(submission.result_path, "submission.result_path"),
            # The rows were checked before they were sent.
            GeminiRows(allow_unknown_fields=True, with_files=True),
            prices=hook.prices().price,
            keep_remote_files=self.keep_remote_files,
            observer=report,
        )

    def _of_another(
        self, context: Context, hook: GeminiBatchHook, service: GeminiBatchService, report: TaskReport
    ) -> Work:
        from airflow_provider_batch.batch.assemble import to_land
        from airflow_provider_batch.batch.land.foreign_job import ForeignJob, NumberedRows, foreign_ledger
        from airflow_provider_batch.batch.ledger.documents import Layout
        from airflow_provider_batch.gemini.rows.dialect import GeminiRows

        account, output = hook.account(), self._output()
        wanted = ForeignJob(
            identity=identity_of(context, account.deployment),
            account=account.label,
            model=service.model_of(str(self.job_name)),
            folder=object_path(str(self.result_path), "result_path"),
            layout=Layout(format=self.output_format, keeps_remote_files=True),  # type: ignore[arg-type]
            output_schema=output.json_schema if output else None,
        )
        ledger = _patient(lambda: foreign_ledger(service, wanted, service.look(str(self.job_name)), GeminiRows()))
        work = to_land(
            service,
            ledger,
            wanted.folder,
            NumberedRows(GeminiRows()),
            prices=hook.prices().price,
            keep_remote_files=True,
            observer=report,
        )
        return replace(work, output=output)

    def _output(self) -> OutputType | None:
        from airflow_provider_batch.rows.output.type import OutputType

        return None if self.output_type is None else OutputType.of(self.output_type)

    def _show(self, context: Context, result: LandedBatch, ledger: str) -> None:
        from airflow_provider_batch.batch.summary import LANDED_KEY, landed, of_plan

        plan = result.batch.plan
        before = of_plan(plan, ledger, self.gemini_conn_id, plan.first.clock_from.timestamp() + DEFAULT_TIMEOUT_S)
        show(context["ti"], LANDED_KEY, landed(before, result.manifest))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What the OpenLineage provider asks when the task has succeeded, and when it has failed."""
        from airflow_provider_batch.observability.openlineage import lineage

        return lineage([], *self._landed)


def _ensure_one(has_submission: bool, has_job: bool, has_path: bool, has_type: bool) -> None:
    if has_submission == has_job:
        what = "either submission or job_name, and not both" if has_job else "submission or job_name"
        raise ConfigError(f"Give {what}.", code="AGB-C06", remedy="Correct the operator's arguments.")
    if has_job != has_path or (has_type and not has_job):
        raise ConfigError(
            "job_name needs result_path. A submission needs neither result_path nor output_type: its ledger "
            "has both.",
            code="AGB-C06",
            remedy="Give result_path and output_type with job_name only.",
        )


def _patient(begin: Callable[[], Ledger]) -> Ledger:
    """Results may come a moment after the success."""
    for _ in range(MAX_RESULT_LOOKS):
        try:
            return begin()
        except BatchError as error:
            if not error.may_pass:
                raise
            time.sleep(RESULT_LOOK_S)
    return begin()
