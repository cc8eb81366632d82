"""Rows to a remote job: adopt the one that exists, or send exactly one create call.

The API has no idempotency token, so a job carries who it is in its display name: a digest of the task instance
(never of the try) and one of the content. Before a create, and after one whose outcome is unknown, the
complete listing is searched for that name. A listing that cannot be read to its end means *unknown*, and
unknown never sends.

What this prevents: a second job after a failed try, a clear, a lost worker, a lost answer, as long as the
listing shows the first one. What it does not: two tries at the very same moment, and a job that the listing
hides for longer than :data:`RESOLVE_WAITS_S` and the task's retry delay together.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict

from airflow_provider_batch.contract import (
    Accepted,
    BatchService,
    CannotTell,
    FindOutcome,
    Found,
    JobSnapshot,
    JobState,
    Refused,
)
from airflow_provider_batch.engine.claim import Claim
from airflow_provider_batch.engine.identity import Identity, content_mark, display_name
from airflow_provider_batch.errors import (
    AuthError,
    BatchError,
    ConfigError,
    SubmitRefusedError,
    SubmitUnknownError,
)
from airflow_provider_batch.rows.keys import KeyTable
from airflow_provider_batch.rows.staging import Staged

log = logging.getLogger(__name__)

RESOLVE_WAITS_S = (1.0, 3.0, 6.0, 10.0, 20.0)
"""Seconds between looks for a job whose create call had an unknown outcome: 40 s in all."""


@dataclass(frozen=True)
class StagedRows:
    """Checked rows, ready to be sent.

    :param file: The rows, seekable.
    :param keys: Their keys.
    :param staged: What checking them found.
    """

    file: BinaryIO
    keys: KeyTable
    staged: Staged


class Submission(BaseModel):
    """A job and what is needed to land it: small, JSON, free of secrets.

    :param job_name: ``batches/...``.
    :param result_path: Folder for the results.
    :param request_count: Rows sent.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    job_name: str
    model: str
    display_name: str
    result_path: str
    request_count: int
    submitted_at: datetime | None = None

    def to_xcom(self) -> dict[str, Any]:
        """Plain JSON values."""
        return self.model_dump(mode="json", exclude_none=True)


def adoptable(found: FindOutcome, prefix: str, mark: str) -> JobSnapshot | None:
    """The existing job to go on with, None if a new one is due.

    Adopted is a job with the same content that runs or has succeeded; of several the one that succeeded, else
    the oldest. A job that failed, expired or was cancelled gives way to a new one.

    :raises AuthError: The credential may not list jobs.
    :raises BatchError: It cannot be told, or a job with other content still runs for this task.
    """
    if isinstance(found, CannotTell):
        if isinstance(found.error, AuthError):
            raise found.error
        raise BatchError(
            f"Whether a job for this task exists already cannot be told: {found.error}",
            code="AGB-S04",
            remedy="Nothing was sent. Run the task again when the listing works.",
        )
    jobs = found.jobs if isinstance(found, Found) else ()
    useful = [j for j in jobs if j.state is JobState.SUCCEEDED or not (j.state.is_terminal or j.done)]
    same = [j for j in useful if j.display_name.startswith(f"{prefix}{mark}.")]
    if same:
        if len(same) > 1:
            log.warning("Several jobs exist for this task, one is used: %s", ", ".join(j.name for j in same))
        return min(same, key=lambda j: (j.state is not JobState.SUCCEEDED, str(j.created_at), j.name))
    running = [j for j in useful if j.state is not JobState.SUCCEEDED]
    if running:
        raise ConfigError(
            f"{running[0].name} still runs for this task with other rows or another model.",
            code="AGB-S05",
            remedy="Nothing was sent or cancelled. Restore the input to go on with that job, or cancel it "
            "(GeminiBatchHook.cancel_batch) and run the task again.",
        )
    return None


def find_or_submit(
    service: BatchService, identity: Identity, model: str, rows: StagedRows, claim: Claim
) -> JobSnapshot:
    """Return the task's job, creating it if there is none.

    :param claim: On the folder for the results; released again if no job was created.
    :raises SubmitRefusedError: The API refused; no job exists, and the upload was deleted again.
    :raises SubmitUnknownError: A job may exist and does not show; nothing was sent again.
    :raises BatchError: Anything that went wrong before the create call.
    """
    mark = content_mark(rows.staged.sha256, model)
    job = adoptable(service.find(identity.prefix), identity.prefix, mark)
    if job is not None:
        log.info("Going on with %s (%s), submitted before; nothing is sent.", job.name, job.raw_state)
        claim.take_again(identity, rows.keys)
        return job
    service.check_model(model)
    claim.take(identity, rows.keys)
    name = display_name(identity, mark)
    try:
        input_file = service.stage(rows.file, rows.staged.size_bytes, name)
    except BaseException:
        claim.release()
        raise
    log.info("Uploaded %d rows, %d bytes, as %s.", rows.staged.requests, rows.staged.size_bytes, input_file)
    outcome = service.submit(model, input_file, name)
    if isinstance(outcome, Accepted):
        log.info("Created %s, display name %s.", outcome.job.name, name)
        return outcome.job
    if isinstance(outcome, Refused):
        claim.release()
        service.unstage(input_file)
        raise SubmitRefusedError(
            f"No job was created: {outcome.error.message}",
            cause=outcome.error,
            code="AGB-S02",
            remedy=outcome.error.remedy,
        )
    log.warning("The outcome of the create call is unknown, looking for the job: %s", outcome.error)
    return _resolve(service, name, outcome.error)


def _resolve(service: BatchService, name: str, error: BatchError) -> JobSnapshot:
    for wait_s in RESOLVE_WAITS_S:
        time.sleep(wait_s)
        found = service.find(name)
        if isinstance(found, Found):
            log.info("Found %s: the create call had arrived.", found.jobs[0].name)
            return found.jobs[0]
    raise SubmitUnknownError(
        f"A create call was sent, its answer was lost, and no job named {name} shows after "
        f"{sum(RESOLVE_WAITS_S):g} s: {error.message}",
        display_name=name,
        code="AGB-S04",
        remedy="Nothing was sent again. The next try of this task searches for the job before it sends.",
    ) from error
