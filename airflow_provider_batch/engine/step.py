"""What to do next: the ledger, what this visit has seen, and the clock in; one action out. Pure.

Every try, every resume and the sweeper ask here, so a retry, a clear, another worker and a normal resume are
one path. The order of the questions matters: first what exists is looked at, then what is unknown is
resolved, and only then may something be sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from airflow_provider_batch.contract import CannotTell, FindOutcome, Found, JobSnapshot, JobState
from airflow_provider_batch.engine.actions import (
    Action,
    Adopt,
    Ambiguous,
    BeginRound,
    CancelRound,
    Done,
    Land,
    List,
    Look,
    NoteScan,
    Presume,
    Publish,
    Revoke,
    Send,
    Submitted,
    TimedOut,
    UnknownState,
    Wait,
)
from airflow_provider_batch.engine.documents import Landed, Refusal
from airflow_provider_batch.engine.identity import JobTag
from airflow_provider_batch.engine.land import is_passing, is_undone
from airflow_provider_batch.engine.mistakes import common_mistake
from airflow_provider_batch.engine.state import Batch, Epoch, Round, Shard
from airflow_provider_batch.rows.dialect import LandedRow, RowStatus, may_pass


@dataclass(frozen=True)
class Patience:
    """How long an unknown outcome stays unknown. Seconds, by the server's clock.

    :param revoke_after: From the create call to the deletion of its input. Longer than any request lives.
    :param absent_after: From the deletion to the presumption that there is no job, if a job of this batch is
        visible in the listings; twice as long otherwise.
    :param scans: Complete listings without the job within that time.
    :param retry: After a listing that cannot tell, or a deletion that failed.
    """

    revoke_after: float = 120.0
    absent_after: float = 600.0
    scans: int = 3
    retry: float = 60.0


@dataclass(frozen=True)
class Policy:
    """What the user wants.

    :param timeout_s: Seconds from the submission.
    :param max_row_attempts: How often a row is sent at most, over all tries.
    :param retry_failed_rows: Send rows again that failed for a passing reason.
    :param cancel_on_timeout: At the deadline, end the jobs and land what finished; else leave them alone.
    :param resubmit_ambiguous: Send again when a job is presumed absent; else fail.
    :param max_tokens_in_flight: Of all shards together, None = no limit of our own.
    :param affords: Rows of a batch, so many, may be sent again for the money that the user allows.
    :param is_new_try: The task was started, not resumed: an ended batch with rows left over goes on.
    :param may_send: Send create calls at all. False for those who only take what is there.
    :param submit_only: Stop when everything is submitted.
    """

    timeout_s: float = 86_400.0
    max_row_attempts: int = 3
    retry_failed_rows: bool = True
    cancel_on_timeout: bool = False
    resubmit_ambiguous: bool = True
    max_tokens_in_flight: int | None = None
    affords: Callable[[Batch, int], bool] = lambda batch, rows: True
    is_new_try: bool = True
    may_send: bool = True
    submit_only: bool = False
    patience: Patience = field(default_factory=Patience)


@dataclass
class Visit:
    """What was seen since the task was started or resumed.

    :param jobs: Looks by job name; None where the look failed for a reason that may pass.
    :param found: The jobs of the task instance, None if nobody has listed them yet.
    :param not_ready: Jobs that have ended and whose results are not there yet.
    :param not_revoked: Shards whose input could not be deleted now.
    :param asked: Jobs that were asked to end.
    """

    jobs: dict[str, JobSnapshot | None] = field(default_factory=dict)
    found: FindOutcome | None = None
    not_ready: set[str] = field(default_factory=set)
    not_revoked: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)


AFTER_CANCEL_S = 3600.0
"""How long cancelled jobs are waited for, seconds."""

LOOK_GRACE_S = 300.0
"""The deadline is judged by a look that worked, but not for longer than this, seconds."""

RESULTS_WAIT_S = 15.0
"""Between looks for the results of a job that has ended, seconds."""

FILE_LIFE = timedelta(hours=36)
"""What an upload must still live to be sent: the API deletes files after 48 h, and a job may queue for a day."""

QUOTA_MEMORY = timedelta(hours=1)
"""How long a refusal for quota bounds what is in flight."""


def next_action(batch: Batch, visit: Visit, policy: Policy, now: float) -> Action:
    """Decide.

    :param now: Unix time by the server's clock.
    """
    last = batch.round
    if last.published:
        return _after_publication(batch, policy)
    open_shards = [shard for shard in last.shards if shard.landed is None]
    if not open_shards:
        return _after_landing(batch, policy, now)
    return (
        _look(open_shards, visit)
        or _land(open_shards, visit)
        or _resolve(batch, open_shards, visit, policy, now)
        or _send(last, open_shards, policy, now)
        or _submitted(last, policy)
        or _ask_again(last, open_shards, visit, policy)
        or _give_up(last, open_shards, visit, policy, now)
        or _wait(last, open_shards, visit, policy, now)
    )


def deadline(last: Round, policy: Policy) -> float:
    """Unix time at which the user's patience ends, or that with jobs asked to end."""
    if last.cancel:
        return last.cancel.at.timestamp() + AFTER_CANCEL_S
    return last.plan.clock_from.timestamp() + policy.timeout_s


