"""Jobs of a task instance that no ledger knows: their ledger was lost, or never came to be."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_batch.batch.decide.evidence import matching
from airflow_provider_batch.batch.ledger.documents import BatchPlan
from airflow_provider_batch.batch.ledger.job_names import JobTag
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.batch.ledger.store import Ledger, note_adopted
from airflow_provider_batch.contract import BatchService, CannotTell, JobSnapshot, JobState
from airflow_provider_batch.errors import AuthError, BatchError, ConfigError, TemporaryError

if TYPE_CHECKING:
    from airflow_provider_batch.batch.send.spec import BatchSpec

log = logging.getLogger(__name__)


def jobs_without_ledger(
    service: BatchService, spec: BatchSpec, known: list[Ledger]
) -> list[tuple[JobTag, JobSnapshot]]:
    """Jobs of this task instance that no ledger knows, and that run or have results."""
    found = service.find(spec.identity.prefix)
    if isinstance(found, CannotTell):
        if isinstance(found.error, AuthError):
            raise found.error
        kind = TemporaryError if found.error.may_pass else BatchError
        raise kind(
            f"Whether a job for this task exists already cannot be told: {found.error}",
            code="AGB-S04",
            remedy="Nothing was sent. Run the task again when the listing works.",
        )
    noted = {job for ledger in known for job in read_batch(ledger).jobs}
    strangers = [pair for name, pair in matching(found, spec.identity.task_digest).items() if name not in noted]
    strangers = [(tag, job) for tag, job in strangers if job.state is JobState.SUCCEEDED or not _is_over(job)]
    elsewhere = [job.name for tag, job in strangers if tag.folder != spec.folder_digest]
    if elsewhere:
        raise ConfigError(
            f"{', '.join(elsewhere)} exists for this task with another result_path than {spec.folder}.",
            code="AGB-C08",
            remedy="Nothing was sent or cancelled. Make result_path the same in every try, without random parts. "
            "If another Airflow runs the same DAG with this credential, set the extra "
            '"deployment" of one of the connections. '
            "A job that is not wanted is ended with `airflow-batch cancel` and deleted in the API.",
        )
    return strangers


def _is_over(job: JobSnapshot) -> bool:
    return job.state.is_terminal or job.done


def ensure_expected(strangers: list[tuple[JobTag, JobSnapshot]], plan: BatchPlan) -> None:
    """Make sure that none of them runs with other rows than the plan has.

    :raises ConfigError: One does.
    """
    contents = {shard.content for shard in plan.first.shards}
    running = [job.name for tag, job in strangers if tag.content not in contents and not _is_over(job)]
    if running:
        raise ConfigError(
            f"{', '.join(running)} still runs for this task with other rows or another model, and the ledger "
            "does not know it.",
            code="AGB-S05",
            remedy="Nothing was sent or cancelled. Restore the input to go on with that job, or cancel it "
            "with `airflow-batch cancel` and run the task again.",
        )


def adopt(ledger: Ledger, plan: BatchPlan, strangers: list[tuple[JobTag, JobSnapshot]], now: datetime) -> None:
    """Note jobs of a ledger that was lost, before the plan makes this ledger one."""
    for number, shard in enumerate(plan.first.shards, 1):
        jobs = [job for tag, job in strangers if tag.content == shard.content]
        if not jobs:
            continue
        if len(jobs) > 1:
            log.warning("Several jobs exist for the same rows, one is used: %s", ", ".join(j.name for j in jobs))
        job = min(jobs, key=lambda j: (j.state is not JobState.SUCCEEDED, str(j.created_at), j.name))
        log.info("Going on with %s (%s), submitted before; nothing is sent.", job.name, job.raw_state)
        note_adopted(ledger, number, job, job.display_name, now)
