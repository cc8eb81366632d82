"""The ledger: documents in a folder beside the results, each written once and never changed.

The path is ``<result_path>/_ledger/<task instance>/<generation>/``. A generation is one content. A change of the
rows or the model that the user wants begins the next one. Invariant: *absent* means that the store said so. A
document that cannot be read, or that is not what it should be, stops the task. A guess here would be paid for
twice.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import TypeVar

from pydantic import ValidationError
from upath import UPath

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import LEDGER_VERSION, BatchPlan, Document, Outcome, Sending
from airflow_provider_batch.batch.ledger.missing import holes
from airflow_provider_batch.batch.ledger.publication import Retired
from airflow_provider_batch.contract import JobSnapshot
from airflow_provider_batch.errors import ConfigError, LedgerError
from airflow_provider_batch.rows.manifest import wrong_fields
from airflow_provider_batch.rows.storage import created, listed, opened

log = logging.getLogger(__name__)

FOLDER = "_ledger"
"""Begins with an underscore, so that Spark, Hive and others pass it over when they read the results."""

RETIRED = "retired"
"""Folder beside the ledgers that remembers those that are gone."""

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
"""Nothing larger is written, or taken for a document. A shard that names 200,000 files comes near."""

ADOPTED = "adopted"
"""Owner of a note about a create call that another ledger, or the API's listing, knows of."""

_HOLE_REMEDY = (
    "Nothing was sent or cancelled: without it the same rows could be paid for twice. Restore the file, from a "
    "version of the store or a backup. Only if none of the jobs that `airflow-batch list` shows for the task is "
    "wanted, delete"
)

_MARK = re.compile(r"[0-9a-f]{24}")

D = TypeVar("D", bound=Document)