def left_over(batch: Batch, policy: Policy, *, is_new_try: bool, with_mistaken: bool | None = None) -> int:
    """How many rows of a landed batch may be sent again now.

    :param with_mistaken: Also those that share one mistake; None = if this is a new try.
    """
    last = batch.round
    if last.number >= policy.max_row_attempts:
        return 0
    landed = [shard.landed for shard in last.shards if shard.landed]
    passing = sum(one.passing for one in landed) if policy.retry_failed_rows else 0
    if passing and not (is_new_try if with_mistaken is None else with_mistaken) and common_mistake(batch):
        passing -= sum(one.counts.get(RowStatus.INVALID_OUTPUT, 0) for one in landed)
    undone = sum(one.undone for one in landed if is_new_try or goes_on(one, policy))
    return passing + undone


def goes_on(landed: Landed, policy: Policy) -> bool:
    """The job may do better next time. One that somebody cancelled is not begun again behind their back."""
    failed_in_passing = landed.state is JobState.FAILED and may_pass(landed.error_code)
    return policy.retry_failed_rows and (landed.state is JobState.EXPIRED or failed_in_passing)


def those_again(batch: Batch, policy: Policy, *, is_new_try: bool) -> Callable[[LandedRow, Landed], bool]:
    """What says of a landed row whether it is among those of :func:`left_over`."""
    is_mistaken = not is_new_try and common_mistake(batch) is not None

    def goes_again(row: LandedRow, landed: Landed) -> bool:
        if is_undone(row, landed.state):
            return is_new_try or goes_on(landed, policy)
        is_mistake = is_mistaken and row.status is RowStatus.INVALID_OUTPUT
        return policy.retry_failed_rows and not is_mistake and is_passing(row, landed.state)

    return goes_again


def retry_helps(batch: Batch, policy: Policy) -> bool:
    """A retry of the task would send rows of a landed batch again, and may.

    What a person has ended goes on when a person clears the task, and not by a retry. So does what all rows got
    wrong.
    """
    is_ended_by_person = batch.round.cancel is not None and batch.round.cancel.by is not None
    return not is_ended_by_person and _goes_again(batch, policy, is_new_try=True, with_mistaken=False)


def _after_publication(batch: Batch, policy: Policy) -> Action:
    if policy.is_new_try and _goes_again(batch, policy, is_new_try=True):
        return BeginRound(is_new_start=True)
    return Done()


