"""One create call for one shard: the right to send it, the call, and a record of what came of it.

The API has no idempotency token. Three things stand in for one. The right to send is a document that is created
only if it is absent. So at most one create call leaves for each attempt, and no layer below repeats it. The
display name says which attempt a job belongs to, so a complete listing can tell whether a call arrived. And the
input file can be deleted, so a call that is still on its way has nothing to run. The next attempt begins only
after a definite no, or after long evidence that there is no job. What remains is in ``docs/reliability.md``.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import BinaryIO

from upath import UPath

from airflow_provider_batch.batch.decide.next_step import tokens_in_flight
from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import (
    Outcome,
    Refusal,
    Revoked,
    Scan,
    Sending,
    Session,
    Uploaded,
    UploadedMedia,
)
from airflow_provider_batch.batch.ledger.kept_rows import ensure_kept
from airflow_provider_batch.batch.ledger.state import BatchState, Shard
from airflow_provider_batch.batch.ledger.store import ADOPTED, Ledger
from airflow_provider_batch.batch.send.media import rows_with_addresses, uploaded_media
from airflow_provider_batch.contract import Accepted, BatchService, JobSnapshot, Refused, Unknown
from airflow_provider_batch.errors import (
    ApiError,
    ApiUnreachableError,
    BatchError,
    LedgerError,
    QuotaError,
    SubmitRefusedError,
    SupersededError,
)
from airflow_provider_batch.rows.dialect import RowDialect
from airflow_provider_batch.rows.storage import opened
from airflow_provider_batch.steady import steady_s

log = logging.getLogger(__name__)

FRESH_S = 5.0
"""How old the proof of ownership may be when the call leaves, seconds. A worker that was frozen asks again."""

RECORD_WAITS_S = (1.0, 3.0, 6.0, 10.0, 20.0, 20.0)
"""Seconds between tries to record a job that exists: 60 s in all."""

QUOTA_WAIT_S = (60.0, 3600.0)
"""First and longest wait after a refusal without a hint, seconds. It doubles each time in a row."""

UNREACHABLE_WAIT_S = 30.0

FILE_LIFE_SHARE = 0.75
"""What an upload must still have of its life to be sent. A job may queue for a day."""


@dataclass(frozen=True)
class Sender:
    """What sending needs.

    :param fence: Raises :class:`SupersededError` if another try of the task has taken over.
    :param files: Folder of the files that rows name.
    :param on_first: Told each job that no visit has noted before.
    """

    service: BatchService
    ledger: Ledger
    fence: Callable[[], None]
    dialect: RowDialect
    files: UPath | None = None
    on_first: Callable[[JobSnapshot], object] = lambda _: None

    def now(self) -> datetime:
        """By the server's clock."""
        return datetime.fromtimestamp(self.service.now(), timezone.utc)


def send(sender: Sender, batch: BatchState, shard: Shard) -> JobSnapshot | None:
    """Upload the rows unless they are there, take the right to send, send, record.

    :return: The job. None if there is none (yet). The ledger says more.
    :raises SubmitRefusedError: The API said a final no. Nothing was created for this shard.
    :raises SupersededError: Another try works on this task.
    """
    number = (shard.last.number if shard.last else 0) + 1
    name = batch.tag(shard, number).new_display_name(batch.plan.identity)
    input_file = _uploaded(sender, batch, shard, name)
    sending = Sending(
        at=sender.now(),
        owner=secrets.token_hex(8),
        display_name=name,
        input_file=input_file,
        tokens_in_flight=tokens_in_flight(batch.round),
    )
    began = steady_s()
    if not sender.ledger.put(shard.document(names.SENDING, number), sending):
        log.info("Another try sends %s. Its job is looked for.", shard.title)
        return None
    if not _may_still_send(sender, shard, number, began):
        return None
    outcome = sender.service.submit(batch.plan.model, input_file, name)
    if isinstance(outcome, Accepted):
        record_job(sender, shard, number, outcome.job)
        return outcome.job
    if isinstance(outcome, Unknown):
        log.warning("The outcome of the create call for %s is unknown: %s", name, outcome.error)
        return None
    _record_refusal(sender, shard, number, outcome, input_file)
    return None


