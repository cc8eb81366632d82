"""How a task runs a batch, whatever its rows are: begin or go on, wait, land, end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_batch.airflow_compat import (
    Fence,
    end_without_results,
    is_cleared,
    object_path,
    saving_retries,
    skip,
    tell_outlets,
)
from airflow_provider_batch.arguments import CheckedArguments
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.contract import DEFAULT_TIMEOUT_S
from airflow_provider_batch.deferring import NO_TRIGGERER, WaitCut, cut_of, last_line, left_s, patience
from airflow_provider_batch.errors import BatchError, ConfigError, EmptyInputError, PartialResultsError
from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.links.gemini import show
from airflow_provider_batch.stopping import end_if_failed, task_of
from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow.sdk import Context

    from airflow_provider_batch.batch.decide.actions import Wait
    from airflow_provider_batch.batch.decide.policy import Policy
    from airflow_provider_batch.batch.ledger.job_names import Identity
    from airflow_provider_batch.batch.ledger.state import BatchState
    from airflow_provider_batch.batch.ledger.store import Ledger
    from airflow_provider_batch.batch.run import LandedBatch, Result, Work
    from airflow_provider_batch.batch.send.start import BatchSpec, OnContentChange
    from airflow_provider_batch.batch.summary import BatchSummary
    from airflow_provider_batch.gemini.service import GeminiBatchService
    from airflow_provider_batch.hooks.gemini import Account
    from airflow_provider_batch.observability.task_log import TaskReport
    from airflow_provider_batch.rows.check.staging import Intake
    from airflow_provider_batch.rows.dialect import RowDialect
    from airflow_provider_batch.rows.manifest import Manifest
    from airflow_provider_batch.rows.output.type import OutputType

BLIND_WAIT_S = 300.0
"""Between looks of workers while the triggerer cannot ask about the jobs, seconds."""

FIRST_BEGIN_WAIT_S, LAST_BEGIN_WAIT_S, BEGIN_SHARE = 60.0, 600.0, 0.1
"""Between attempts to begin while the API is out of order: seconds at least and at most, and a share of the time
since the first. Each reads and checks the rows again."""

JOB_NAME_KEY = "job_name"
"""XCom key of the newest remote job, pushed as soon as the job exists."""


class BatchRun(BaseOperator, CheckedArguments):
    """The part of the operators that Airflow calls. What is sent is for those who derive from it to say."""

    model: str
    requests: Any
    result_path: Any
    conn_id: str
    files_path: Any
    output_format: str
    keep_order: bool
    keep_remote_files: bool
    on_empty: str
    on_content_change: OnContentChange
    on_ambiguous: str
    max_cost_usd: Decimal | None
    is_dry_run: bool
    wait_for_completion: bool
    deferrable: bool
    poll_interval: float
    timeout: float
    max_failed_fraction: float | None
    fail_on_partial_error: bool
    retry_failed_rows: bool
    max_row_attempts: int
    cancel_on_timeout: bool
    cancel_on_kill: bool
    shard_rows: int | None
    strict_output: bool = False

    _embeds = False
    _has_begun = False
    _live: tuple[Identity, Ledger] | None = None
    _manifest: Manifest | None = None

    def _intake(self) -> Intake:
        """Where the rows come from, and how each becomes a request."""
        raise NotImplementedError

    def _dialect(self) -> RowDialect:
        """How requests and answers are written."""
        raise NotImplementedError

    def _output(self) -> OutputType | None:
        """What each answer must be, None = anything."""
        raise NotImplementedError

    def _files(self) -> Any:
        """The folder of the files that rows name, None if they name none."""
        raise NotImplementedError

    def _earlier(self) -> list[int]:
        """Output tokens of earlier answers, thinking included."""
        raise NotImplementedError

    def _prepare(self, context: Context) -> None:
        """Called before the rows are read, each time that they are: they may be given by a function."""

    @saving_retries()
    def execute(self, context: Context) -> dict[str, Any]:
        """Begin, or go on with what an earlier try began."""
        return self._execute(context, None)

    def _execute(self, context: Context, begin_by: float | None) -> dict[str, Any]:
        """The same.

        :param begin_by: Unix time at which beginning is given up, None = ``timeout`` seconds from now.
        """
        while True:
            try:
                return self._begin(context)
            except BatchError as error:
                if not error.may_pass or self.is_dry_run or self._has_begun:
                    raise
                begin_by = self._begin_later(begin_by, error)

    def _begin_later(self, begin_by: float | None, error: BatchError) -> float:
        """What kept the rows from being sent may pass: wait for that without holding a worker slot, if deferred.

        :return: Unix time at which beginning is given up.
        """
        now = time.time()
        give_up = now + self.timeout if begin_by is None else begin_by
        wait_s = max(FIRST_BEGIN_WAIT_S, min(LAST_BEGIN_WAIT_S, BEGIN_SHARE * (now + self.timeout - give_up)))
        if now >= give_up:
            raise error
        self.log.warning("Nothing is sent yet; trying again in %.0f s: %s", wait_s, error)
        if self.deferrable:
            trigger = GeminiBatchTrigger(
                self.conn_id, deadline=give_up, until=now + wait_s, looks=False, begin_by=give_up, asked_at=now
            )
            self.defer(trigger=trigger, method_name="execute_complete", timeout=patience(wait_s))
        time.sleep(wait_s)
        return give_up

    def _begin(self, context: Context) -> dict[str, Any]:
        from dataclasses import asdict

        from airflow_provider_batch.batch.ledger.store import generations
        from airflow_provider_batch.batch.observer import PREFLIGHT
        from airflow_provider_batch.batch.send.start import estimated, ledger_for
        from airflow_provider_batch.observability.task_log import TaskReport
        from airflow_provider_batch.rows.write.parquet import require_pyarrow

        self._prepare(context)
        self._check_rendered(context)
        if self.output_format == "parquet":
            require_pyarrow()
        intake = self._intake()
        hook = GeminiBatchHook(self.conn_id)
        account = hook.account()
        with hook.service(embeddings=self._embeds) as service, TaskReport(self.log) as report:
            order = self._order(context, account, hook)
            report.chapter(PREFLIGHT)
            try:
                if self.is_dry_run:
                    said = asdict(estimated(service, order, intake, self._dialect()))
                    return end_without_results(self, context, said)
                for earlier in generations(order.folder, order.identity.mark)[-1:]:
                    # Whoever stops this try while it reads its rows means the jobs of the try before.
                    self._live = order.identity, earlier
                ledger = ledger_for(service, order, intake, self._dialect())
            except EmptyInputError as error:
                if self.on_empty == "skip":
                    raise skip(error) from None
                raise
            self._has_begun = True
            cleared = is_cleared(context["ti"], self.retries or 0)
            policy = self._policy(is_new_try=True, is_cleared=cleared)
            return self._go_on(context, order, self._work(context, service, order, ledger, policy, report))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """As Airflow's. After a wait that no trigger has ended, the ledger and the API are asked all the same."""
        cut = cut_of(next_method, next_kwargs)
        if cut is None:
            return super().resume_execution(next_method, next_kwargs, context)
        if cut is WaitCut.BROKEN:
            self.log.warning("The triggerer cannot wait (%s): this worker does.", last_line(next_kwargs))
            self.deferrable = False
        else:
            self.log.warning("No trigger has fired in time, so the scheduler has ended the wait. %s", NO_TRIGGERER)
        return self.execute_complete(context, {"outcome": cut.name.lower(), "message": cut.value})

    @saving_retries()
    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Resume after the trigger: the ledger and the API say what is next, whatever the event says."""
        from airflow_provider_batch.batch.ledger.store import generations
        from airflow_provider_batch.batch.send.start import current
        from airflow_provider_batch.observability.task_log import TaskReport

        if "begin_by" in event:
            return self._execute(context, event["begin_by"])
        self._check_rendered(context)
        hook = GeminiBatchHook(self.conn_id)
        account = hook.account()
        order = self._order(context, account, hook)
        known = generations(order.folder, order.identity.mark)
        if not known and "ledger" not in event:
            # The wait for a beginning was cut short.
            return self._execute(context, None)
        # Only a trigger remembers it.
        noted = event.get("ledger", str(known[-1].folder) if known else "unknown")
        if not known or noted != str(known[-1].folder):
            raise ConfigError(
                f"The ledger of this task, {noted}, is not where result_path says, {order.folder}.",
                code="AGB-C08",
                remedy="Nothing was sent or cancelled. Use a path that renders the same in every try, or restore "
                "the ledger.",
            )
        current(order, known)
        self.log.info("Resumed: %s", event.get("message") or event.get("outcome"))
        with hook.service(embeddings=self._embeds) as service, TaskReport(self.log) as report:
            policy = self._policy(is_new_try=False)
            work = self._work(context, service, order, known[-1], policy, report)
            return self._go_on(context, order, work, event)

    def on_kill(self) -> None:
        """Ask the jobs to end if the task was marked failed; leave them alone in every other case."""
        if self.cancel_on_kill and self._live is not None:
            identity, ledger = self._live
            end_if_failed(GeminiBatchHook(self.conn_id), ledger, identity, self.log)

    def get_openlineage_facets_on_start(self) -> Any:
        """What the OpenLineage provider asks before the task runs."""
        from airflow_provider_batch.observability.openlineage import lineage

        return lineage([self.requests, self.files_path])

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """What the OpenLineage provider asks when the task has succeeded."""
        from airflow_provider_batch.observability.openlineage import lineage

        return lineage([self.requests, self.files_path], self._manifest, self._live[1] if self._live else None)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """The same when it has failed: what was sent, and what has landed all the same."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _order(self, context: Context, account: Account, hook: GeminiBatchHook) -> BatchSpec:
        from airflow_provider_batch.batch.assemble import job_limits
        from airflow_provider_batch.batch.cost.budget import Budget
        from airflow_provider_batch.batch.ledger.documents import Layout
        from airflow_provider_batch.batch.send.start import BatchSpec

        return BatchSpec(
            identity=identity_of(context, account.deployment),
            account=account.label,
            model=self._model_name(),
            folder=object_path(self.result_path, "result_path"),
            limits=job_limits(
                rows=self.shard_rows,
                tokens=account.max_enqueued_tokens,
                with_media=self.files_path is not None,
            ),
            on_content_change=self.on_content_change,
            budget=Budget(self.max_cost_usd, hook.prices().price, self._earlier),
            files_needed_s=min(self.timeout, DEFAULT_TIMEOUT_S),
            output=self._output(),
            is_strict=self.strict_output,
            layout=Layout(
                format=self.output_format,  # type: ignore[arg-type]
                in_input_order=self.keep_order,
                keeps_remote_files=self.keep_remote_files,
            ),
        )

    def _policy(self, *, is_new_try: bool, is_cleared: bool = False) -> Policy:
        from airflow_provider_batch.batch.decide.policy import Policy

        shorter = [] if self.execution_timeout is None else [self.execution_timeout.total_seconds()]
        return Policy(
            timeout_s=min([self.timeout, *shorter]),
            max_row_attempts=self.max_row_attempts,
            retry_failed_rows=self.retry_failed_rows,
            cancel_on_timeout=self.cancel_on_timeout,
            resubmit_ambiguous=self.on_ambiguous == "resubmit",
            is_new_try=is_new_try,
            is_cleared=is_cleared,
            submit_only=not self.wait_for_completion,
        )

    def _go_on(
        self, context: Context, order: BatchSpec, work: Work, event: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        from dataclasses import replace

        from airflow_provider_batch.batch.decide.actions import Wait
        from airflow_provider_batch.batch.ledger.state import read_batch
        from airflow_provider_batch.batch.run import LandedBatch, Run
        from airflow_provider_batch.batch.summary import KEY

        self._live, glance = (order.identity, work.ledger), self._glance(work.ledger, work.policy)
        if self.do_xcom_push:
            show(context["ti"], KEY, glance)
            # Airflow empties XCom when a new try begins.
            for name in read_batch(work.ledger).jobs[-1:]:
                self._tell_job(context["ti"], name)
        while True:
            result: Result = Run(work).go()
            if isinstance(result, LandedBatch) and self.wait_for_completion:
                return self._ended(context, result, glance, work.policy)
            if not isinstance(result, Wait):
                self.outlets = []
                return self._submission(result.batch, work.ledger)
            if self.deferrable:
                self._defer(result, order.identity, work, event or {})
            time.sleep(max(0.1, min(self.poll_interval, left_s(result, work.service.now()))))
            work = replace(work, policy=replace(work.policy, is_new_try=False))

    def _work(
        self,
        context: Context,
        service: GeminiBatchService,
        order: BatchSpec,
        ledger: Ledger,
        policy: Policy,
        report: TaskReport,
    ) -> Work:
        from airflow_provider_batch.batch.assemble import to_send

        fence = Fence(context.get("task_state_store"), str(ledger.folder.parent))
        fence.check_pointer()
        ti = context["ti"]
        return to_send(
            order,
            service,
            ledger,
            self._dialect(),
            policy,
            files=self._files(),
            fence=fence,
            on_job=lambda name: self._tell_job(ti, name),
            observer=report,
        )

    def _tell_job(self, ti: Any, name: str) -> None:
        if self.do_xcom_push:
            ti.xcom_push(key=JOB_NAME_KEY, value=name)

    def _defer(self, wait: Wait, identity: Identity, work: Work, event: Mapping[str, Any]) -> None:
        from airflow_provider_batch.batch.ledger.state import read_batch

        looks, until = True, wait.until
        if event.get("outcome") in ("unreadable", "unknown_state"):
            # This worker has just looked. The triggerer would end the next wait at once, and so on for ever.
            looks, until = False, min(wait.until or wait.deadline, work.service.now() + BLIND_WAIT_S)
            self.log.warning(
                "The triggerer cannot wait for the jobs, and this worker can: %s A worker looks again in %.0f s. "
                "Make the connection %r, and this package, the same on triggerers and workers.",
                event.get("message"),
                BLIND_WAIT_S,
                self.conn_id,
            )
        self.defer(
            trigger=GeminiBatchTrigger(
                conn_id=self.conn_id,
                deadline=wait.deadline,
                job_names=wait.jobs,
                display_names=wait.names,
                until=until,
                poll_interval=self.poll_interval,
                ledger=str(work.ledger.folder),
                waiting_task=task_of(identity) if self.cancel_on_kill else None,
                cancel_note=read_batch(work.ledger).round.document(names.CANCEL),
                looks=looks,
                asked_at=work.service.now(),
            ),
            method_name="execute_complete",
            timeout=patience(min(wait.deadline, until or wait.deadline) - work.service.now()),
        )

    def _glance(self, ledger: Ledger, policy: Policy) -> BatchSummary:
        from airflow_provider_batch.batch.decide.next_step import deadline
        from airflow_provider_batch.batch.ledger.state import read_batch
        from airflow_provider_batch.batch.summary import of_plan

        batch = read_batch(ledger)
        return of_plan(batch.plan, str(ledger.folder), self.conn_id, deadline(batch.round, policy))

    def _ended(
        self, context: Context, landed: LandedBatch, glance: BatchSummary, policy: Policy
    ) -> dict[str, Any]:
        from airflow_provider_batch.batch import summary
        from airflow_provider_batch.batch.decide.common_mistake import common_mistake
        from airflow_provider_batch.batch.decide.next_step import retry_helps
        from airflow_provider_batch.batch.decide.outcome import ensure_done, ensure_enough

        self._manifest = landed.manifest
        if self.do_xcom_push:
            show(context["ti"], summary.KEY, summary.landed(glance, landed.manifest))
        ensure_done(landed.batch, landed.manifest)
        try:
            allowed = 0.0 if self.fail_on_partial_error else self.max_failed_fraction
            ensure_enough(landed.manifest, allowed, common_mistake(landed.batch))
        except PartialResultsError as error:
            error.is_final = not retry_helps(landed.batch, policy)
            raise
        tell_outlets(context, self.outlets, landed.manifest.to_xcom())
        return landed.manifest.to_xcom()

    def _submission(self, batch: BatchState, ledger: Ledger) -> dict[str, Any]:
        from airflow_provider_batch.batch.submission import Submission

        plan, jobs = batch.plan, batch.jobs
        return Submission(
            job_name=jobs[0] if jobs else "",
            job_names=jobs,
            model=plan.model,
            result_path=self.result_path,
            ledger=str(ledger.folder),
            request_count=plan.rows,
            submitted_at=plan.first.created_at,
        ).to_xcom()

    def _model_name(self) -> str:
        from airflow_provider_batch.gemini.client.calls import model_path

        return model_path(self.model).removeprefix("models/")


def identity_of(context: Context, deployment: str) -> Identity:
    """Which task instance runs."""
    from airflow_provider_batch.batch.ledger.job_names import Identity

    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    return Identity(ti.dag_id, ti.task_id, ti.run_id, map_index, deployment)
