"""Files: the resumable upload, get, list, delete and download."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response

from airflow_provider_batch.emulator.faults import PROCESSING_CALL
from airflow_provider_batch.emulator.state.limits import check_file_size, check_new_file
from airflow_provider_batch.emulator.state.records import FileRecord, UploadRecord, new_file_id, new_upload_id
from airflow_provider_batch.emulator.state.uploads import PartFile, UploadTakenOverError
from airflow_provider_batch.emulator.wire.context import Call, number, reply
from airflow_provider_batch.emulator.wire.errors import ApiError, file_not_visible, invalid, not_found
from airflow_provider_batch.emulator.wire.json import field, file_json
from airflow_provider_batch.emulator.wire.paging import page_of

MAX_FILE_ID_LENGTH = 40
MAX_NAME_LENGTH = 512

_FILE_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_STATUS = "X-Goog-Upload-Status"


def upload_call_names(request: Request) -> tuple[str, ...]:
    """Name an upload request by its command; a last chunk is both a chunk and a finalize."""
    command = request.headers.get("x-goog-upload-command", "")
    if "start" in command:
        return ("files.upload.start",)
    if "upload" in command or "finalize" in command:
        chunk = ("files.upload.chunk",)
        return (*chunk, "files.upload.finalize") if "finalize" in command else chunk
    return (f"files.upload.{command or 'unknown'}",)


async def upload(call: Call) -> Response:
    """Serve every command of the resumable protocol."""
    headers = call.request.headers
    commands = {word.strip() for word in headers.get("x-goog-upload-command", "").split(",")}
    if "start" in commands:
        return await _start(call)
    record = call.emulation.store.upload(call.request.query_params.get("upload_id", ""))
    if record is None:
        raise not_found("Upload session not found.")
    if commands == {"query"}:
        return await _query(call, record)
    if commands == {"cancel"}:
        return _cancel(call, record)
    if commands <= {"upload", "finalize"} and commands:
        return await _chunk(call, record, commands)
    raise invalid(f"Invalid upload command: {headers.get('x-goog-upload-command')}")


async def _start(call: Call) -> Response:
    headers = call.request.headers
    if headers.get("x-goog-upload-protocol") != "resumable":
        raise invalid("Only the resumable upload protocol is supported.")
    file = field(await call.json("CreateFileRequest"), "file", {})
    store = call.emulation.store
    upload_record = UploadRecord(
        id=new_upload_id(),
        project=call.project,
        file_id=_wanted_file_id(call, file),
        display_name=_display_name(file),
        mime_type=field(file, "mimeType")
        or headers.get("x-goog-upload-header-content-type")
        or "application/octet-stream",
        declared_bytes=_declared_bytes(headers.get("x-goog-upload-header-content-length")),
        created_at=call.emulation.now(),
    )
    check_new_file(call.emulation.limits, upload_record.declared_bytes or 0, store.files(call.project))
    store.save_upload(upload_record)
    call.accept(
        "files.upload.start", file=f"files/{upload_record.file_id}", displayName=upload_record.display_name
    )
    location = f"{call.base_url}{call.request.url.path}?upload_id={upload_record.id}&upload_protocol=resumable"
    started = {"X-Goog-Upload-URL": location, _STATUS: "active", "X-Goog-Upload-Chunk-Granularity": "262144"}
    return Response(b"", headers=started)


def _display_name(file: dict[str, Any]) -> str:
    name: str = field(file, "displayName", "")
    if len(name) > MAX_NAME_LENGTH:
        raise invalid(f"* CreateFileRequest.file.display_name: cannot be more than {MAX_NAME_LENGTH} characters.")
    return name


def _wanted_file_id(call: Call, file: dict[str, Any]) -> str:
    name: str = field(file, "name", "")
    if not name:
        return new_file_id()
    file_id = name.removeprefix("files/")
    if not _FILE_ID.fullmatch(file_id):
        raise invalid(f"* CreateFileRequest.file.name: Invalid file id: {file_id}")
    if call.emulation.store.has_file(file_id):
        raise ApiError(409, f"Requested entity already exists: files/{file_id}")
    return file_id


def _declared_bytes(text: str | None) -> int | None:
    if text is None:
        return None
    size = number(text)
    if size is None:
        raise invalid(f"Invalid X-Goog-Upload-Header-Content-Length: {text}")
    return size


async def _query(call: Call, record: UploadRecord) -> Response:
    headers: dict[str, str] = {_STATUS: record.status}
    if record.status == "active":
        part = _part(call, record)
        # Whoever asks has given up on the connection that was writing.
        await part.take_over()
        headers["X-Goog-Upload-Size-Received"] = str(part.size())
    return Response(b"", headers=headers)


def _cancel(call: Call, record: UploadRecord) -> Response:
    if record.status == "active":
        store = call.emulation.store
        store.save_upload(msgspec.structs.replace(record, status="cancelled"))
        store.upload_path(record.id).unlink(missing_ok=True)
        call.emulation.parts.forget(record.id)
        call.emulation.journal.accept("files.upload.cancel", record.project, file=f"files/{record.file_id}")
    return Response(b"", headers={_STATUS: "cancelled"})


async def _chunk(call: Call, record: UploadRecord, commands: set[str]) -> Response:
    if record.status != "active":
        raise invalid(f"Upload is already {record.status}.")
    part = _part(call, record)
    writer = await part.take_over()
    if "upload" in commands:
        await _rewind(call, part)
        await _receive(call, part, writer)
    if "finalize" not in commands:
        return Response(b"", headers={_STATUS: "active"})
    file = await _finalize(call, record, part)
    written = file_json(file, call.base_url, call.emulation.now())
    return reply({"file": written}, headers={_STATUS: "final"})


async def _rewind(call: Call, part: PartFile) -> None:
    text = call.request.headers.get("x-goog-upload-offset", "0")
    offset = number(text)
    if offset is None or offset > part.size():
        raise invalid(f"Invalid upload offset {text}: {part.size()} bytes were received.")
    await part.rewind(offset)


async def _receive(call: Call, part: PartFile, writer: int) -> None:
    received = part.size()
    try:
        async for piece in call.request.stream():
            received += len(piece)
            check_file_size(call.emulation.limits, received)
            await part.append(piece, writer)
    except UploadTakenOverError:
        raise ApiError(409, "Another request continues this upload.") from None
    except ClientDisconnect:
        # What arrived counts: the client may ask how much that was and go on from there.
        await part.flush(writer)
        raise
    await part.flush(writer)


async def _finalize(call: Call, record: UploadRecord, part: PartFile) -> FileRecord:
    store = call.emulation.store
    size = part.size()
    if record.declared_bytes is not None and size != record.declared_bytes:
        raise invalid(f"Upload has {size} bytes; {record.declared_bytes} bytes were announced.")
    check_new_file(call.emulation.limits, size, store.files(record.project))
    digest = await part.finish()
    store.upload_path(record.id).replace(store.file_path(record.file_id))
    now = call.emulation.now()
    delays = call.emulation.faults.strike(PROCESSING_CALL)
    file = FileRecord(
        id=record.file_id,
        project=record.project,
        display_name=record.display_name,
        mime_type=record.mime_type,
        size_bytes=size,
        sha256=digest,
        created_at=now,
        active_at=now + sum(delay.seconds for delay in delays),
    )
    store.save_file(file)
    store.save_upload(msgspec.structs.replace(record, status="final"))
    call.emulation.parts.forget(record.id)
    facts = {"displayName": file.display_name, "sizeBytes": file.size_bytes}
    call.emulation.journal.accept("files.create", record.project, file=file.name, **facts)
    return file


def _part(call: Call, record: UploadRecord) -> PartFile:
    return call.emulation.parts.of(record.id, call.emulation.store.upload_path(record.id))


async def get_file(call: Call) -> Response:
    """Return a file's record."""
    return reply(file_json(_visible_file(call), call.base_url, call.emulation.now()))


