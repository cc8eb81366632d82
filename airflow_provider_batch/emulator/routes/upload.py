"""How bytes become a file: the resumable protocol, and the two that need one request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from airflow_provider_batch.emulator.faults import PROCESSING_CALL
from airflow_provider_batch.emulator.state.limits import check_file_size, check_new_file
from airflow_provider_batch.emulator.state.mime import DEFAULT_MIME, is_supported
from airflow_provider_batch.emulator.state.records import FileRecord, UploadRecord, new_file_id, new_upload_id
from airflow_provider_batch.emulator.state.uploads import PartFile, UploadTakenOverError
from airflow_provider_batch.emulator.wire.context import Call, message_in, number, reply
from airflow_provider_batch.emulator.wire.errors import ApiError, invalid, not_found
from airflow_provider_batch.emulator.wire.json import Message, field, file_json
from airflow_provider_batch.emulator.wire.related import Related, RelatedError

MAX_NAME_LENGTH = 512

_FILE_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_STATUS = "X-Goog-Upload-Status"
_SESSION = "upload_id"
# How the older clients of Google's APIs name the protocols, in the query.
_OLDER_NAMES = {"media": "raw"}


def upload_call_names(request: Request) -> tuple[str, ...]:
    """Name an upload request by its command. A last chunk is both a chunk and a finalize.

    An upload of one request is all three.
    """
    command = request.headers.get("x-goog-upload-command", "")
    if "start" in command or not _session(request):
        names = ("files.upload.start",)
        return (*names, "files.upload.chunk", "files.upload.finalize") if _needs_one_request(request) else names
    if "upload" in command or "finalize" in command:
        chunk = ("files.upload.chunk",)
        return (*chunk, "files.upload.finalize") if "finalize" in command else chunk
    return (f"files.upload.{command or 'unknown'}",)


async def upload(call: Call) -> Response:
    """Serve every command of the resumable protocol, and uploads of one request."""
    headers = call.request.headers
    commands = {word.strip() for word in headers.get("x-goog-upload-command", "").split(",")}
    if "start" in commands or not _session(call.request):
        return await (_at_once(call) if _needs_one_request(call.request) else _start(call, commands))
    record = call.emulation.store.upload(_session(call.request))
    if record is None:
        raise not_found("Upload session not found.")
    if commands == {"query"}:
        return await _query(call, record)
    if commands == {"cancel"}:
        return _cancel(call, record)
    if commands <= {"upload", "finalize"} and commands:
        return await _chunk(call, record, commands)
    raise invalid(f"Invalid upload command: {headers.get('x-goog-upload-command')}")


def _session(request: Request) -> str:
    return request.query_params.get(_SESSION, "")


def _protocol(request: Request) -> str:
    query = request.query_params
    older = query.get("uploadType", "")
    return (
        request.headers.get("x-goog-upload-protocol")
        or query.get("upload_protocol")
        or _OLDER_NAMES.get(older, older)
    )


def _needs_one_request(request: Request) -> bool:
    has_command = bool(request.headers.get("x-goog-upload-command"))
    return not has_command and not _session(request) and _protocol(request) in ("multipart", "raw")


async def _start(call: Call, commands: set[str]) -> Response:
    headers = call.request.headers
    protocol = _protocol(call.request)
    if protocol != "resumable" or "start" not in commands:
        raise invalid(
            f"Unsupported upload: X-Goog-Upload-Protocol is {protocol!r} and X-Goog-Upload-Command is "
            f"{headers.get('x-goog-upload-command', '')!r}. Supported are resumable, with the command start, and "
            "multipart and raw, without a command."
        )
    file = field(await call.json("CreateFileRequest"), "file", {})
    upload_record = _new_upload(
        call,
        file,
        headers.get("x-goog-upload-header-content-type"),
        _declared_bytes(headers.get("x-goog-upload-header-content-length")),
    )
    call.emulation.store.save_upload(upload_record)
    call.accept(
        "files.upload.start", file=f"files/{upload_record.file_id}", displayName=upload_record.display_name
    )
    location = f"{call.base_url}{call.request.url.path}?{_SESSION}={upload_record.id}&upload_protocol=resumable"
    started = {"X-Goog-Upload-URL": location, _STATUS: "active", "X-Goog-Upload-Chunk-Granularity": "262144"}
    return Response(b"", headers=started)


async def _at_once(call: Call) -> Response:
    """Take a file in one request: the metadata and the bytes as two parts, or the bytes alone."""
    headers = call.request.headers
    try:
        if _protocol(call.request) == "raw":
            file = {"displayName": headers.get("x-goog-upload-file-name", "")}
            given_type = headers.get("x-goog-upload-header-content-type") or headers.get(
                "x-goog-upload-content-type"
            )
            return await _take(call, file, given_type or headers.get("content-type"), call.request.stream())
        body = Related(headers.get("content-type", ""), call.request.stream())
        message = message_in(await body.message(), "CreateFileRequest")
        return await _take(call, field(message, "file", {}), await body.content_type(), body.content())
    except RelatedError as fault:
        raise invalid(f"Invalid multipart body: {fault}") from None


async def _take(call: Call, file: Message, mime_type: str | None, pieces: AsyncIterable[bytes]) -> Response:
    record = _new_upload(call, file, mime_type, None)
    part = _part(call, record)
    try:
        await _receive(call, part, await part.take_over(), pieces)
        created = await _finalize(call, record, part)
    except BaseException:
        # No client can go on with it, also when the request is cancelled: the client knows no session.
        call.emulation.parts.forget(record.id)
        call.emulation.store.upload_path(record.id).unlink(missing_ok=True)
        raise
    return reply({"file": file_json(created, call.base_url, call.emulation.now())})


def _new_upload(call: Call, file: Message, mime_type: str | None, declared: int | None) -> UploadRecord:
    mime_type = field(file, "mimeType") or mime_type or DEFAULT_MIME
    if not is_supported(mime_type):
        raise invalid(f"Unsupported MIME type: {mime_type}")
    record = UploadRecord(
        id=new_upload_id(),
        project=call.project,
        file_id=_wanted_file_id(call, file),
        display_name=_display_name(file),
        mime_type=mime_type,
        declared_bytes=declared,
        created_at=call.emulation.now(),
    )
    check_new_file(call.emulation.limits, declared or 0, call.emulation.store.files(call.project))
    return record


def _display_name(file: Message) -> str:
    name: str = field(file, "displayName", "")
    if len(name) > MAX_NAME_LENGTH:
        raise invalid(f"* CreateFileRequest.file.display_name: cannot be more than {MAX_NAME_LENGTH} characters.")
    return name


def _wanted_file_id(call: Call, file: Message) -> str:
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
        # The client that asks has given up on the connection that was writing.
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
        await _receive(call, part, writer, call.request.stream())
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


async def _receive(call: Call, part: PartFile, writer: int, pieces: AsyncIterable[bytes]) -> None:
    received = part.size()
    try:
        async for piece in pieces:
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
