"""Files: get, list, delete and download."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import FileResponse, Response

from airflow_provider_batch.emulator.state.records import FileRecord
from airflow_provider_batch.emulator.wire.context import Call, reply
from airflow_provider_batch.emulator.wire.errors import file_not_visible, invalid
from airflow_provider_batch.emulator.wire.json import file_json
from airflow_provider_batch.emulator.wire.paging import page_of

MAX_FILE_ID_LENGTH = 40


async def get_file(call: Call) -> Response:
    """Return a file's record."""
    return reply(file_json(_visible_file(call), call.base_url, call.emulation.now()))


async def list_files(call: Call) -> Response:
    """Return a page of files, newest first."""
    now = call.listed_at()
    page, token = page_of(call, call.emulation.store.files(call.project, now), default=10, maximum=100)
    listed: dict[str, object] = {}
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
    # Each piece costs a hop to a thread and back. The default of 64 KiB halves the speed.
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
