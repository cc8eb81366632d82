"""Files that rows name, uploaded once each before the rows, whose lines then get the API's addresses.

The name of an upload follows from the task instance and the content, so the upload is found again. A try that was
killed in the middle goes on where it was. What is used is noted. So the same rows get the same addresses when
their own upload is resumed, and the files can be deleted when the batch is complete.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import BinaryIO

from upath import UPath

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.documents import UploadedMedia, UploadedMediaFile
from airflow_provider_batch.batch.ledger.kept_rows import requests_of
from airflow_provider_batch.batch.ledger.state import Shard
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.contract import BatchService
from airflow_provider_batch.errors import ApiError, ConfigError, FileNotReadyError, InputError
from airflow_provider_batch.rows.dialect import RowDialect
from airflow_provider_batch.rows.media import CODE, MediaFile, copy_checked
from airflow_provider_batch.rows.storage import spool

log = logging.getLogger(__name__)

UPLOADS_AT_ONCE = 8

Kind = tuple[str, str]
"""Digest and media type: what makes two files one."""


def uploaded_media(
    service: BatchService, ledger: Ledger, shard: Shard, dialect: RowDialect, folder: UPath | None, until: datetime
) -> UploadedMedia:
    """Make sure that all files of a shard are uploaded, and note where.

    :param folder: Below which the files are.
    :param until: How long they must live.
    :raises InputError: A file has changed since its row was checked, or the API does not take it.
    """
    last = shard.upload.media
    if last is not None and last.lives_until(until):
        return last
    wanted = _wanted(ledger, shard, dialect)
    if folder is None and wanted:
        raise ConfigError(
            "The rows of this task name media files, and the media folder is not given any more.",
            code="AGB-C06",
            remedy="Nothing was sent. Give the media folder as it was when the task was first tried.",
        )
    assert folder is not None or not wanted
    number = 1 if last is None else last.number + 1
    files = tuple(_uploaded(service, ledger, folder, wanted, until)) if folder is not None else ()
    while not ledger.put(shard.document(names.MEDIA, number), UploadedMedia(number=number, files=files)):
        number += 1
    log.info("%d files that rows name are uploaded.", len(files))
    return UploadedMedia(number=number, files=files)


@contextmanager
def rows_with_addresses(
    ledger: Ledger, shard: Shard, dialect: RowDialect, media: UploadedMedia
) -> Iterator[BinaryIO]:
    """The rows of a shard as they are sent, in a spool at its end."""
    addresses = {(file.sha256, file.mime_type): file.address for file in media.files}
    with spool() as rows:
        for _, line in requests_of(ledger, shard, dialect):
            rows.write(dialect.with_addresses(line, lambda file, kind: addresses[file.sha256, kind]) + b"\n")
        yield rows


def _wanted(ledger: Ledger, shard: Shard, dialect: RowDialect) -> dict[Kind, MediaFile]:
    wanted: dict[Kind, MediaFile] = {}

    def note(file: MediaFile, kind: str) -> str:
        wanted.setdefault((file.sha256, kind), file)
        return ""

    for _, line in requests_of(ledger, shard, dialect):
        dialect.with_addresses(line, note)
    return wanted


def _uploaded(
    service: BatchService, ledger: Ledger, folder: UPath, wanted: dict[Kind, MediaFile], until: datetime
) -> Iterator[UploadedMediaFile]:
    owner = ledger.folder.parent.name

    def upload(kind: Kind, file: MediaFile) -> UploadedMediaFile:
        return _upload(service, folder, owner, file, kind[1], until)

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        uploads = [pool.submit(upload, kind, file) for kind, file in wanted.items()]
        try:
            yield from (one.result() for one in uploads)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _upload(
    service: BatchService, folder: UPath, owner: str, file: MediaFile, mime_type: str, until: datetime
) -> UploadedMediaFile:
    label = "agb-" + hashlib.sha256("\n".join((owner, file.sha256, mime_type)).encode()).hexdigest()[:32]
    with spool() as content:
        size = copy_checked(folder, file, content)
        content.seek(0)
        try:
            there = service.upload_media(content, size, mime_type, label, until)
        except (FileNotReadyError, ApiError) as error:
            if isinstance(error, ApiError) and error.http_status != 400:
                raise
            raise InputError(
                f"The API does not take the file {ascii(file.path)[:120]} as {mime_type}: {error.message}",
                source=file.path,
                code=CODE,
                remedy="No job was created. Correct the file or its fileData.mimeType and run the task again.",
            ) from error
    return UploadedMediaFile(
        sha256=file.sha256,
        mime_type=mime_type,
        name=there.name,
        address=there.address,
        expires_at=there.expires_at,
    )
