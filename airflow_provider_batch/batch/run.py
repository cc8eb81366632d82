"""The only loop: ask :mod:`step` what is next, do it, note it. It ends at a wait or at the end of the batch.

It never sleeps. A task that waits is deferred, or sleeps in its operator, and comes back here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from airflow_provider_batch.batch.cost.receipts import receipt
from airflow_provider_batch.batch.decide import actions, failures, next_step
from airflow_provider_batch.batch.decide.actions import Action, Wait
from airflow_provider_batch.batch.decide.common_mistake import common_mistake, in_words
from airflow_provider_batch.batch.decide.deadlines import deadline, rescue_ends, rescue_plan
from airflow_provider_batch.batch.decide.next_step import next_action
from airflow_provider_batch.batch.decide.rows_again import left_for_calls, left_over, those_again
from airflow_provider_batch.batch.decide.visit import Visit
from airflow_provider_batch.batch.land.match_rows import land
from airflow_provider_batch.batch.land.publish import publish, published, tidy
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import BatchPlan, Extended, RoundKind
from airflow_provider_batch.batch.ledger.documents import Landed as LandedJob
from airflow_provider_batch.batch.ledger.folder_owner import ensure_free
from airflow_provider_batch.batch.ledger.state import BatchState, Shard, read_batch
from airflow_provider_batch.batch.ledger.storage_errors import coded_storage_errors
from airflow_provider_batch.batch.live.trial import judge
from airflow_provider_batch.batch.live.turn import call_for, calling, land_for
from airflow_provider_batch.batch.live.visit import CALL_LIMITS
from airflow_provider_batch.batch.observer import CALLS, LANDING, SUBMISSION, tell, turnaround
from airflow_provider_batch.batch.send import create_job
from airflow_provider_batch.batch.send.end_jobs import EndRequest, ask_to_end, note_end
from airflow_provider_batch.batch.send.rounds import begin_round
from airflow_provider_batch.batch.work import Work, reader_of
from airflow_provider_batch.contract import Absent, JobSnapshot
from airflow_provider_batch.errors import (
    ApiError,
    ApiUnreachableError,
    AuthError,
    BatchError,
    NotFoundError,
    ProtocolError,
    ResultsNotReadyError,
)
from airflow_provider_batch.rows.manifest import Manifest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LandedBatch:
    """The results are in the folder.

    :param batch: The whole story, for those who judge how it ended.
    """

    manifest: Manifest
    batch: BatchState


@dataclass(frozen=True)
class SubmittedBatch:
    """Everything is submitted and another task or program waits."""

    batch: BatchState


Result = Wait | LandedBatch | SubmittedBatch


_CHAPTERS = {
    actions.Send: SUBMISSION,
    actions.Adopt: SUBMISSION,
    actions.Revoke: SUBMISSION,
    actions.Presume: SUBMISSION,
    actions.CancelRound: SUBMISSION,
    actions.BeginRound: SUBMISSION,
    actions.Judge: None,
    actions.Call: CALLS,
    actions.LandCalls: CALLS,
    actions.Land: LANDING,
    actions.Publish: LANDING,
    actions.Done: LANDING,
}
"""Where in the log an action belongs. The others say nothing there."""


class Run:
    """One visit to a batch, from the start or the resume of a task to its next wait or its end."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._policy = work.policy
        self._visit = Visit()
        self._sender = create_job.Sender(
            work.service, work.ledger, work.fence, work.dialect, work.files, lambda _: self._tell_submitted()
        )

    def go(self) -> Result:
        """Do all that can be done now.

        :raises StorageError: A disk is full, or a store does not answer.
        :raises JobError: The deadline passed, or a job cannot be asked about.
        :raises SubmitRefusedError: The API said a final no to a create call.
        :raises SubmitUnknownError: Whether a job exists cannot be told, and the user wants to decide.
        :raises BatchError: Anything else that went wrong. The next try goes on from the ledger.
        """
        with coded_storage_errors():
            return self._go()

    def _go(self) -> Result:
        if self._work.ledger.is_new:
            # The listing was read before its plan was written, a moment ago.
            self._visit.found = Absent()
        while True:
            batch = read_batch(self._work.ledger)
            if batch.superseded:
                raise create_job.superseded(str(self._work.ledger.folder))
            self._visit.is_timed = self._work.service.knows_time()
            action = next_action(batch, self._visit, self._policy, self._work.service.now())
            if isinstance(action, Wait):
                self._work.observer.chapter(None)
                self._tell_rescue(batch)
                return action
            if type(action) in _CHAPTERS:
                self._work.observer.chapter(_CHAPTERS[type(action)])
            result = self._finish(batch, action)
            if isinstance(result, LandedBatch):
                tell(self._work.observer.finished, batch.plan, result.manifest)
            if result is not None:
                return result
            try:
                self._act(batch, action)
            except BatchError as error:
                if not error.may_pass:
                    raise
                return self._later(batch, error)

    def _tell_rescue(self, batch: BatchState) -> None:
        plan = rescue_plan(batch, self._policy, self._work.service.now())
        if plan is not None:
            log.log(logging.WARNING if plan.startswith("AGB-") else logging.INFO, "%s", plan)

    def _later(self, batch: BatchState, error: BatchError) -> Wait:
        """What failed for a reason that may pass is done in a later visit, and the worker is free meanwhile.

        :raises BatchError: It is too late for that.
        """
        now = self._work.service.now()
        ends = deadline(batch, self._policy, now)
        if self._work.service.knows_time() and now >= ends + next_step.LOOK_GRACE_S:
            raise error
        log.warning("Waiting, and trying again: %s", error)
        self._work.observer.chapter(None)
        jobs = batch.round.open_jobs
        again = now + self._policy.patience.retry
        return Wait(jobs, (), again, max(ends, again))

    def _finish(self, batch: BatchState, action: Action) -> Result | None:
        """The end of the visit, if the action is one."""
        if isinstance(action, actions.Done):
            return LandedBatch(self._published(), batch)
        if isinstance(action, actions.Submitted):
            return SubmittedBatch(batch)
        if isinstance(action, actions.TimedOut):
            raise failures.timed_out(action, self._visit.not_sent)
        if isinstance(action, actions.ResultsOverdue):
            raise action.error
        if isinstance(action, actions.UnknownState):
            raise failures.unknown_state(action)
        if isinstance(action, actions.Ambiguous):
            raise failures.ambiguous(action)
        return None

    def _act(self, batch: BatchState, action: Action) -> None:
        if isinstance(action, actions.LookAtJobs):
            self._look(action.jobs)
        elif isinstance(action, actions.List):
            self._visit.found = self._work.service.find(batch.plan.identity.prefix)
        elif isinstance(action, actions.Send):
            self._send(batch, action.shard)
        elif isinstance(action, actions.Land):
            self._land(batch, action.shard, action.job)
        elif isinstance(action, actions.CancelRound):
            self._cancel(batch, action.jobs)
        elif isinstance(action, actions.BeginRound):
            self._begin_round(batch, action)
        elif isinstance(action, actions.Publish | actions.Tidy | actions.Extend):
            self._close(batch, action)
        elif isinstance(action, actions.Call | actions.LandCalls | actions.Judge):
            self._act_on_calls(batch, action)
        else:
            self._resolve(action)

    def _close(self, batch: BatchState, action: actions.Publish | actions.Tidy | actions.Extend) -> None:
        if isinstance(action, actions.Publish):
            self._publish(batch)
        elif isinstance(action, actions.Tidy):
            self._tidy(batch)
        else:
            self._extend(batch, action.number)

    def _act_on_calls(self, batch: BatchState, action: actions.Call | actions.LandCalls | actions.Judge) -> None:
        retry_s = self._policy.patience.retry
        if isinstance(action, actions.Call):
            call_for(self._work, self._visit, batch, action.shard, retry_s)
        elif isinstance(action, actions.LandCalls):
            land_for(self._work, self._visit, batch, action, retry_s)
        else:
            judge(self._work, calling(self._work), batch)
            self._visit.is_judged = True

    def _resolve(self, action: Action) -> None:
        """What time it is, what cannot be sent now, and evidence about a create call whose outcome is unknown."""
        if isinstance(action, actions.AskTime):
            self._ask_time()
        elif isinstance(action, actions.CannotSend):
            self._cannot_send(action.shard, action.error)
        elif isinstance(action, actions.Adopt):
            log.info("Found %s: the create call had arrived.", action.job.name)
            create_job.adopt(self._sender, action.shard, action.job)
            self._work.on_job(action.job.name)
        elif isinstance(action, actions.Revoke):
            if not create_job.revoke(self._sender, action.shard):
                self._visit.not_revoked.add(action.shard.name)
        elif isinstance(action, actions.NoteScan):
            create_job.note_scan(self._sender, action.shard, action.number)
            # Each note needs a listing of its own.
            self._visit.found = None
        elif isinstance(action, actions.Presume):
            create_job.presume_absent(self._sender, action.shard)

    def _look(self, jobs: tuple[str, ...]) -> None:
        for name in jobs:
            try:
                self._visit.jobs[name] = self._work.service.look(name)
            except (AuthError, NotFoundError) as error:
                raise failures.unreadable(name, error) from error
            except (ApiError, ApiUnreachableError, ProtocolError) as error:
                log.info("%s cannot be asked about now: %s", name, error)
                self._visit.jobs[name] = None

    def _ask_time(self) -> None:
        self._visit.time_is_asked = True
        try:
            self._work.service.ask_time()
        except BatchError as error:
            log.info("The API does not say what time it is: %s", error)

    def _land(self, batch: BatchState, shard: Shard, job: JobSnapshot | None) -> None:
        try:
            land(
                self._work.service,
                self._work.ledger,
                shard,
                job,
                reader_of(self._work, batch),
                lambda landed: self._tell_landed(batch, landed, job),
                self._policy.patience.results,
            )
        except BatchError as error:
            if job is None or not error.may_pass:
                raise
            if isinstance(error, ResultsNotReadyError) and job.name not in self._visit.doubted:
                # Once more at once: what a proxy said may be over already.
                self._visit.doubted.add(job.name)
                return
            log.warning("The results of %s are fetched later: %s", job.name, error)
            self._visit.not_ready[job.name] = error

    def _tell_submitted(self) -> None:
        plan = self._work.ledger.read(names.PLAN, BatchPlan)
        if plan is not None:
            tell(self._work.observer.submitted, plan)

    def _tell_landed(self, batch: BatchState, landed: LandedJob, job: JobSnapshot | None) -> None:
        if job is not None:
            bill = receipt(landed, batch.plan.model, self._work.prices)
            tell(self._work.observer.landed, batch.plan, bill, turnaround(job))

    def _send(self, batch: BatchState, shard: Shard) -> None:
        try:
            job = create_job.send(self._sender, batch, shard)
        except BatchError as error:
            self._cannot_send(shard, error)
            return
        if job is None:
            # What is listed now may hold a job that was not there before.
            self._visit.found = None
            return
        self._visit.jobs[job.name] = job
        log.info("Created %s, display name %s.", job.name, job.display_name)
        self._work.on_job(job.name)

    def _cannot_send(self, shard: Shard, error: BatchError) -> None:
        if not error.may_pass:
            raise error
        log.warning("%s is sent later: %s", shard.title.capitalize(), error)
        self._visit.not_sent[shard.name] = error

    def _extend(self, batch: BatchState, number: int) -> None:
        name = batch.round.document(names.EXTENDED, number)
        self._work.ledger.put(name, Extended(at=self._sender.now()))
        jobs = "its jobs go on, with new time" if batch.has_spent else "the time for its jobs begins anew"
        log.info("The task was cleared after its deadline: %s.", jobs)
        self._policy = replace(self._policy, is_cleared=False)

    def _cancel(self, batch: BatchState, jobs: tuple[str, ...]) -> None:
        noted = batch.round.cancel
        late = "the rows that are left are answered by single calls" if self._policy.rescues else ""
        why = noted.why if noted else late or "the deadline passed"
        if noted is None:
            note = batch.round.document(names.CANCEL)
            note_end(self._work.ledger, note, why, at=self._sender.now())
        for name in jobs:
            self._visit.asked.add(name)
            self._visit.jobs.pop(name, None)
        for shard in batch.round.shards:
            if self._policy.rescues and shard.is_unresolved and shard.last:
                # A create call that is still on its way has nothing to run then.
                self._work.service.unstage(shard.last.sending.input_file)
        told = f"What finished is landed, and {why}" if why == late else f"{why}, what finished is landed"
        request = EndRequest(f"{told[0].upper()}{told[1:]}", log)
        ask_to_end(self._work.service, jobs, request)
        request.raise_refusal()
        # What this try has ended it does not begin again.
        self._policy = replace(self._policy, is_new_try=False)

    def _begin_round(self, batch: BatchState, begin: actions.BeginRound) -> None:
        policy, is_new_start = self._policy, begin.is_new_start
        if is_new_start:
            # What has landed no longer keeps others out of the folder.
            ensure_free(self._work.folder, batch.plan.identity)
            # Days may have passed: is the model still there, and what time is it by the server's clock?
            self._work.service.check_model(batch.plan.model)
        is_rescue = begin.kind is RoundKind.RESCUE
        begin_round(
            self._work.ledger,
            batch,
            self._work.dialect,
            CALL_LIMITS if is_rescue else self._work.limits.within(self._work.service.limits.file_bytes),
            self._sender.now(),
            goes_again=those_again(
                batch, is_new_try=is_new_start or is_rescue, with_mistaken=False if is_rescue else None
            ),
            is_new_start=is_new_start,
            ends_at=rescue_ends(batch, policy, self._work.service.now()) if is_rescue else None,
        )
        rows = left_for_calls(batch) if is_rescue else left_over(batch, policy, is_new_try=is_new_start)
        how = "answered by single calls" if is_rescue else "sent again"
        log.info("Round %d: %d rows are %s.", batch.round.number + 1, rows, how)
        # A new try begins one round. The rounds after it begin by themselves.
        self._policy = replace(policy, is_new_try=False)

    def _publish(self, batch: BatchState) -> None:
        work = self._work
        manifest = publish(work.ledger, batch, work.folder, work.dialect, work.prices)
        if manifest is not None:
            log.info("The results are in %s.", manifest.result_uri)
            if (mistake := common_mistake(batch)) is not None:
                log.warning("AGB-R08 %s", in_words(mistake, manifest))
        # A new try begins one round at most, and what has landed in this visit is its end.
        self._policy = replace(self._policy, is_new_try=False)

    def _tidy(self, batch: BatchState) -> None:
        work = self._work
        keep = work.keep_remote_files or batch.plan.layout.keeps_remote_files
        self._visit.is_tidied = True
        try:
            tidy(work.service, work.ledger, batch, keep_remote_files=keep)
        except BatchError as error:
            log.warning("Files that are not needed any more are not deleted yet: %s", error)

    def _published(self) -> Manifest:
        manifest = published(self._work.ledger, self._work.folder)
        log.info("The batch is complete: nothing is sent or fetched.")
        return manifest