async def list_files(call: Call) -> Response:
    """Return a page of files, newest first."""
    page, token = page_of(call, call.emulation.store.files(call.project), default=10, maximum=100)
    now = call.emulation.now()
    listed: dict[str, Any] = {}
    if page:
        listed["files"] = [file_json(file, call.base_url, now) for file in page]
    if token:
        listed["nextPageToken"] = token
    return reply(listed)


async def delete_file(call: Call) -> Response:
    """Delete a file. A results file cannot be: its id is longer than this call accepts."""
    file_id = call.parameter("file")
    if len(file_id) > MAX_FILE_ID_LENGTH:
        raise invalid(
            "* DeleteFileRequest.name: File ID (name excluding 'files/') cannot be more than 40 characters.\n"
        )
    file = _visible_file(call)
    call.emulation.store.delete_file(file.id)
    call.accept("files.delete", file=file.name)
    return reply({})


class _Download(FileResponse):
    # Each piece costs a hop to a thread and back; the default of 64 KiB halves the speed.
    chunk_size = 1 << 20


async def download_file(call: Call) -> Response:
    """Stream the bytes of a generated file, the whole or a range."""
    file = _visible_file(call)
    if file.source != "GENERATED":
        raise invalid(f"File {file.id} is not a generated file and cannot be downloaded.")
    if call.request.query_params.get("alt") != "media":
        raise invalid("Download needs alt=media.")
    path: Path = call.emulation.store.file_path(file.id)
    return _Download(path, media_type=file.mime_type)


def _visible_file(call: Call) -> FileRecord:
    file_id = call.parameter("file")
    file = call.emulation.store.file(file_id, call.project)
    if file is None:
        raise file_not_visible(file_id)
    return file
