"""Everything that survives a kill: one small JSON record per upload, file and batch, plus the bytes.

Invariant: a record is on disk before the change it describes is answered to a client. The bytes of an upload are
not flushed to the platter. So the store survives a killed process, not a power cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from airflow_provider_batch.emulator.state.clock import Clock
from airflow_provider_batch.emulator.state.disk import link_or_copy, write_atomically
from airflow_provider_batch.emulator.state.records import BatchRecord, FileRecord, UploadRecord, WebhookRecord

Record = TypeVar("Record", UploadRecord, FileRecord, BatchRecord, WebhookRecord)
Listed = TypeVar("Listed", bound=FileRecord | BatchRecord)

# A stale listing still shows what was deleted. This many of each are remembered, until the process ends.
_GONE = 1000


class Store:
    """The records, in memory for reading and on disk for the next process.

    :param data_dir: created if missing. One process at a time.
    :param clock_speed: the clock's seconds in a real second.
    """

    def __init__(self, data_dir: Path, clock_speed: float = 1.0) -> None:
        self.data_dir = data_dir
        for room in ("uploads", "files", "batches", "webhooks"):
            (data_dir / room).mkdir(parents=True, exist_ok=True)
        self.clock = Clock(data_dir / "clock.json", clock_speed)
        self._uploads = _load(data_dir / "uploads", UploadRecord)
        self._files = _load(data_dir / "files", FileRecord)
        self._batches = _load(data_dir / "batches", BatchRecord)
        self._webhooks = _load(data_dir / "webhooks", WebhookRecord)
        self._gone_files: deque[tuple[float, FileRecord]] = deque(maxlen=_GONE)
        self._gone_batches: deque[tuple[float, BatchRecord]] = deque(maxlen=_GONE)

    def upload(self, upload_id: str) -> UploadRecord | None:
        """Return an upload in any status."""
        return self._uploads.get(upload_id)

    def save_upload(self, upload: UploadRecord) -> None:
        """Create or replace an upload."""
        self._uploads[upload.id] = upload
        _save(self.data_dir / "uploads", upload)

    def upload_path(self, upload_id: str) -> Path:
        """Return where the bytes of an upload gather."""
        return self.data_dir / "uploads" / f"{upload_id}.part"

    def has_file(self, file_id: str) -> bool:
        """Say whether the id is taken, by any project."""
        return file_id in self._files

    def file(self, file_id: str, project: str) -> FileRecord | None:
        """Return a file that the project may see: not before its time, and not after it."""
        found = self._files.get(file_id)
        if found is None or found.project != project or not _is_there(found, self.clock.now()):
            return None
        return found

    def had_file(self, file_id: str, project: str, at: float) -> bool:
        """Say whether the project could see a file, that was not deleted since, at a time."""
        found = self._files.get(file_id)
        return found is not None and found.project == project and _is_there(found, at)

    def files(self, project: str, at: float | None = None) -> list[FileRecord]:
        """Return the visible files of a project, newest first.

        :param at: as of an earlier time. Now by default.
        """
        at = self.clock.now() if at is None else at
        known = _as_of(self._files, self._gone_files, at)
        return [file for file in known if file.project == project and _is_there(file, at)]

    def file_path(self, file_id: str) -> Path:
        """Return where the bytes of a file are."""
        return self.data_dir / "files" / f"{file_id}.bin"

    def save_file(self, file: FileRecord) -> None:
        """Create or replace a file's record. Its bytes are in place already."""
        self._files[file.id] = file
        _save(self.data_dir / "files", file)

    def delete_file(self, file_id: str) -> None:
        """Forget a file and free its bytes."""
        self._gone_files.append((self.clock.now(), self._files.pop(file_id)))
        _record_path(self.data_dir / "files", file_id).unlink(missing_ok=True)
        self.file_path(file_id).unlink(missing_ok=True)

    def batch(self, batch_id: str, project: str | None = None) -> BatchRecord | None:
        """Return a batch. Only what its project may see of it, if one is given."""
        found = self._batches.get(batch_id)
        if found is None or (project is not None and (found.project != project or found.forgotten)):
            return None
        return found

    def batches(self, project: str, at: float) -> list[BatchRecord]:
        """Return the batches that a project could see in its list at a time, newest first."""
        return [
            batch
            for batch in _as_of(self._batches, self._gone_batches, at)
            if batch.project == project and not batch.forgotten and max(batch.created_at, batch.listed_at) <= at
        ]

    def all_batches(self) -> Iterator[BatchRecord]:
        """Yield every batch, oldest first."""
        yield from list(self._batches.values())

    def save_batch(self, batch: BatchRecord) -> None:
        """Create or replace a batch."""
        self._batches[batch.id] = batch
        _save(self.data_dir / "batches", batch)

    def delete_batch(self, batch_id: str) -> None:
        """Forget a batch and its copy of the input. The results file stays."""
        self._gone_batches.append((self.clock.now(), self._batches.pop(batch_id)))
        _record_path(self.data_dir / "batches", batch_id).unlink(missing_ok=True)
        self.input_path(batch_id).unlink(missing_ok=True)

    def webhook(self, webhook_id: str, project: str) -> WebhookRecord | None:
        """Return a webhook of a project."""
        found = self._webhooks.get(webhook_id)
        return found if found is not None and found.project == project else None

    def webhooks(self, project: str) -> list[WebhookRecord]:
        """Return the webhooks of a project, newest first."""
        return [webhook for webhook in reversed(self._webhooks.values()) if webhook.project == project]

    def save_webhook(self, webhook: WebhookRecord) -> None:
        """Create or replace a webhook."""
        self._webhooks[webhook.id] = webhook
        _save(self.data_dir / "webhooks", webhook)

    def delete_webhook(self, webhook_id: str) -> None:
        """Forget a webhook."""
        del self._webhooks[webhook_id]
        _record_path(self.data_dir / "webhooks", webhook_id).unlink(missing_ok=True)

    def input_path(self, batch_id: str) -> Path:
        """Return where a batch has its own copy of its rows: the user may delete the file at once."""
        return self.data_dir / "batches" / f"{batch_id}.input"

    def inline_output_path(self, batch_id: str) -> Path:
        """Return where the answers of an inline batch are, one JSON object a line."""
        return self.data_dir / "batches" / f"{batch_id}.output"

    def keep_input(self, batch_id: str, source: Path) -> None:
        """Give a batch its own name for the bytes of its input."""
        link_or_copy(source, self.input_path(batch_id))


def _as_of(records: dict[str, Listed], gone: Iterable[tuple[float, Listed]], at: float) -> list[Listed]:
    """Return the records with those that were deleted after a time, newest first."""
    found = list(reversed(records.values()))
    later = [record for gone_at, record in gone if gone_at > at]
    return sorted([*found, *later], key=lambda record: record.created_at, reverse=True) if later else found


def _is_there(file: FileRecord, now: float) -> bool:
    return file.created_at <= now < file.expires_at


def _record_path(folder: Path, record_id: str) -> Path:
    return folder / f"{record_id}.json"


def _save(folder: Path, record: UploadRecord | FileRecord | BatchRecord | WebhookRecord) -> None:
    write_atomically(_record_path(folder, record.id), msgspec.json.encode(record))


def _load(folder: Path, record_type: type[Record]) -> dict[str, Record]:
    decoder = msgspec.json.Decoder(record_type)
    # A half-written record has a name that begins with a dot: glob does not return it.
    found = [decoder.decode(path.read_bytes()) for path in folder.glob("[!.]*.json")]
    return {record.id: record for record in sorted(found, key=lambda record: record.created_at)}
