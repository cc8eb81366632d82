"""Files in a request's ``fileData``: put into the row if they are small, else marked for the upload."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

import msgspec

from airflow_provider_batch.gemini.limits import LIMITS
from airflow_provider_batch.gemini.rows.checks import is_address
from airflow_provider_batch.rows.dialect import BadRowError
from airflow_provider_batch.rows.media import CODE, MediaFile, MediaFolder
from airflow_provider_batch.rows.read.strict_json import parse_row

Address = Callable[[MediaFile, str], str]
"""From a file and its media type to where the API has it."""

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".wav": "audio/wav",
    ".mp3": "audio/mp3",
    ".aiff": "audio/aiff",
    ".aac": "audio/aac",
    ".ogg": "audio/ogg",
    ".flac": "audio/flac",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpg",
    ".mov": "video/mov",
    ".avi": "video/avi",
    ".flv": "video/x-flv",
    ".webm": "video/webm",
    ".wmv": "video/wmv",
    ".3gp": "video/3gpp",
    ".3gpp": "video/3gpp",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".md": "text/md",
    ".html": "text/html",
    ".css": "text/css",
    ".csv": "text/csv",
    ".xml": "text/xml",
    ".rtf": "text/rtf",
}
"""By the ending of the name. The types that the API documents for images, sound, video and documents."""


class RowFiles:
    """Finds the files that request lines name.

    :param folder: Where they are.
    """

    def __init__(self, folder: MediaFolder) -> None:
        self._folder = folder

    def line(self, line: bytes) -> bytes:
        """A request line whose files are in it, or are named with the digest of their content.

        :raises BadRowError: A file is not there, lies elsewhere, or its type was not said.
        """
        if not _may_name_files(line):
            return line
        row = parse_row(line)
        try:
            changed = [part for part in _file_parts(row) if self._take(part)]
        except BadRowError as bad:
            key = row.get("key")
            bad.key = key if isinstance(key, str) else None
            raise
        return msgspec.json.encode(row) if changed else line

    def _take(self, part: dict[str, object]) -> bool:
        """Find the file of a part. False if it names none of the folder."""
        name, data = _file_data(part)
        uri = _uri(data)
        if not isinstance(uri, str) or not uri or is_address(uri):
            return False
        path = self._folder.relative(uri)
        kind = data.get("mimeType") or data.get("mime_type") or media_type(path)
        content = self._folder.content(path, LIMITS.file_bytes)
        del part[name]
        if content.data is not None:
            part["inlineData"] = {"mimeType": kind, "data": base64.b64encode(content.data).decode()}
        else:
            part["fileData"] = {"mimeType": kind, "fileUri": str(MediaFile(path, content.sha256))}
        return True


def media_type(path: str) -> str:
    """The media type of a file by its name.

    :raises BadRowError: It has an ending that the API does not document.
    """
    ending = PurePosixPath(path).suffix.lower()
    if ending not in MEDIA_TYPES:
        raise BadRowError(
            CODE, f"the type of {ascii(path)[:120]} is not known. Set fileData.mimeType, as in image/png"
        )
    return MEDIA_TYPES[ending]


def with_addresses(line: bytes, address: Address) -> bytes:
    """A checked request line with the API's addresses in place of the names of files."""
    if not _may_name_files(line):
        return line
    row = msgspec.json.decode(line)
    changed = False
    for part in _file_parts(row):
        _, data = _file_data(part)
        reference = MediaFile.parse(str(_uri(data)))
        if reference is not None:
            data["fileUri"] = address(reference, data["mimeType"])
            changed = True
    return msgspec.json.encode(row) if changed else line


def _may_name_files(line: bytes) -> bool:
    """A name may be written with escapes, so a line that has some is looked at as well."""
    return b'"fileUri"' in line or b'"file_uri"' in line or b"\\u" in line


def _file_parts(row: object) -> Iterator[dict[str, object]]:
    """Parts with ``fileData``, wherever a request may have parts, even if the row is wrong otherwise."""
    request = row.get("request") if isinstance(row, dict) else None
    if not isinstance(request, dict):
        return
    contents = request.get("contents")
    others = [request.get(name) for name in ("content", "systemInstruction", "system_instruction")]
    for content in [*(contents if isinstance(contents, list) else []), *others]:
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else []:
            if isinstance(part, dict) and isinstance(_file_data(part)[1], dict):
                yield part


def _file_data(part: dict[str, object]) -> tuple[str, Any]:
    name = "fileData" if "fileData" in part else "file_data"
    return name, part.get(name)


def _uri(data: dict[str, object]) -> object:
    return data.get("fileUri") or data.get("file_uri")
