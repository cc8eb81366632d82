"""How a task runs a batch: begin or go on with what is there, wait, land, end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_batch.airflow_compat import (
    Fence,
    end_without_results,
    is_cleared,
    object_path,
    skip,
    tell_outlets,
)
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.contract import DEFAULT_TIMEOUT_S
from airflow_provider_batch.deferring import BLIND_WAIT_S, left_s, patience
from airflow_provider_batch.errors import BatchError, ConfigError, EmptyInputError, PartialResultsError
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.links.gemini import show
from airflow_provider_batch.operators.in_time import calling_of, ensure_ahead, ready_time_of
from airflow_provider_batch.operators.requests import source
from airflow_provider_batch.stopping import end_if_failed, task_of
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_batch.batch.decide.actions import Wait
    from airflow_provider_batch.batch.decide.policy import Policy
    from airflow_provider_batch.batch.ledger.job_names import Identity
    from airflow_provider_batch.batch.ledger.state import BatchState
    from airflow_provider_batch.batch.ledger.store import Ledger
    from airflow_provider_batch.batch.run import LandedBatch, Result
    from airflow_provider_batch.batch.send.spec import BatchSpec
    from airflow_provider_batch.batch.summary import BatchSummary
    from airflow_provider_batch.batch.work import Work
    from airflow_provider_batch.gemini.rows.form import RequestForm
    from airflow_provider_batch.gemini.service import GeminiBatchService
    from airflow_provider_batch.hooks.gemini import Account
    from airflow_provider_batch.observability.task_log import TaskReport
    from airflow_provider_batch.operators.options import BatchArguments
    from airflow_provider_batch.rows.check.staging import Intake
    from airflow_provider_batch.rows.manifest import Manifest

FIRST_BEGIN_WAIT_S, LAST_BEGIN_WAIT_S, BEGIN_SHARE = 60.0, 600.0, 0.1
"""Between attempts to begin while the API is out of order. Each attempt reads and checks the rows again.