class Ledger:
    """One generation of one task instance's ledger.

    :param folder: ``<result_path>/_ledger/<mark>/<generation>``.
    :ivar is_new: This visit has written its plan.
    :ivar written: Digests of the files that this visit has put beside the documents.
    """

    def __init__(self, folder: UPath) -> None:
        self.folder = folder
        # What was read once stays so: documents never change. A listing may lag behind what was written.
        self._known: dict[str, Document] = {}
        self._there: set[str] = set()
        self._batch = ""
        self.is_new = False
        self.written: set[str] = set()

    @property
    def generation(self) -> int:
        """Counts from 1."""
        return int(self.folder.name)

    def bind(self, content: str) -> None:
        """From here on documents name the plan of this content, and those of another plan are refused."""
        self._batch = content

    def names(self) -> set[str]:
        """All files that are there now."""
        try:
            return listed(self.folder) | self._there
        except OSError as error:
            raise _unreadable(self.folder, error) from None

    def read(self, name: str, kind: type[D]) -> D | None:
        """A document, None if there is none of that name.

        :raises LedgerError: It is there and cannot be read or understood.
        """
        known = self._known.get(name)
        if isinstance(known, kind):
            return known
        path = self.folder / name
        try:
            with opened(path) as file:
                text = file.read(MAX_DOCUMENT_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from None
        document = _understood(path, text, kind)
        if self._batch and document.batch not in ("", self._batch):
            raise LedgerError(
                f"{path} is of other rows or another model ({document.batch}) than the batch has ({self._batch}).",
                code="AGB-L02",
                remedy=f"{_HOLE_REMEDY} {self.folder}.",
            )
        self._known[name] = document
        return document

    def put(self, name: str, document: Document) -> bool:
        """Write a document. Returns False if there is one of that name, which then holds.

        :raises LedgerError: The store did not take it, or it is too large to be read again.
        """
        return self._put(name, self._text(document, indent=1))

    def put_lines(self, name: str, head: Document, lines: bytes) -> bool:
        """The same for a file of lines with a document as its first.

        :param lines: Each with its line break.
        """
        return self._put(name, self._text(head) + lines)

    def _text(self, document: Document, indent: int | None = None) -> bytes:
        document = document.model_copy(update={"batch": self._batch}) if self._batch else document
        unbound = None if self._batch else {"batch"}
        return document.model_dump_json(exclude_none=True, exclude=unbound, indent=indent).encode() + b"\n"

    def _put(self, name: str, text: bytes) -> bool:
        if len(text) > MAX_DOCUMENT_BYTES:
            raise LedgerError(
                f"{name} of the ledger at {self.folder} would have {len(text):,} bytes.",
                code="AGB-L04",
                remedy="Nothing was sent. Set max_rows_per_job, so that a job has fewer rows and files, or divide "
                "the input.",
            )
        try:
            is_first = created(self.folder / name, text)
            self._there.add(name)
            return is_first
        except OSError as error:
            raise LedgerError(
                f"The ledger at {self.folder} could not be written: {type(error).__name__}: {error}",
                code="AGB-L04",
                remedy="Check space and rights of the result path and run the task again. If a job exists, "
                "the next try goes on with the job.",
            ) from None

    def names_now(self) -> set[str]:
        """The same, without what is only known to have been there: another visit may have taken it away."""
        self._there.clear()
        return self.names()

    def remove(self, name: str) -> None:
        """Take a file away that nothing rests on."""
        self._there.discard(name)
        self._known.pop(name, None)
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            log.info("%s could not be removed from %s: %s", name, self.folder, type(error).__name__)

    def documents(self) -> set[str]:
        """The names of all files, after making sure that no document is missing that others rest on.

        :raises LedgerError: One is.
        """
        names = self.names()
        for name, needed in list(holes(names)):
            # A listing may lag behind. The store itself does not.
            if not self._exists(needed):
                raise hole(self, name, needed)
        return names | self._there

    def _exists(self, name: str) -> bool:
        try:
            with opened(self.folder / name):
                self._there.add(name)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unreadable(self.folder / name, error) from None
        return True

    def path(self, name: str) -> UPath:
        """Where a file of this name is."""
        return self.folder / name


def generations(folder: UPath, task_digest: str) -> list[Ledger]:
    """All generations of a task instance's ledger that have a plan, oldest first.

    :param folder: The result folder.
    """
    found: list[Ledger] = []
    while (ledger := generation(folder, task_digest, len(found) + 1)).read(names.PLAN, BatchPlan) is not None:
        found.append(ledger)
    for name in listed(folder / FOLDER / task_digest):
        if name.isdigit() and int(name) > len(found) and not is_retired(folder, task_digest):
            _ensure_unsent(generation(folder, task_digest, int(name)), f"{len(found) + 1}/{names.PLAN}")
    return found


def is_retired(folder: UPath, task_digest: str) -> bool:
    """A later run has replaced the results of the task instance, or they were pruned. What is left is rubbish."""
    return Ledger(folder / FOLDER / RETIRED).read(f"{task_digest}.json", Retired) is not None


def _ensure_unsent(ledger: Ledger, plan: str) -> None:
    """Make sure that a generation without a plan was interrupted as it began, and has not lost its plan.

    :raises LedgerError: It has documents that are written after the plan.
    """
    for name in sorted(ledger.names()):
        if name.endswith(".json") and not _is_before_plan(ledger, name):
            raise hole(ledger, name, plan)


def _is_before_plan(ledger: Ledger, name: str) -> bool:
    """Jobs of a ledger that was lost are noted before its new plan is."""
    kind, numbers = names.kind_of(name)
    if kind not in (names.SENDING, names.OUTCOME) or numbers[-1] != 1:
        return False
    sending = ledger.read(names.name_of(names.SENDING, *numbers), Sending)
    return sending is not None and sending.owner == ADOPTED


def generation(folder: UPath, task_digest: str, number: int) -> Ledger:
    """A generation, written or not."""
    return Ledger(folder / FOLDER / task_digest / str(number))


def task_digests(folder: UPath) -> Iterator[str]:
    """Marks of the task instances that have a ledger in a result folder."""
    try:
        yield from sorted(name for name in listed(folder / FOLDER) if _MARK.fullmatch(name))
    except OSError as error:
        raise _unreadable(folder / FOLDER, error) from None


def retire(folder: UPath, task_digest: str, jobs: Iterable[str]) -> None:
    """Delete a task instance's ledger and remember its jobs, which are neither lost nor to be paid for again.

    :param folder: The result folder.
    """
    gone = Retired(at=datetime.now(timezone.utc), jobs=tuple(jobs))
    Ledger(folder / FOLDER / RETIRED).put(f"{task_digest}.json", gone)
    remove_ledgers(folder, task_digest)


def remove_ledgers(folder: UPath, task_digest: str) -> None:
    """Delete all generations of a task instance's ledger, the plans first: without them the rest means nothing.

    Only where :func:`is_retired` keeps the memory of its jobs.
    """
    home = folder / FOLDER / task_digest
    for name in sorted(listed(home)):
        files = sorted(listed(home / name), key=lambda file: file != names.PLAN)
        for file in files:
            (home / name / file).unlink(missing_ok=True)
        _remove_folder(home / name)
    _remove_folder(home)


def _remove_folder(folder: UPath) -> None:
    try:
        folder.rmdir()
    except (OSError, NotImplementedError):
        # Only some stores have folders.
        return


def check_store(folder: UPath) -> None:
    """Prove that the store keeps a file that is there from being written again.

    :raises ConfigError: It does not: two workers could both believe that they may send.
    """
    probe = folder / FOLDER / f"selftest-{secrets.token_hex(8)}"
    try:
        promises = created(probe, b"first") and not created(probe, b"second")
        holds = promises and probe.read_bytes() == b"first"
    except (OSError, NotImplementedError, TypeError) as error:
        raise ConfigError(
            f"A file could not be written below {folder}: {type(error).__name__}: {error}",
            code="AGB-L01",
            remedy="Nothing was uploaded. Check that result_path exists and may be written by the workers.",
        ) from None
    finally:
        _forget(probe)
    if not holds:
        raise ConfigError(
            f"The store of {folder} replaces a file that must not be replaced, so two workers could send "
            "the same rows.",
            code="AGB-L01",
            remedy="Nothing was uploaded. Use a store with conditional writes for result_path: a disk that all "
            "workers share, S3 (s3fs 2024.10 or newer) or GCS.",
        )


def _forget(probe: UPath) -> None:
    try:
        probe.unlink(missing_ok=True)
    except OSError:
        return


def hole(ledger: Ledger, name: str, needed: str) -> LedgerError:
    """A document is missing.

    :param name: A document that was written after it.
    """
    return LedgerError(
        f"{name} is in the ledger at {ledger.folder}, and {needed}, which was written before it, is not.",
        code="AGB-L02",
        remedy=f"{_HOLE_REMEDY} {ledger.folder}.",
    )


class _Version(Document):
    ledger_version: int = 1


def _understood(path: UPath, text: bytes, kind: type[D]) -> D:
    try:
        version = _Version.model_validate_json(text).ledger_version
        if version > LEDGER_VERSION:
            raise _newer(path, version)
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise LedgerError(
            f"{path} is not a {kind.__name__} of this version ({wrong_fields(error)}).",
            code="AGB-L02",
            remedy="Nothing was sent or cancelled. Restore the file. Or look for the task's jobs with "
            "`airflow-batch list`, and delete the ledger's folder if none is wanted.",
        ) from None


def _newer(path: UPath, version: int) -> LedgerError:
    return LedgerError(
        f"{path} was written by a newer version of this package (ledger {version}, this one reads "
        f"{LEDGER_VERSION}).",
        code="AGB-L03",
        remedy="Nothing was sent or cancelled. Run the task on workers with the newer version.",
    )


def _unreadable(path: UPath, error: OSError) -> LedgerError:
    return LedgerError(
        f"The ledger at {path} could not be read: {type(error).__name__}: {error}",
        code="AGB-L02",
        remedy="Nothing was sent or cancelled. Run the task again when the store answers.",
    )


def note_adopted(ledger: Ledger, shard_number: int, job: JobSnapshot, display_name: str, now: datetime) -> None:
    """Note a job that this ledger did not send as if it had.

    :param shard_number: In the first round.
    """
    sending = Sending(at=now, owner=ADOPTED, display_name=display_name, input_file=job.input_file or "")
    ledger.put(names.name_of(names.SENDING, 1, shard_number, 1), sending)
    ledger.put(
        names.name_of(names.OUTCOME, 1, shard_number, 1),
        Outcome(at=now, job=job.name, job_created_at=job.created_at),
    )
