"""What to do next: the ledger, what this visit has seen, and the clock in, one action out. Pure.

Every try, every resume and the sweeper ask here. So a retry, a clear, another worker and a normal resume are one
path. The order of the questions matters. First, what exists is looked at. Then, what is unknown is resolved. Only
then may something be sent.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

from airflow_provider_batch.batch.decide.actions import (
    Action,
    Adopt,
    Ambiguous,
    AskTime,
    BeginRound,
    Call,
    CancelRound,
    CannotSend,
    Done,
    Extend,
    Judge,
    Land,
    LandCalls,
    List,
    LookAtJobs,
    NoteScan,
    Presume,
    Publish,
    ResultsOverdue,
    Revoke,
    Send,
    Submitted,
    Tidy,
    TimedOut,
    UnknownState,
    Wait,
)
from airflow_provider_batch.batch.decide.deadlines import (
    calls_end,
    deadline,
    is_rescue_due,
    patience_ends,
    rescue_needs_s,
)
from airflow_provider_batch.batch.decide.evidence import due_at, of_attempt, of_shard, shows_known_job
from airflow_provider_batch.batch.decide.policy import Policy
from airflow_provider_batch.batch.decide.rows_again import left_for_calls, left_over
from airflow_provider_batch.batch.decide.visit import Visit
from airflow_provider_batch.batch.ledger.documents import NOT_ENDED, Refusal, RoundKind
from airflow_provider_batch.batch.ledger.job_names import without_sender
from airflow_provider_batch.batch.ledger.state import Attempt, BatchState, Round, Shard
from airflow_provider_batch.contract import RESULTS_PATIENCE_S, CannotTell, JobSnapshot, JobState

LOOK_GRACE_S = 300.0
"""The deadline is judged by a look that worked, but not for longer than this, seconds."""

RESULTS_WAIT_S = (15.0, 600.0)
"""Shortest and longest time between looks for the results of a job that has ended, seconds."""

RESULTS_SHARE = 0.1
"""They are looked for again after this share of the time since the end of the job."""

QUOTA_MEMORY = timedelta(hours=1)
"""How long a refusal for quota bounds what is in flight."""


def next_action(batch: BatchState, visit: Visit, policy: Policy, now: float) -> Action:
    """Decide.

    :param now: Unix time by the server's clock.
    """
    action = _next_action(batch, visit, policy, now)
    if isinstance(action, Wait) and action.deadline <= now:
        # Something is waited for all the same. A wait that is over as it begins would come again at once.
        return replace(action, deadline=max(action.until or 0.0, now + policy.patience.retry))
    return action


def _next_action(batch: BatchState, visit: Visit, policy: Policy, now: float) -> Action:
    last = batch.round
    if last.published:
        return _after_publication(batch, visit, policy, now)
    called = batch.trial if batch.trial and batch.trial.open_shards else last
    if called.is_live and called.open_shards:
        return _time(batch, [], visit, policy, now) or _call(batch, called, visit, policy, now)
    if (judge := _judge(batch, visit, policy)) is not None:
        return judge
    open_shards = list(last.open_shards)
    if not open_shards:
        return _after_landing(batch, visit, policy, now)
    return (
        _look(open_shards, visit)
        or _land(open_shards, visit)
        or _resolve(batch, open_shards, visit, policy, now)
        or _time(batch, open_shards, visit, policy, now)
        or _extend(batch, open_shards, policy, now)
        or _send(batch, open_shards, visit, policy, now)
        or _submitted(last, policy)
        or _ask_again(last, open_shards, visit, policy)
        or _give_up(batch, open_shards, visit, policy, now)
        or _wait(batch, open_shards, visit, policy, now)
    )


def retry_helps(batch: BatchState, policy: Policy) -> bool:
    """A retry of the task would send rows of a landed batch again, and may.

    What a person has ended goes on when a person clears the task, and not by a retry. So does what all rows got
    wrong.
    """
    is_ended_by_person = batch.round.cancel is not None and batch.round.cancel.by is not None
    return not is_ended_by_person and _goes_again(batch, policy, is_new_try=True, with_mistaken=False)


def _after_publication(batch: BatchState, visit: Visit, policy: Policy, now: float) -> Action:
    if policy.is_new_try and _goes_again(batch, policy, is_new_try=True):
        begin = BeginRound(is_new_start=True, kind=_kind(batch, policy, now))
        return (_time(batch, [], visit, policy, now) if policy.rescues else None) or begin
    return Done() if batch.round.is_tidied or visit.is_tidied else Tidy()


def _after_landing(batch: BatchState, visit: Visit, policy: Policy, now: float) -> Action:
    last = batch.round
    if last.is_live:
        return Publish()
    # What a person has ended goes on when a person clears the task, and not by a retry.
    may_go_on = last.cancel is None or last.cancel.by is None
    if policy.rescues and may_go_on and left_for_calls(batch):
        if (ask := _time(batch, [], visit, policy, now)) is not None:
            return ask
        if last.cancel is not None or is_rescue_due(batch, policy, now):
            return BeginRound(is_new_start=False, kind=RoundKind.RESCUE)
    if last.cancel is not None and may_go_on and policy.is_new_try and _goes_again(batch, policy, is_new_try=True):
        return BeginRound(is_new_start=True)
    if last.cancel is not None or policy.submit_only or not _goes_again(batch, policy, is_new_try=False):
        return Publish()
    begin = BeginRound(is_new_start=False) if now < deadline(batch, policy, now) else Publish()
    return _time(batch, [], visit, policy, now) or begin


def _kind(batch: BatchState, policy: Policy, now: float) -> RoundKind:
    """How a new try has the rows answered that are left: jobs may be too late for them already."""
    if not policy.rescues:
        return RoundKind.BATCH
    if not policy.may_send:
        return RoundKind.RESCUE
    if policy.ready_by is None:
        return RoundKind.BATCH
    is_late = now >= policy.ready_by - rescue_needs_s(batch, policy)
    return RoundKind.RESCUE if is_late else RoundKind.BATCH


def _call(batch: BatchState, called: Round, visit: Visit, policy: Policy, now: float) -> Action:
    """Single calls for the shards of a round, one shard after another."""
    why = None
    if called.cancel or batch.round.cancel:
        why = "the batch was asked to end"
    elif now >= calls_end(called):
        why = "the time was up"
    elif not policy.may_call:
        why = "no task went on with the rows"
    elif called is batch.trial and not policy.tries:
        why = "the task makes no trial any more"
    for shard in called.open_shards:
        if shard.name not in visit.paused:
            return Call(shard) if why is None else LandCalls(shard, why)
    return Wait((), (), min(visit.paused.values()), calls_end(called))


def _judge(batch: BatchState, visit: Visit, policy: Policy) -> Action | None:
    """After a trial, and before anything is sent."""
    is_sent = batch.has_spent or not policy.may_send
    is_due = batch.trial is not None and policy.tries and not is_sent and not batch.round.cancel
    return Judge() if is_due and not visit.is_judged else None


def _goes_again(batch: BatchState, policy: Policy, *, is_new_try: bool, with_mistaken: bool | None = None) -> bool:
    rows = left_over(batch, policy, is_new_try=is_new_try, with_mistaken=with_mistaken)
    return rows > 0 and policy.affords(batch, rows)


def _look(shards: list[Shard], visit: Visit) -> Action | None:
    unseen = tuple(shard.job for shard in shards if shard.job and shard.job not in visit.jobs)
    return LookAtJobs(unseen) if unseen else None


def _land(shards: list[Shard], visit: Visit) -> Action | None:
    for shard in shards:
        job = visit.jobs.get(shard.job) if shard.job else None
        if job is not None and job.state.is_terminal and job.name not in visit.not_ready:
            return Land(shard, job)
        if job is not None and job.done and not job.state.is_terminal:
            return UnknownState(job)
    return None


def _resolve(batch: BatchState, shards: list[Shard], visit: Visit, policy: Policy, now: float) -> Action | None:
    unresolved = [(shard, shard.last) for shard in shards if shard.is_unresolved and shard.last]
    if not unresolved:
        return None
    if visit.found is None:
        return List()
    for shard, attempt in unresolved:
        job = of_attempt(visit.found, batch, shard, attempt.number)
        if job is not None:
            return Adopt(shard, job)
    if isinstance(visit.found, CannotTell):
        return None
    for shard, attempt in unresolved:
        action = _presume(batch, shard, attempt, visit, policy, now)
        if action is not None:
            return action
    return None


def _presume(
    batch: BatchState, shard: Shard, attempt: Attempt, visit: Visit, policy: Policy, now: float
) -> Action | None:
    """What evidence is due, or whether there is enough of it.

    Only who may send collects it: the credential of others may not show the job or its file.
    """
    if not policy.may_send:
        return None
    due = due_at(attempt, policy.patience, is_strong=shows_known_job(batch, visit.found))
    if now < due:
        return None
    if attempt.revoked is None:
        return None if shard.name in visit.not_revoked else Revoke(shard)
    if attempt.scans < policy.patience.scans:
        return NoteScan(shard, attempt.scans + 1)
    return Presume(shard) if policy.resubmit_ambiguous else Ambiguous(shard)


def _time(batch: BatchState, shards: list[Shard], visit: Visit, policy: Policy, now: float) -> Action | None:
    """What time it is must be known from here on, by the server's clock: this machine's may be hours off."""
    if visit.is_timed:
        return None
    if not visit.time_is_asked:
        return AskTime()
    return replace(_wait(batch, shards, visit, policy, now), until=now + policy.patience.retry)


def _extend(batch: BatchState, shards: list[Shard], policy: Policy, now: float) -> Action | None:
    """A person who clears the task after the deadline wants its jobs to go on.

    They go on as long as the API lets them. Where there are none yet, their time begins anew.
    """
    is_unsent = policy.may_send and not batch.has_spent and not batch.round.cancel
    if policy.is_cleared and policy.is_new_try and is_unsent:
        is_late = now >= patience_ends(batch, policy)
        return Extend(len(batch.round.extended) + 1) if is_late else None
    last, runs = batch.round, any(shard.job or shard.is_unresolved for shard in shards)
    if not (policy.is_cleared and policy.is_new_try and runs) or last.cancel or now < deadline(batch, policy, now):
        return None
    if policy.rescues:
        # Its rows have a quicker way.
        return None
    began = batch.clock_from.timestamp()
    return Extend(len(last.extended) + 1) if now < began + policy.job_life_s else None


def _send(batch: BatchState, shards: list[Shard], visit: Visit, policy: Policy, now: float) -> Action | None:
    last = batch.round
    unsent = [shard for shard in shards if not shard.job and not shard.is_unresolved]
    if last.cancel:
        return Land(unsent[0], None) if unsent else None
    if now >= deadline(batch, policy, now) or not policy.may_send:
        return None
    for shard in unsent:
        retry_at = shard.outcome.retry_at if shard.outcome else None
        is_early = retry_at is not None and now < retry_at.timestamp()
        if is_early or shard.name in visit.not_sent or not _fits(shard, last, policy, now):
            continue
        if visit.found is None:
            # A call that a gateway refused may have arrived all the same, and a ledger may have lost one.
            return List()
        if isinstance(visit.found, CannotTell):
            return CannotSend(shard, visit.found.error)
        job = of_shard(visit.found, batch, shard)
        return Send(shard) if job is None else Adopt(shard, job)
    return None


def tokens_in_flight(last: Round) -> int:
    """Rough number of enqueued input tokens of the round."""
    return sum(s.plan.tokens for s in last.shards if s.landed is None and (s.job or s.is_unresolved))


def _fits(shard: Shard, last: Round, policy: Policy, now: float) -> bool:
    """One shard may always be tried. More only within the limit, or half of what was lately refused."""
    flying = tokens_in_flight(last)
    limits = [policy.max_tokens_in_flight] if policy.max_tokens_in_flight is not None else []
    limits += [refused // 2 for refused in _refused_for_quota(last, now)]
    return flying == 0 or all(flying + shard.plan.tokens <= limit for limit in limits)


def _refused_for_quota(last: Round, now: float) -> list[int]:
    since = datetime.fromtimestamp(now, timezone.utc) - QUOTA_MEMORY
    return [
        attempt.sending.tokens_in_flight + shard.plan.tokens
        for shard in last.shards
        for attempt in shard.attempts
        if attempt.outcome and attempt.outcome.refusal is Refusal.QUOTA and attempt.outcome.at > since
    ]


def _submitted(last: Round, policy: Policy) -> Action | None:
    sent = all(shard.job or shard.landed for shard in last.shards)
    return Submitted() if policy.submit_only and sent else None


def _ask_again(last: Round, shards: list[Shard], visit: Visit, policy: Policy) -> Action | None:
    running = tuple(s.job for s in shards if s.job and visit.jobs.get(s.job) and s.job not in visit.asked)
    return CancelRound(running) if last.cancel and (policy.may_send or policy.ends_jobs) and running else None


def _give_up(batch: BatchState, shards: list[Shard], visit: Visit, policy: Policy, now: float) -> Action | None:
    last = batch.round
    if any(_ended_lately(visit.jobs.get(name), now) for name in visit.not_ready):
        # However late it is: its results are paid for, and may come a moment after its end.
        return None
    jobs = tuple(shard.job for shard in shards if shard.job and shard.job not in visit.not_ready)
    unseen = any(visit.jobs.get(job) is None for job in jobs) or any(shard.is_unresolved for shard in shards)
    if now < deadline(batch, policy, now) + (LOOK_GRACE_S if unseen else 0.0):
        return None
    is_due = is_rescue_due(batch, policy, now)
    if last.cancel is None and (is_due or (jobs and policy.at_timeout == "cancel")):
        return CancelRound(jobs)
    if policy.rescues and last.cancel and last.cancel.by is None:
        return _leave(shards, visit)
    late = next(iter(visit.not_ready.values()), None)
    return TimedOut(jobs) if late is None else ResultsOverdue(late)


def _leave(shards: list[Shard], visit: Visit) -> Action | None:
    """A job that was asked to end, and has not, is not waited for: its rows are called."""
    for shard in shards:
        job = visit.jobs.get(shard.job) if shard.job else None
        if job is not None:
            return Land(shard, replace(job, state=JobState.CANCELLED, error=NOT_ENDED))
        if not shard.job:
            return Land(shard, None)
    return None


def _ended_lately(job: JobSnapshot | None, now: float) -> bool:
    ended = job.ended_or_created_at if job else None
    return ended is not None and now < ended.timestamp() + RESULTS_PATIENCE_S


def _wait(batch: BatchState, shards: list[Shard], visit: Visit, policy: Policy, now: float) -> Wait:
    times = []
    names = []
    for shard in shards:
        if shard.is_unresolved and shard.last:
            names.append(without_sender(shard.last.sending.display_name))
            # The listing of this visit could not tell, or it is too early. A strong listing is hoped for.
            times.append(max(due_at(shard.last, policy.patience, is_strong=True), now + policy.patience.retry))
        elif shard.name in visit.not_sent:
            times.append(now + policy.patience.retry)
        elif not shard.job and shard.outcome and shard.outcome.retry_at:
            times.append(max(shard.outcome.retry_at.timestamp(), now + 1.0))
        elif shard.job and shard.job in visit.not_ready:
            times.append(now + _results_wait_s(visit.jobs.get(shard.job), now))
    jobs = tuple(shard.job for shard in shards if shard.job and shard.job not in visit.not_ready)
    return Wait(jobs, tuple(names), min(times, default=None), deadline(batch, policy, now))


def _results_wait_s(job: JobSnapshot | None, now: float) -> float:
    ended = job.ended_or_created_at if job else None
    least, most = RESULTS_WAIT_S
    return max(least, min(most, RESULTS_SHARE * (now - ended.timestamp()))) if ended else least