Seconds at least, seconds at most, and a share of the time since the first attempt.
"""

JOB_NAME_KEY = "job_name"
"""XCom key of the newest remote job, pushed as soon as the job exists."""


class TaskRun:
    """One start of a task: the first of a try, or a resume after a wait.

    :param task: The operator: its log, and what Airflow knows of it.
    :param context: Of the task instance.
    :param given: The operator's arguments, rendered and checked.
    :param form: How rows become requests.
    :param rows: Gives what is to be read, each time that the rows are read.
    :ivar manifest: Of the results, None until they have landed.
    :ivar ledger: Of the batch, None until there is one.
    """

    def __init__(
        self,
        task: BaseOperator,
        context: Context,
        given: BatchArguments,
        form: RequestForm,
        rows: Callable[[], object],
    ) -> None:
        self.manifest: Manifest | None = None
        self.ledger: Ledger | None = None
        self._task = task
        self._context = context
        self._given = given
        self._form = form
        self._rows = rows
        self._hook = GeminiBatchHook(given.gemini_conn_id)
        self._has_begun = False
        self._is_stopped = False

    def execute(self, begin_by: float | None = None) -> dict[str, Any]:
        """Begin, or go on with what an earlier try began.

        :param begin_by: Unix time at which beginning is given up, None = ``timeout`` seconds from now.
        :return: What the task returns: the manifest, the submission or the estimate.
        """
        while True:
            try:
                return self._begin()
            except BatchError as error:
                if not error.may_pass or self._given.dry_run or self._has_begun:
                    raise
                begin_by = self._begin_later(begin_by, error)

    def resume(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on after a wait. The ledger and the API say what is next, not the event.

        :param event: What the trigger said.
        :return: As :meth:`execute`.
        """
        from airflow_provider_batch.batch.ledger.store import generations
        from airflow_provider_batch.batch.send.start import current
        from airflow_provider_batch.observability.task_log import TaskReport

        if "begin_by" in event:
            return self.execute(event["begin_by"])
        spec = self._spec()
        known = generations(spec.folder, spec.identity.task_digest)
        if not known and "ledger" not in event:
            # The wait for a beginning was cut short.
            return self.execute()
        # Only a trigger remembers it.
        noted = event.get("ledger", str(known[-1].folder) if known else "unknown")
        if not known or noted != str(known[-1].folder):
            raise ConfigError(
                f"The ledger of this task, {noted}, is not where result_path says, {spec.folder}.",
                code="AGB-C08",
                remedy="Nothing was sent or cancelled. Use a path that renders the same in every try, or restore "
                "the ledger.",
            )
        current(spec, known)
        self._task.log.info("Resumed: %s", event.get("message") or event.get("outcome"))
        with self._hook.service(embeddings=self._form.embeds) as service, TaskReport(self._task.log) as report:
            work = self._work(service, spec, known[-1], self._policy(is_new_try=False), report)
            return self._go_on(spec, work, event)

    @cached_property
    def _account(self) -> Account:
        return self._hook.account()

    @cached_property
    def _identity(self) -> Identity:
        return identity_of(self._context, self._account.deployment)

    def on_kill(self) -> None:
        """Ask the jobs to end if the task was marked failed. Leave them alone in every other case."""
        self._is_stopped = True
        if self._given.failures.cancel_on_kill and self.ledger is not None:
            end_if_failed(self._hook, self.ledger, self._identity, self._task.log)

    def _begin(self) -> dict[str, Any]:
        from dataclasses import asdict

        from airflow_provider_batch.batch.ledger.store import generations
        from airflow_provider_batch.batch.send.start import estimated, ledger_for
        from airflow_provider_batch.observability.task_log import TaskReport
        from airflow_provider_batch.rows.write.parquet import require_pyarrow

        if self._given.results.output_format == "parquet":
            require_pyarrow()
        intake, dialect = self._intake(), self._form.dialect()
        with self._hook.service(embeddings=self._form.embeds) as service, TaskReport(self._task.log) as report:
            spec = self._spec()
            try:
                if self._given.dry_run:
                    estimate = asdict(estimated(service, spec, intake, dialect))
                    return end_without_results(self._task, self._context, estimate)
                known = generations(spec.folder, spec.identity.task_digest)
                if not known:
                    ensure_ahead(ready_time_of(self._given.ready_by, self._context))
                for earlier in known[-1:]:
                    # A stop of this try while it reads its rows means the jobs of the try before.
                    self.ledger = earlier
                ledger = ledger_for(service, spec, intake, dialect)
            except EmptyInputError as error:
                if self._given.failures.on_empty == "skip":
                    raise skip(error) from None
                raise
            self._has_begun = True
            cleared = is_cleared(self._context["ti"], self._task.retries or 0)
            policy = self._policy(is_new_try=True, is_cleared=cleared)
            return self._go_on(spec, self._work(service, spec, ledger, policy, report), {})

    def _begin_later(self, begin_by: float | None, error: BatchError) -> float:
        """What kept the rows from being sent may pass: wait for that without holding a worker slot, if deferred.

        :return: Unix time at which beginning is given up.
        """
        now, timeout_s = time.time(), self._given.timeout
        give_up = now + timeout_s if begin_by is None else begin_by
        wait_s = max(FIRST_BEGIN_WAIT_S, min(LAST_BEGIN_WAIT_S, BEGIN_SHARE * (now + timeout_s - give_up)))
        if now >= give_up:
            raise error
        self._task.log.warning("Nothing is sent yet; trying again in %.0f s: %s", wait_s, error)
        if self._given.deferrable:
            trigger = GeminiBatchTrigger(
                self._given.gemini_conn_id,
                deadline=give_up,
                until=now + wait_s,
                looks=False,
                begin_by=give_up,
                asked_at=now,
            )
            self._task.defer(trigger=trigger, method_name="execute_complete", timeout=patience(wait_s))
        time.sleep(wait_s)
        return give_up

    def _intake(self) -> Intake:
        return self._form.intake(
            source(self._rows()),
            on_bad_row=self._given.failures.on_bad_row,
            sample_rows=self._given.estimate.count_tokens_rows,
        )

    def _spec(self) -> BatchSpec:
        from airflow_provider_batch.batch.cost.budget import Budget
        from airflow_provider_batch.batch.decide.call_rules import trial_s
        from airflow_provider_batch.batch.ledger.documents import Layout
        from airflow_provider_batch.batch.send.spec import BatchSpec
        from airflow_provider_batch.rows.check.shards import ShardLimits

        given, results = self._given, self._given.results
        return BatchSpec(
            identity=self._identity,
            account=self._account.label,
            model=self._form.model_name,
            folder=object_path(given.result_path, "result_path"),
            limits=ShardLimits(
                rows=given.max_rows_per_job,
                tokens=self._account.max_enqueued_tokens,
                with_media=self._form.media_folder is not None,
            ),
            on_content_change=given.failures.on_content_change,  # type: ignore[arg-type]
            budget=Budget(given.max_cost_usd, self._hook.prices().price, self._earlier_outputs),
            files_needed_s=min(given.timeout, DEFAULT_TIMEOUT_S),
            trial_rows=given.trial_rows,
            trial_s=trial_s(ready_time_of(given.ready_by, self._context), time.time()),
            output=self._form.output,
            is_strict=results.strict_output,
            layout=Layout(
                format=results.output_format,
                in_input_order=results.keep_order,
                keeps_remote_files=results.keep_remote_files,
            ),
        )

    def _earlier_outputs(self) -> list[int]:
        from airflow_provider_batch.rows.results import output_tokens

        earlier = self._given.estimate.earlier_results
        return [] if earlier is None else output_tokens(object_path(str(earlier), "estimate.earlier_results"))

    def _policy(self, *, is_new_try: bool, is_cleared: bool = False) -> Policy:
        from airflow_provider_batch.batch.decide.policy import Policy

        most = self._task.execution_timeout
        failures = self._given.failures
        return Policy(
            timeout_s=min([self._given.timeout, *([] if most is None else [most.total_seconds()])]),
            max_row_attempts=failures.max_row_attempts,
            at_timeout=failures.at_timeout,
            ready_by=ready_time_of(self._given.ready_by, self._context),
            resubmit_ambiguous=failures.on_ambiguous == "resubmit",
            is_new_try=is_new_try,
            is_cleared=is_cleared,
            submit_only=not self._given.wait_for_completion,
        )

    def _work(
        self, service: GeminiBatchService, spec: BatchSpec, ledger: Ledger, policy: Policy, report: TaskReport
    ) -> Work:
        from airflow_provider_batch.batch.assemble import to_send

        fence = Fence(self._context.get("task_state_store"), str(ledger.folder.parent))
        fence.check_pointer()
        return to_send(
            spec,
            service,
            ledger,
            self._form.dialect(),
            policy,
            files=self._form.media_folder,
            fence=fence,
            on_job=self._tell_job,
            observer=report,
            calls=calling_of(self._given, self._hook, self._account, lambda: self._is_stopped),
        )

    def _tell_job(self, name: str) -> None:
        if self._task.do_xcom_push:
            self._context["ti"].xcom_push(key=JOB_NAME_KEY, value=name)

    def _go_on(self, spec: BatchSpec, work: Work, event: Mapping[str, Any]) -> dict[str, Any]:
        from dataclasses import replace

        from airflow_provider_batch.batch.decide.actions import Wait
        from airflow_provider_batch.batch.ledger.state import read_batch
        from airflow_provider_batch.batch.run import LandedBatch, Run
        from airflow_provider_batch.batch.summary import KEY

        self.ledger, summary = work.ledger, self._summary(work.ledger, work.policy)
        if self._task.do_xcom_push:
            show(self._context["ti"], KEY, summary)
            # Airflow empties XCom when a new try begins.
            for name in read_batch(work.ledger).jobs[-1:]:
                self._tell_job(name)
        while True:
            result: Result = Run(work).go()
            if isinstance(result, LandedBatch) and self._given.wait_for_completion:
                return self._ended(result, summary, work.policy)
            if not isinstance(result, Wait):
                self._task.outlets = []
                return self._submission(result.batch, work.ledger)
            if self._given.deferrable:
                self._defer(result, work, event)
            time.sleep(max(0.1, min(self._given.poll_interval, left_s(result, work.service.now()))))
            work = replace(work, policy=replace(work.policy, is_new_try=False))

    def _defer(self, wait: Wait, work: Work, event: Mapping[str, Any]) -> None:
        from airflow_provider_batch.batch.ledger.state import read_batch

        looks, until = True, wait.until
        if event.get("outcome") in ("unreadable", "unknown_state"):
            # This worker has just looked. The triggerer would end the next wait at once, and so on for ever.
            looks, until = False, min(wait.until or wait.deadline, work.service.now() + BLIND_WAIT_S)
            self._task.log.warning(
                "The triggerer cannot wait for the jobs, and this worker can: %s A worker looks again in %.0f s. "
                "Make the connection %r, and this package, the same on triggerers and workers.",
                event.get("message"),
                BLIND_WAIT_S,
                self._given.gemini_conn_id,
            )
        self._task.defer(
            trigger=GeminiBatchTrigger(
                conn_id=self._given.gemini_conn_id,
                deadline=wait.deadline,
                job_names=wait.jobs,
                display_names=wait.names,
                until=until,
                poll_interval=self._given.poll_interval,
                ledger=str(work.ledger.folder),
                waiting_task=task_of(self._identity) if self._given.failures.cancel_on_kill else None,
                cancel_note=read_batch(work.ledger).round.document(names.CANCEL),
                looks=looks,
                asked_at=work.service.now(),
            ),
            method_name="execute_complete",
            timeout=patience(min(wait.deadline, until or wait.deadline) - work.service.now()),
        )

    def _summary(self, ledger: Ledger, policy: Policy) -> BatchSummary:
        from airflow_provider_batch.batch.decide.deadlines import all_is_due, rescue_begins
        from airflow_provider_batch.batch.ledger.state import read_batch
        from airflow_provider_batch.batch.summary import of_plan

        batch = read_batch(ledger)
        rescue_at = rescue_begins(batch, policy, time.time())
        conn_id, due = self._given.gemini_conn_id, all_is_due(batch, policy)
        return of_plan(batch.plan, str(ledger.folder), conn_id, due, rescue_at)

    def _ended(self, landed: LandedBatch, before: BatchSummary, policy: Policy) -> dict[str, Any]:
        from airflow_provider_batch.batch import summary
        from airflow_provider_batch.batch.decide.common_mistake import common_mistake
        from airflow_provider_batch.batch.decide.next_step import retry_helps
        from airflow_provider_batch.batch.decide.outcome import ensure_done, ensure_enough

        self.manifest = landed.manifest
        if self._task.do_xcom_push:
            show(self._context["ti"], summary.KEY, summary.landed(before, landed.manifest))
        ensure_done(landed.batch, landed.manifest)
        try:
            ensure_enough(landed.manifest, self._given.allowed_failures, common_mistake(landed.batch))
        except PartialResultsError as error:
            error.is_final = not retry_helps(landed.batch, policy)
            raise
        tell_outlets(self._context, self._task.outlets, landed.manifest.to_xcom())
        return landed.manifest.to_xcom()

    def _submission(self, batch: BatchState, ledger: Ledger) -> dict[str, Any]:
        from airflow_provider_batch.batch.submission import Submission

        plan, jobs = batch.plan, batch.jobs
        return Submission(
            job_name=jobs[0] if jobs else "",
            job_names=jobs,
            model=plan.model,
            result_path=self._given.result_path,
            ledger=str(ledger.folder),
            request_count=plan.rows,
            submitted_at=plan.first.created_at,
        ).to_xcom()


def identity_of(context: Context, deployment: str) -> Identity:
    """Which task instance runs."""
    from airflow_provider_batch.batch.ledger.job_names import Identity

    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    return Identity(ti.dag_id, ti.task_id, ti.run_id, map_index, deployment)
