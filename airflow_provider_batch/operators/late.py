"""What a task does about late jobs that it did not submit: it waits, ends them, or answers their rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow_provider_batch.airflow_compat import object_path
from airflow_provider_batch.deferring import BLIND_WAIT_S, left_s, patience
from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.operators.in_time import calling, ready_time_of

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_provider_batch.batch.decide.actions import Wait
    from airflow_provider_batch.batch.decide.policy import AtTimeout
    from airflow_provider_batch.batch.run import LandedBatch
    from airflow_provider_batch.batch.work import Work
    from airflow_provider_batch.hooks.gemini import GeminiBatchHook
    from airflow_provider_batch.operators.options import SingleCalls


@dataclass(frozen=True)
class LateJobs:
    """What to do about jobs that are late.

    :param timeout_s: From their submission.
    :param ready_by: Unix time by which all rows are to be answered, None if there is none.
    :param max_cost_usd: Of the whole batch. None = any sum.
    :param media_path: Folder of the files that rows name.
    :param poll_interval: Seconds between looks at jobs.
    :param deferrable: The wait is in the triggerer.
    """

    at_timeout: AtTimeout
    timeout_s: float
    ready_by: float | None
    single_calls: SingleCalls
    max_cost_usd: Decimal | None
    media_path: str | None
    poll_interval: float
    conn_id: str
    deferrable: bool

    @classmethod
    def of(cls, checked: Mapping[str, Any], context: Context) -> LateJobs:
        """What the checked arguments of an operator say."""
        return cls(
            checked["at_timeout"],
            checked["timeout"],
            ready_time_of(checked["ready_by"], context),
            checked["single_calls"],
            checked["max_cost_usd"],
            checked["media_path"],
            checked["poll_interval"],
            checked["gemini_conn_id"],
            checked["deferrable"],
        )

    @property
    def calls(self) -> bool:
        """Rows may be answered by single calls."""
        return self.at_timeout == "answer" or self.ready_by is not None

    @property
    def waits(self) -> bool:
        """Jobs are waited for."""
        return self.calls or self.at_timeout == "cancel"

    def apply(self, work: Work, hook: GeminiBatchHook, is_stopped: Callable[[], bool]) -> Work:
        """The same work, with what becomes of late jobs.

        :param is_stopped: The task is about to be ended, so no more calls are begun.
        :raises ConfigError: Its rows cannot be answered by single calls. Nothing was cancelled.
        :raises BudgetError: What they would cost is not known, and may not exceed a sum. Nothing was cancelled.
        """
        from airflow_provider_batch.batch.assemble import within
        from airflow_provider_batch.batch.cost.budget import Budget

        policy = replace(work.policy, at_timeout=self.at_timeout, timeout_s=self.timeout_s, ready_by=self.ready_by)
        if not self.calls:
            return replace(work, policy=policy)
        calls = calling(hook, hook.account(), self.single_calls, is_stopped)
        files = None if self.media_path is None else object_path(self.media_path, "media_path")
        budget = Budget(self.max_cost_usd, work.prices)
        called = replace(
            work,
            policy=replace(policy, may_call=True, rules=calls.rules),
            files=files,
            calls=within(calls, budget),
        )
        self._ensure_callable(called)
        return called

    def _ensure_callable(self, work: Work) -> None:
        from airflow_provider_batch.batch.ledger.state import read_batch
        from airflow_provider_batch.batch.send.before_calls import ensure_may_call

        batch = read_batch(work.ledger)
        if not batch.round.published:
            ensure_may_call(work.service, batch, work.prices, self.max_cost_usd, has_files=work.files is not None)

    def land(self, task: BaseOperator, work: Work, event: Mapping[str, Any]) -> LandedBatch | Wait:
        """Wait for the jobs, and do about them what is to be done.

        :param task: Is deferred, if the wait is in the triggerer.
        :param event: What ended the wait before, empty if there was none.
        """
        from airflow_provider_batch.batch.decide.actions import Wait
        from airflow_provider_batch.batch.run import Run, SubmittedBatch

        while True:
            result = Run(work).go()
            assert not isinstance(result, SubmittedBatch)
            if not isinstance(result, Wait) or not self._has_something_to_come(result):
                return result
            if self.deferrable:
                self._defer(task, result, work, event)
            time.sleep(max(0.1, min(self.poll_interval, left_s(result, work.service.now()))))

    def _has_something_to_come(self, wait: Wait) -> bool:
        return bool(wait.jobs or wait.names or wait.until is not None)

    def _defer(self, task: BaseOperator, wait: Wait, work: Work, event: Mapping[str, Any]) -> None:
        from airflow_provider_batch.triggers.gemini import GeminiBatchTrigger

        now = work.service.now()
        # This worker has just looked. A triggerer that cannot would end the next wait at once.
        looks = event.get("outcome") not in ("unreadable", "unknown_state")
        until = wait.until if looks else min(wait.until or wait.deadline, now + BLIND_WAIT_S)
        trigger = GeminiBatchTrigger(
            self.conn_id,
            deadline=wait.deadline,
            job_names=wait.jobs,
            display_names=wait.names,
            until=until,
            poll_interval=self.poll_interval,
            ledger=str(work.ledger.folder),
            looks=looks,
            asked_at=now,
        )
        ends = min(wait.deadline, until or wait.deadline)
        task.defer(trigger=trigger, method_name="execute_complete", timeout=patience(ends - now))


def ensure_known_rows(job_name: object, at_timeout: object, ready_by: object) -> None:
    """Make sure that only jobs whose rows are known are ended or replaced.

    :raises ConfigError: The job is of another program.
    """
    if job_name is not None and (at_timeout != "fail" or ready_by is not None):
        raise ConfigError(
            "at_timeout and ready_by are for a submission: of a job of another program the rows are not known.",
            code="AGB-C06",
            remedy="Leave them out, or pass the output of a task with wait_for_completion=False as submission.",
        )
