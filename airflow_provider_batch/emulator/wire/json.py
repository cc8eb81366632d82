"""Reading and writing the API's JSON: both casings in, lowerCamelCase out, int64 as strings.

Zero and empty fields are left out, as in the published captures: a client must not count on them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_batch.emulator.state.lifecycle import JobView
from airflow_provider_batch.emulator.state.records import BatchRecord, FileRecord, timestamp

# Published captures say v1main, although the path says v1beta.
_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main."
_BATCH_TYPES = {"generate": "GenerateContentBatch", "embed": "EmbedContentBatch"}


Message = dict[str, Any]
"""A message of the API as JSON, or a part of one. What a field holds is looked at where it is read."""


def snake_case(name: str) -> str:
    """Return the other spelling of a lowerCamelCase field."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def camel_case(name: str) -> str:
    """Return the lowerCamelCase spelling of a field. A name that has it already is unchanged."""
    first, *others = name.split("_")
    if not first:
        return name
    return first + "".join(part[:1].upper() + part[1:] for part in others)


def field(message: Mapping[str, object], name: str, default: object = None) -> Any:
    """Read a field in either casing. Explicit null counts as absent."""
    found = message.get(name)
    if found is None:
        found = message.get(snake_case(name))
    return default if found is None else found


def repeated(message: Mapping[str, object], name: str) -> list[Any]:
    """Read a repeated field. A single value counts as a list of one, as some of the guide's samples have it."""
    found = field(message, name, [])
    return found if isinstance(found, list) else [found]


def file_json(file: FileRecord, base_url: str, now: float) -> dict[str, object]:
    """Return the File resource.

    :param base_url: scheme and host of the request, for ``uri`` and ``downloadUri``.
    """
    written: dict[str, object] = {
        "name": file.name,
        "displayName": file.display_name,
        "mimeType": file.mime_type,
        "sizeBytes": str(file.size_bytes),
        "createTime": timestamp(file.created_at),
        "updateTime": timestamp(file.created_at),
        "expirationTime": timestamp(file.expires_at),
        # A bytes field, so base64. It was seen in the wild as base64 of the hexadecimal text.
        "sha256Hash": base64.b64encode(file.sha256.encode()).decode(),
        "uri": f"{base_url}/v1beta/{file.name}",
        "state": "ACTIVE" if now >= file.active_at else "PROCESSING",
        "source": file.source,
    }
    if file.source == "GENERATED":
        written["downloadUri"] = f"{base_url}/v1beta/{file.name}:download?alt=media"
    return {name: value for name, value in written.items() if value != ""}


def operation_json(batch: BatchRecord, view: JobView, output: dict[str, object] | None) -> dict[str, object]:
    """Return the Operation of a batch.

    :param output: ``responsesFile`` or ``inlinedResponses``. It is sent twice, in the metadata and in the
        response, because clients read the one or the other.
    """
    metadata = _metadata(batch, view)
    if output is not None:
        metadata["output"] = output
    operation: dict[str, object] = {"name": batch.name, "metadata": metadata}
    if view.done:
        operation["done"] = True
    if view.error is not None:
        operation["error"] = view.error
    elif output is not None:
        type_name = f"{_TYPE}{_BATCH_TYPES[batch.kind]}Output"
        operation["response"] = {"@type": type_name, **output}
    return operation


def _metadata(batch: BatchRecord, view: JobView) -> dict[str, object]:
    metadata: dict[str, object] = {
        "@type": _TYPE + _BATCH_TYPES[batch.kind],
        "model": batch.model,
        "displayName": batch.display_name,
        "inputConfig": {"fileName": batch.input_file} if batch.input_file else None,
        "createTime": timestamp(batch.created_at),
        "endTime": timestamp(view.ended_at) if view.ended_at is not None else None,
        "updateTime": timestamp(view.updated_at),
        "batchStats": _stats(batch, view),
        "state": view.state,
        "name": batch.name,
        "priority": batch.priority if batch.priority != "0" else None,
    }
    return {name: value for name, value in metadata.items() if value}


def _stats(batch: BatchRecord, view: JobView) -> dict[str, str]:
    counts = {
        "requestCount": batch.rows,
        "successfulRequestCount": view.succeeded,
        "failedRequestCount": view.failed,
        "pendingRequestCount": view.pending,
    }
    return {name: str(count) for name, count in counts.items() if count}