def _after_landing(batch: Batch, policy: Policy, now: float) -> Action:
    last = batch.round
    # What a person has ended goes on when a person clears the task, and not by a retry.
    may_go_on = last.cancel is not None and last.cancel.by is None
    if may_go_on and policy.is_new_try and _goes_again(batch, policy, is_new_try=True):
        return BeginRound(is_new_start=True)
    in_time = last.cancel is None and now < deadline(last, policy)
    if in_time and not policy.submit_only and _goes_again(batch, policy, is_new_try=False):
        return BeginRound(is_new_start=False)
    return Publish()


def _goes_again(batch: Batch, policy: Policy, *, is_new_try: bool, with_mistaken: bool | None = None) -> bool:
    rows = left_over(batch, policy, is_new_try=is_new_try, with_mistaken=with_mistaken)
    return rows > 0 and policy.affords(batch, rows)


def _look(shards: list[Shard], visit: Visit) -> Action | None:
    unseen = tuple(shard.job for shard in shards if shard.job and shard.job not in visit.jobs)
    return Look(unseen) if unseen else None


def _land(shards: list[Shard], visit: Visit) -> Action | None:
    for shard in shards:
        job = visit.jobs.get(shard.job) if shard.job else None
        if job is not None and job.state.is_terminal and job.name not in visit.not_ready:
            return Land(shard, job)
        if job is not None and job.done and not job.state.is_terminal:
            return UnknownState(job)
    return None


def _resolve(batch: Batch, shards: list[Shard], visit: Visit, policy: Policy, now: float) -> Action | None:
    unresolved = [(shard, shard.last) for shard in shards if shard.is_unresolved and shard.last]
    if not unresolved:
        return None
    if visit.found is None:
        return List()
    for shard, epoch in unresolved:
        job = of_epoch(visit.found, batch, shard, epoch.number)
        if job is not None:
            return Adopt(shard, job)
    if isinstance(visit.found, CannotTell):
        return None
    for shard, epoch in unresolved:
        action = _presume(batch, shard, epoch, visit, policy, now)
        if action is not None:
            return action
    return None


def of_epoch(found: FindOutcome, batch: Batch, shard: Shard, epoch: int) -> JobSnapshot | None:
    """The job of a create call in a listing; the oldest if there are several."""
    stem = batch.tag(shard, epoch).stem
    jobs = [job for job in found.jobs if job.display_name.startswith(stem)] if isinstance(found, Found) else []
    return min(jobs, key=lambda job: (str(job.created_at), job.name), default=None)


def _presume(batch: Batch, shard: Shard, epoch: Epoch, visit: Visit, policy: Policy, now: float) -> Action | None:
    """What evidence is due, or whether there is enough of it.

    Only who may send collects it: the credential of others may not show the job or its file.
    """
    if not policy.may_send:
        return None
    due = due_at(epoch, policy.patience, is_strong=shows_known_job(batch, visit))
    if now < due:
        return None
    if epoch.revoked is None:
        return None if shard.name in visit.not_revoked else Revoke(shard)
    if epoch.scans < policy.patience.scans:
        return NoteScan(shard, epoch.scans + 1)
    return Presume(shard) if policy.resubmit_ambiguous else Ambiguous(shard)


def due_at(epoch: Epoch, patience: Patience, *, is_strong: bool) -> float:
    """Unix time of the next piece of evidence about an unknown create call."""
    if epoch.revoked is None:
        return epoch.sending.at.timestamp() + patience.revoke_after
    total = patience.absent_after * (1 if is_strong else 2)
    step = min(epoch.scans + 1, patience.scans) / patience.scans
    return epoch.revoked.at.timestamp() + total * step


def shows_known_job(batch: Batch, visit: Visit) -> bool:
    """A job that is known to exist is in the listing: it shows what there is."""
    known = {shard.job for shard in batch.shards if shard.job}
    return isinstance(visit.found, Found) and any(job.name in known for job in visit.found.jobs)


