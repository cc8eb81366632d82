"""What a reconciliation may find, and what it finds of single calls: lost, made again, beside a job."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from airflow_provider_batch.batch.cost.lifetime import results_until
from airflow_provider_batch.batch.ledger.documents import Landed, RoundKind
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.contract import BatchService, JobSnapshot, JobState


class Kind(str, enum.Enum):
    """What was found."""

    UNLANDED = "unlanded"
    """A job has ended, or single calls have, and what they brought is paid for and was not taken."""
    DUPLICATE = "duplicate"
    """Two jobs for the same rows."""
    ORPHAN = "orphan"
    """A job of this package that no ledger knows."""
    UNRESOLVED = "unresolved"
    """A create call whose outcome was not noted."""
    GONE = "gone"
    """A job that the ledger waits for and the server does not know."""
    RAN_ON = "ran on"
    """A job that was not waited for, as single calls have answered its rows. What it finishes is billed twice."""
    LOST = "lost"
    """Single calls that may have been billed, and whose answers did not come."""
    AGAIN = "again"
    """Answers of single calls to rows that had one."""
    DAMAGED = "damaged"
    """A ledger that cannot be read."""


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know.

    :param hours_left: Until the server deletes the results, None if it does not apply.
    """

    kind: Kind
    text: str
    job: str = ""
    ledger: str = ""
    hours_left: float | None = None


def several(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def hours_left(job: JobSnapshot, service: BatchService) -> float | None:
    """Until the server deletes the results of a job, None if it has none."""
    until = results_until(job, service.limits.result_life_s)
    return None if until is None else (until - service.now()) / 3600


def of_calls(
    batch: BatchState, where: str, jobs: Mapping[str, JobSnapshot], service: BatchService
) -> Iterator[Finding]:
    """What single calls of a batch have cost for nothing. It is told for as long as results are kept.

    :param where: The ledger.
    :param jobs: Those that the server lists, by name.
    """
    for round_ in batch.rounds:
        landed = [shard.landed for shard in round_.shards if shard.landed]
        if round_.is_live:
            recent = [one for one in landed if _is_recent(one, service)]
            yield from _counted(round_.plan.kind, recent, where)
            continue
        for one in landed:
            job = jobs.get(one.job or "") if one.may_run_on else None
            if job is not None:
                yield from _ran_on(job, where, service)


def _is_recent(landed: Landed, service: BatchService) -> bool:
    """A finding that nothing can be done about must not stay for ever."""
    return service.now() < landed.at.timestamp() + service.limits.result_life_s


def _counted(kind: RoundKind, landed: list[Landed], where: str) -> Iterator[Finding]:
    lost, again = sum(one.lost_calls for one in landed), sum(one.called_again for one in landed)
    usd = sum(one.lost_usd for one in landed)
    if lost:
        most = f", USD {usd:,.4f} at most" if usd else ""
        text = (
            f"{several(lost, 'single call')} of the {kind.value} may have been billed without an answer{most}. "
            "The cost of the batch does not have this. Nothing is to be done."
        )
        yield Finding(Kind.LOST, text, ledger=where)
    if again:
        text = (
            f"{several(again, 'answer')} of the {kind.value} came to rows that had one. The bill has this, and "
            "the cost of the batch has it. Nothing is to be done."
        )
        yield Finding(Kind.AGAIN, text, ledger=where)


def _ran_on(job: JobSnapshot, where: str, service: BatchService) -> Iterator[Finding]:
    since = "was asked to end and not waited for, and single calls have answered its rows."
    if not job.state.is_terminal:
        text = f"{job.name} {since} It runs, and what it finishes is billed: airflow-batch cancel {job.name}"
        yield Finding(Kind.RAN_ON, text, job.name, where)
        return
    rows = job.succeeded or (job.requests if job.state is JobState.SUCCEEDED else 0)
    left = hours_left(job, service)
    if rows and (left is None or left > 0):
        text = (
            f"{job.name} {since} It has finished {rows:,} of them: these are billed twice. The batch does not "
            f"need them. To see what is billed: airflow-batch download {job.name}"
        )
        yield Finding(Kind.RAN_ON, text, job.name, where, left)
