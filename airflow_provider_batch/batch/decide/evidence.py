"""What a listing of jobs says about create calls whose outcome is unknown, or was not what it seemed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_provider_batch.batch.decide.belief import BeliefPatience
from airflow_provider_batch.batch.ledger.job_names import JobTag
from airflow_provider_batch.batch.ledger.state import Attempt, BatchState, Shard
from airflow_provider_batch.contract import FindOutcome, Found, JobSnapshot, JobState


@dataclass(frozen=True)
class LostCallPatience:
    """How long an unknown outcome stays unknown. Seconds, by the server's clock.

    :param revoke_after: From the create call to the deletion of its input. Longer than any request lives.
    :param absent_after: From the deletion to the presumption that there is no job, if a job of this batch is
        visible in the listings. Twice as long otherwise.
    :param scans: Complete listings without the job within that time.
    :param retry: After a call that failed for a reason that may pass, and before the next one of its kind.
    :param results: With results that contradict what is known of their job.
    """

    revoke_after: float = 120.0
    absent_after: float = 600.0
    scans: int = 3
    retry: float = 60.0
    results: BeliefPatience = field(default_factory=BeliefPatience)


def of_attempt(found: FindOutcome, batch: BatchState, shard: Shard, attempt: int) -> JobSnapshot | None:
    """The job of a create call in a listing. The oldest if there are several."""
    stem = batch.tag(shard, attempt).stem
    jobs = [job for job in found.jobs if job.display_name.startswith(stem)] if isinstance(found, Found) else []
    return min(jobs, key=_age, default=None)


def of_shard(found: FindOutcome, batch: BatchState, shard: Shard) -> JobSnapshot | None:
    """A job of a shard in a listing that no document knows of, and that runs or has results.

    The oldest if there are several.
    """
    noted = {attempt.outcome.job for attempt in shard.attempts if attempt.outcome}
    calls = range(1, len(shard.attempts) + 2)
    jobs = [job for job in (of_attempt(found, batch, shard, call) for call in calls) if job is not None]
    lives = [job for job in jobs if job.state is JobState.SUCCEEDED or not (job.state.is_terminal or job.done)]
    return min((job for job in lives if job.name not in noted), key=_age, default=None)


def _age(job: JobSnapshot) -> tuple[str, str]:
    return str(job.created_at), job.name


def due_at(attempt: Attempt, patience: LostCallPatience, *, is_strong: bool) -> float:
    """Unix time of the next piece of evidence about an unknown create call."""
    if attempt.revoked is None:
        return attempt.sending.at.timestamp() + patience.revoke_after
    total = patience.absent_after * (1 if is_strong else 2)
    step = min(attempt.scans + 1, patience.scans) / patience.scans
    return attempt.revoked.at.timestamp() + total * step


def shows_known_job(batch: BatchState, found: FindOutcome | None) -> bool:
    """A job that is known to exist is in the listing: it shows what there is."""
    known = {shard.job for shard in batch.shards if shard.job}
    return isinstance(found, Found) and any(job.name in known for job in found.jobs)


def matching(found: FindOutcome, task_digest: str) -> Mapping[str, tuple[JobTag, JobSnapshot]]:
    """The jobs of a task instance by name, with what their display names say."""
    jobs = found.jobs if isinstance(found, Found) else ()
    tagged = {job.name: (tag, job) for job in jobs if (tag := JobTag.read(job.display_name)) is not None}
    return {name: pair for name, pair in tagged.items() if pair[0].task_digest == task_digest}