def adopt(sender: Sender, shard: Shard, job: JobSnapshot) -> None:
    """Note a job of a shard that the listing shows and no document knows of.

    It belongs to the last create call if the outcome of that call was not noted. Else a call of its own stands for
    the job, as what is noted stays.
    """
    if shard.is_unresolved and shard.last:
        record_job(sender, shard, shard.last.number, job)
        return
    number = len(shard.attempts) + 1
    sending = Sending(
        at=sender.now(), owner=ADOPTED, display_name=job.display_name, input_file=job.input_file or ""
    )
    sender.ledger.put(shard.document(names.SENDING, number), sending)
    record_job(sender, shard, number, job)


def record_job(sender: Sender, shard: Shard, number: int, job: JobSnapshot) -> None:
    """Note a job that exists. Tried for a minute: it is found by its name later, but that takes longer."""
    name = shard.document(names.OUTCOME, number)
    outcome = Outcome(at=sender.now(), job=job.name, job_created_at=job.created_at)
    for wait_s in (*RECORD_WAITS_S, None):
        try:
            if sender.ledger.put(name, outcome):
                sender.on_first(job)
            else:
                _compare(sender.ledger, name, job)
        except LedgerError as error:
            # One line to search for, should the ledger be lost for good.
            log.error("AGB-ACK %s display_name=%s is not in the ledger: %s", job.name, job.display_name, error)
            if wait_s is None:
                raise
            time.sleep(wait_s)
        else:
            return


def _compare(ledger: Ledger, name: str, job: JobSnapshot) -> None:
    known = ledger.read(name, Outcome)
    if known is not None and known.job != job.name:
        log.error(
            "AGB-S08 %s was created, but the ledger at %s has settled on %s. Two jobs may be billed for the same "
            "rows; `airflow-batch reconcile` shows and cancels the one that is not wanted.",
            job.name,
            ledger.folder,
            known.job or known.refusal,
        )


def revoke(sender: Sender, shard: Shard) -> bool:
    """Delete the input of an unknown create call, so that it has nothing to run if it arrives late."""
    attempt = shard.last
    if attempt is None or not sender.service.unstage(attempt.sending.input_file):
        return False
    sender.ledger.put(shard.document(names.REVOKED, attempt.number), Revoked(at=sender.now()))
    log.info("No job %s shows; its input was deleted. Looking on for a while.", attempt.sending.display_name)
    return True


def note_scan(sender: Sender, shard: Shard, number: int) -> None:
    """Note that a complete listing does not show the job."""
    if shard.last is not None:
        sender.ledger.put(shard.document(names.SCAN, shard.last.number, number), Scan(at=sender.now()))


def presume_absent(sender: Sender, shard: Shard) -> None:
    """Note that there is no job. The next attempt may begin."""
    if shard.last is None:
        return
    log.warning("No job %s exists, as far as anybody can tell. It is sent again.", shard.last.sending.display_name)
    absent = Outcome(at=sender.now(), refusal=Refusal.ABSENT, input_deleted=True)
    sender.ledger.put(shard.document(names.OUTCOME, shard.last.number), absent)


class _KeptSession:
    """The address of an upload, kept in the ledger as it begins."""

    def __init__(self, ledger: Ledger, shard: Shard, media: int) -> None:
        self._ledger = ledger
        self._shard = shard
        self._media = media
        finished = shard.upload.file is not None
        begun = None if finished else shard.upload.session
        # With other addresses in them the rows are not what was begun to be uploaded.
        self._address = begun.address if begun is not None and begun.attached == media else None
        self.number = shard.upload.number + (1 if finished or shard.upload.number == 0 else 0)

    def load(self) -> str | None:
        """The address of an unfinished upload."""
        return self._address

    def save(self, address: str) -> None:
        """Keep a new one under the next free number."""
        session = Session(address=address, attached=self._media)
        while not self._ledger.put(self._shard.document(names.SESSION, self.number), session):
            self.number += 1


