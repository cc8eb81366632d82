"""How a batch, a shard of it and a job stand, in words. The page, the shell and the links say no others. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from airflow_provider_batch.batch.ledger.state import BatchState, Shard
from airflow_provider_batch.contract import JobSnapshot, JobState
from airflow_provider_batch.rows.dialect import RowStatus


class Standing(str, enum.Enum):
    """The words, for people. The member's name in small letters is for programs, as in the page's JSON."""

    WORKING = "working"
    WAITING = "waiting"
    RETRYING = "will retry"
    TRYING = "trying some rows"
    RESCUING = "answering rows by single calls"
    UNSENT = "not submitted"
    PARTLY = "partly submitted"
    SUBMITTED = "submitted"
    UNCLEAR = "unknown whether a job exists"
    REFUSED = "refused"
    ENDING = "asked to end"
    UNPUBLISHED = "landed, not published"
    LANDED = "landed"
    PARTIAL = "landed, not all"
    FAILED = "failed"
    SKIPPED = "skipped"
    SUPERSEDED = "superseded"

    @property
    def key(self) -> str:
        """For programs."""
        return self.name.lower()


_BY_TASK = {
    "failed": Standing.FAILED,
    "upstream_failed": Standing.FAILED,
    "skipped": Standing.SKIPPED,
    "removed": Standing.SKIPPED,
    "up_for_retry": Standing.RETRYING,
    "up_for_reschedule": Standing.RETRYING,
    "deferred": Standing.WAITING,
}


def by_task(task_state: str | None, counts: Mapping[str, int] | None) -> Standing:
    """How a batch stands, by its task and by how its rows ended.

    :param task_state: Airflow's word.
    :param counts: Rows by status, None if the batch has not landed.
    """
    if task_state != "success":
        return _BY_TASK.get(task_state or "", Standing.WORKING)
    if counts is None:
        return Standing.SUBMITTED
    return Standing.LANDED if set(counts) <= {RowStatus.SUCCESS.value} else Standing.PARTIAL


def by_ledger(batch: BatchState) -> Standing:
    """How far a batch is, by its ledger alone."""
    if batch.superseded:
        return Standing.SUPERSEDED
    if batch.round.published:
        return Standing.LANDED
    if batch.trial and batch.trial.open_shards:
        return Standing.TRYING
    if batch.is_refused:
        return Standing.REFUSED
    if batch.round.is_live and batch.round.open_shards:
        return Standing.RESCUING
    shards = batch.round.shards
    if any(shard.is_unresolved and not shard.landed for shard in shards):
        return Standing.UNCLEAR
    if all(shard.landed for shard in shards):
        return Standing.UNPUBLISHED
    if batch.round.cancel:
        return Standing.ENDING
    sent = [shard for shard in shards if shard.landed or shard.job]
    if not sent:
        return Standing.UNSENT
    return Standing.SUBMITTED if len(sent) == len(shards) else Standing.PARTLY


def of_shard(shard: Shard, *, is_live: bool = False) -> str:
    """How one shard stands: how its job ended, or how far it is.

    :param is_live: Its rows are answered by single calls.
    """
    if is_live:
        return _of_calls(shard)
    if shard.landed:
        return shard.landed.state.value
    if shard.job:
        return Standing.SUBMITTED.value
    if shard.is_unresolved:
        return Standing.UNCLEAR.value
    return Standing.REFUSED.value if shard.outcome else Standing.UNSENT.value


def _of_calls(shard: Shard) -> str:
    if shard.landed is None:
        return "being called"
    return "answered" if shard.landed.state is JobState.SUCCEEDED else "not all answered"


def of_job(job: JobSnapshot) -> str:
    """``running``, or the vendor's word if this version does not know it."""
    return job.raw_state if job.state is JobState.UNKNOWN else job.state.value