def _send(last: Round, shards: list[Shard], policy: Policy, now: float) -> Action | None:
    unsent = [shard for shard in shards if not shard.job and not shard.is_unresolved]
    if last.cancel:
        return Land(unsent[0], None) if unsent else None
    if now >= deadline(last, policy) or not policy.may_send:
        return None
    for shard in unsent:
        retry_at = shard.outcome.retry_at if shard.outcome else None
        if retry_at is not None and now < retry_at.timestamp():
            continue
        if _fits(shard, last, policy, now):
            return Send(shard)
    return None


def tokens_in_flight(last: Round) -> int:
    """Rough number of enqueued input tokens of the round."""
    return sum(s.plan.tokens for s in last.shards if s.landed is None and (s.job or s.is_unresolved))


def _fits(shard: Shard, last: Round, policy: Policy, now: float) -> bool:
    """One shard may always be tried; more only within the limit, or half of what was lately refused."""
    flying = tokens_in_flight(last)
    limits = [policy.max_tokens_in_flight] if policy.max_tokens_in_flight is not None else []
    limits += [refused // 2 for refused in _refused_for_quota(last, now)]
    return flying == 0 or all(flying + shard.plan.tokens <= limit for limit in limits)


def _refused_for_quota(last: Round, now: float) -> list[int]:
    since = datetime.fromtimestamp(now, timezone.utc) - QUOTA_MEMORY
    return [
        epoch.sending.tokens_in_flight + shard.plan.tokens
        for shard in last.shards
        for epoch in shard.epochs
        if epoch.outcome and epoch.outcome.refusal is Refusal.QUOTA and epoch.outcome.at > since
    ]


def _submitted(last: Round, policy: Policy) -> Action | None:
    sent = all(shard.job or shard.landed for shard in last.shards)
    return Submitted() if policy.submit_only and sent else None


def _ask_again(last: Round, shards: list[Shard], visit: Visit, policy: Policy) -> Action | None:
    running = tuple(s.job for s in shards if s.job and visit.jobs.get(s.job) and s.job not in visit.asked)
    return CancelRound(running) if last.cancel and policy.may_send and running else None


def _give_up(last: Round, shards: list[Shard], visit: Visit, policy: Policy, now: float) -> Action | None:
    if visit.not_ready:
        # Ended and paid for; how long its results may take has an end of its own.
        return None
    jobs = tuple(shard.job for shard in shards if shard.job)
    unseen = any(visit.jobs.get(job) is None for job in jobs) or any(shard.is_unresolved for shard in shards)
    if now < deadline(last, policy) + (LOOK_GRACE_S if unseen else 0.0):
        return None
    if policy.cancel_on_timeout and last.cancel is None:
        return CancelRound(jobs)
    return TimedOut(jobs)


def _wait(last: Round, shards: list[Shard], visit: Visit, policy: Policy, now: float) -> Wait:
    times = []
    names = []
    for shard in shards:
        if shard.is_unresolved and shard.last:
            names.append(shard.last.sending.display_name)
            # The listing of this visit could not tell, or it is too early; a strong one is hoped for.
            times.append(max(due_at(shard.last, policy.patience, is_strong=True), now + policy.patience.retry))
        elif not shard.job and shard.outcome and shard.outcome.retry_at:
            times.append(max(shard.outcome.retry_at.timestamp(), now + 1.0))
    if visit.not_ready:
        times.append(now + RESULTS_WAIT_S)
    jobs = tuple(shard.job for shard in shards if shard.job and shard.job not in visit.not_ready)
    return Wait(jobs, tuple(names), min(times, default=None), deadline(last, policy))


def matching(found: FindOutcome, mark: str) -> Mapping[str, tuple[JobTag, JobSnapshot]]:
    """The jobs of a task instance by name, with what their display names say."""
    jobs = found.jobs if isinstance(found, Found) else ()
    tagged = {job.name: (tag, job) for job in jobs if (tag := JobTag.read(job.display_name)) is not None}
    return {name: pair for name, pair in tagged.items() if pair[0].mark == mark}