def _uploaded(sender: Sender, batch: BatchState, shard: Shard, display_name: str) -> str:
    until = sender.now() + timedelta(seconds=sender.service.limits.file_life_s * FILE_LIFE_SHARE)
    usable = shard.usable_file(until)
    if usable is not None:
        return usable.name
    media = UploadedMedia(number=0)
    if batch.plan.names_files:
        media = uploaded_media(sender.service, sender.ledger, shard, sender.dialect, sender.files, until)
    session = _KeptSession(sender.ledger, shard, media.number)
    with _rows_to_send(sender, shard, media) as (rows, size):
        file = sender.service.stage(rows, size, display_name, session)
    ends = [end for end in (file.expires_at, media.expires_at) if end is not None]
    kept = Uploaded(name=file.name, at=sender.now(), expires_at=min(ends, default=None))
    sender.ledger.put(shard.document(names.UPLOADED, session.number), kept)
    log.info("Uploaded %d rows, %d bytes, as %s.", shard.plan.rows, shard.plan.size_bytes, file.name)
    return file.name


@contextmanager
def _rows_to_send(sender: Sender, shard: Shard, media: UploadedMedia) -> Iterator[tuple[BinaryIO, int]]:
    """The rows and their size in bytes: those that were kept, with the addresses of the files that they name."""
    if not media.files:
        ensure_kept(sender.ledger, shard)
        with opened(sender.ledger.path(shard.plan.file)) as kept:
            yield kept, shard.plan.size_bytes
        return
    with rows_with_addresses(sender.ledger, shard, sender.dialect, media) as rows:
        size = rows.tell()
        rows.seek(0)
        yield rows, size


def _may_still_send(sender: Sender, shard: Shard, number: int, began: float) -> bool:
    """False if the round was asked to end while its rows were uploaded. The right to send is let go of then.

    :raises SupersededError: This is not the try that may send any more.
    """
    try:
        sender.fence()
        there = sender.ledger.names()
        if names.SUPERSEDED in there:
            raise superseded(shard.title)
        if steady_s() - began > FRESH_S:
            log.info("This worker stood still for %.0f s; asking again whose turn it is.", steady_s() - began)
            sender.fence()
            if shard.document(names.REVOKED, number) in sender.ledger.names():
                raise superseded(shard.title)
    except BatchError as error:
        _let_go(sender, shard, number, error.message)
        raise
    if names.name_of(names.CANCEL, shard.round) in there:
        _let_go(sender, shard, number, "the batch was asked to end")
        return False
    return True


def _let_go(sender: Sender, shard: Shard, number: int, reason: str) -> None:
    outcome = Outcome(at=sender.now(), refusal=Refusal.NOT_SENT, reason=reason)
    sender.ledger.put(shard.document(names.OUTCOME, number), outcome)


def _record_refusal(sender: Sender, shard: Shard, number: int, refused: Refused, input_file: str) -> None:
    error = refused.error
    kind = _kind(error)
    wait_s = None if kind is Refusal.FINAL else _wait_s(error, shard)
    gone = kind is Refusal.FINAL and sender.service.unstage(input_file)
    outcome = Outcome(
        at=sender.now(),
        refusal=kind,
        reason=error.message,
        retry_at=None if wait_s is None else sender.now() + timedelta(seconds=wait_s),
        input_deleted=gone,
    )
    sender.ledger.put(shard.document(names.OUTCOME, number), outcome)
    if wait_s is not None:
        log.warning("No job was created, trying again in %.0f s: %s", wait_s, error)
        return
    raise SubmitRefusedError(
        f"No job was created: {error.message}", cause=error, code="AGB-S02", remedy=error.remedy
    )


def _kind(error: BatchError) -> Refusal:
    if isinstance(error, QuotaError):
        return Refusal.QUOTA
    return Refusal.NOT_SENT if isinstance(error, ApiUnreachableError) else Refusal.FINAL


def _wait_s(error: BatchError, shard: Shard) -> float:
    if isinstance(error, ApiUnreachableError):
        return UNREACHABLE_WAIT_S
    hint = error.retry_after_s if isinstance(error, ApiError) else None
    least, most = QUOTA_WAIT_S
    before = sum(1 for e in shard.attempts if e.outcome and e.outcome.refusal is Refusal.QUOTA)
    return max(1.0, min(most, hint if hint is not None else least * 2 ** min(before, 10)))


def superseded(what: str) -> SupersededError:
    """Another try goes on, with these rows or with others.

    :param what: That is no longer this try's.
    """
    return SupersededError(
        f"Another try of this task has taken over ({what} is its).",
        code="AGB-S07",
        remedy="This try sent nothing. The other try goes on, so there is nothing to do.",
    )
