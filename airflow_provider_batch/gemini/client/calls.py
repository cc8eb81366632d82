"""One script per API call, without I/O: what is sent, what may be repeated, how the answer is read.

Paths follow the published document. The version prefix (``v1beta`` or ``v1``) is the client's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow_provider_batch.errors import (
    ApiUnreachableError,
    BatchError,
    ConfigError,
    FileNotReadyError,
    ProtocolError,
    SubmitUnknownError,
)
from airflow_provider_batch.gemini.client import answers
from airflow_provider_batch.gemini.client.exchange import ApiAnswer, ApiRequest, Lost, Script
from airflow_provider_batch.gemini.client.repeats import once, pause, persist, persist_delete, persist_download
from airflow_provider_batch.gemini.client.rpc import rpc_error
from airflow_provider_batch.gemini.wire import (
    Batch,
    File,
    FilePage,
    InlineRequest,
    Model,
    ModelPage,
    TokenCount,
)

_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9.\-]{0,79}")
_RESOURCE_NAME = re.compile(r"(?:files|batches)/[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

PAGE_SIZE = 100
"""Always sent: a listing without a page size once came back empty while jobs were pending
(python-genai issue 1250)."""

FILE_LOOK_S = 2.0
"""Seconds between looks at a file that the server still processes."""

_DEFINITE_REFUSALS = frozenset({400, 401, 403, 404, 429})
"""Create answers that mean no job exists, if they carry the API's own error body. Anything else is unknown."""


def model_path(model: str) -> str:
    """``models/{model}`` for a model given with or without that prefix.

    :raises ConfigError: The name cannot be a model name.
    """
    name = model.removeprefix("models/")
    if not _MODEL_NAME.fullmatch(name):
        raise ConfigError(
            f"{model!r} is not a model name.",
            code="AGB-C05",
            remedy="Use a name such as gemini-2.5-flash: lowercase letters, digits, dots and dashes.",
        )
    return f"models/{name}"


def create_batch(
    model: str,
    display_name: str,
    *,
    file_name: str | None = None,
    requests: Iterable[InlineRequest] = (),
    priority: int = 0,
    embeddings: bool = False,
) -> Script[Batch]:
    """Create a paid job from an uploaded file or from inline requests: one POST, never repeated.

    :param priority: Jobs of the project with a higher one go first. May be negative.
    :param embeddings: The rows are EmbedContentRequests.
    :raises ApiError: A definite no. No job exists.
    :raises ApiUnreachableError: The request did not leave this machine. No job exists.
    :raises SubmitUnknownError: The request may have arrived. A job may exist.
    """
    call = f"create batch {display_name}"
    source: dict[str, Any] = {"fileName": file_name} if file_name else {"requests": {"requests": _rows(requests)}}
    batch: dict[str, Any] = {"displayName": display_name, "inputConfig": source}
    if priority:
        batch["priority"] = str(priority)
    verb = "asyncBatchEmbedContent" if embeddings else "batchGenerateContent"
    outcome = yield from once(
        ApiRequest(call, "POST", f"/{{v}}/{model_path(model)}:{verb}", json_body={"batch": batch})
    )
    if isinstance(outcome, Lost) and not outcome.was_sent:
        raise ApiUnreachableError(call=call, reason=outcome.reason, was_sent=False)
    if isinstance(outcome, ApiAnswer) and outcome.status in _DEFINITE_REFUSALS and rpc_error(outcome.body):
        raise answers.api_error(call, outcome)
    try:
        created = answers.read(Batch, call, outcome)
        if created.metadata.display_name not in ("", display_name):
            raise ProtocolError(f"the answer is of another job, {created.name}", code="AGB-A01")
        return created
    except BatchError as error:
        # The server may have made the job, even though its name could not be read here.
        raise SubmitUnknownError(
            f"Whether the job exists is unknown: {error}",
            display_name=display_name,
            code="AGB-S04",
            remedy="List the batches and look for this display name before sending anything again.",
        ) from error


def _rows(requests: Iterable[InlineRequest]) -> list[dict[str, Any]]:
    return [{"request": row.request, "metadata": {"key": row.key}} for row in requests]


def get_batch(name: str) -> Script[Batch]:
    """One batch. Raises :class:`NotFoundError` for one that is not visible."""
    request = ApiRequest(f"get {name}", "GET", _resource(name))
    return answers.read_named(Batch, name, request.call, (yield from persist(request)))


def list_batches(page_token: str = "", page_size: int = PAGE_SIZE) -> Script[answers.LazyPage[Batch]]:
    """One page of the batches of the project, newest first as far as observed."""
    request = ApiRequest("list batches", "GET", "/{v}/batches", params=_paging(page_token, page_size))
    return answers.read_page(Batch, "operations", request.call, (yield from persist(request)))


def cancel_batch(name: str) -> Script[None]:
    """Ask for cancellation. What the job ends as is known only by getting it afterwards."""
    request = ApiRequest(f"cancel {name}", "POST", f"{_resource(name)}:cancel", json_body={})
    answers.expect_done(request.call, (yield from persist(request)))


def update_batch(
    name: str, *, display_name: str | None = None, priority: int | None = None, embeddings: bool = False
) -> Script[Batch]:
    """Change what may be changed of a job. An argument that is None changes nothing."""
    values = {"displayName": display_name, "priority": None if priority is None else str(priority)}
    changes = {field: value for field, value in values.items() if value is not None}
    verb = "updateEmbedContentBatch" if embeddings else "updateGenerateContentBatch"
    request = ApiRequest(
        f"update {name}",
        "PATCH",
        f"{_resource(name)}:{verb}",
        params={"updateMask": ",".join(changes)},
        json_body=changes,
    )
    return answers.read(Batch, request.call, (yield from persist(request)))


def delete_batch(name: str) -> Script[None]:
    """Delete a batch. The API's guide says that this also stops its processing."""
    yield from _delete(name)


def get_file(name: str) -> Script[File]:
    """A file's metadata."""
    request = ApiRequest(f"get {name}", "GET", _resource(name))
    return answers.read_named(File, name, request.call, (yield from persist(request)))


def list_files(page_token: str = "", page_size: int = PAGE_SIZE) -> Script[FilePage]:
    """One page of the project's files."""
    request = ApiRequest("list files", "GET", "/{v}/files", params=_paging(page_token, page_size))
    return answers.read(FilePage, request.call, (yield from persist(request)))


def delete_file(name: str) -> Script[None]:
    """Delete a file."""
    yield from _delete(name)


def wait_for_file(name: str, timeout_s: float) -> Script[File]:
    """Look at an uploaded file until it may be used.

    :raises FileNotReadyError: The server could not process it, or not in time.
    """
    elapsed = 0.0
    while True:
        file = yield from get_file(name)
        if file.state in ("ACTIVE", ""):
            return file
        if file.state == "FAILED" or elapsed >= timeout_s:
            reason = file.error.message if file.error else f"it is {file.state} after {elapsed:.0f} s"
            raise FileNotReadyError(
                f"The uploaded file {name} cannot be used: {reason}.",
                file_name=name,
                code="AGB-A11",
                remedy="Nothing was spent. Run the task again: an upload costs nothing.",
            )
        elapsed = yield from pause(FILE_LOOK_S)


def download_file(name: str, from_byte: int = 0) -> Script[None]:
    """Stream a generated file's bytes into the sink. A cut transfer goes on where it broke off."""
    request = ApiRequest(
        f"download {name}",
        "GET",
        f"{_resource(name)}:download",
        params={"alt": "media"},
    )
    answers.expect_ok(request.call, (yield from persist_download(request, from_byte)))


def count_tokens(model: str, request: Mapping[str, Any]) -> Script[TokenCount]:
    """Tokens of a GenerateContentRequest as the model counts them. Free of charge, says the API's guide."""
    name = model_path(model)
    body = {"generateContentRequest": {"model": name, **request}}
    count = ApiRequest(f"count tokens for {name}", "POST", f"/{{v}}/{name}:countTokens", json_body=body)
    return answers.read(TokenCount, count.call, (yield from persist(count)))


def get_model(model: str) -> Script[Model]:
    """One model."""
    name = model_path(model)
    request = ApiRequest(f"get {name}", "GET", f"/{{v}}/{name}")
    return answers.read(Model, request.call, (yield from persist(request)))


def list_models(page_token: str = "", page_size: int = PAGE_SIZE) -> Script[ModelPage]:
    """One page of the models that the credential may use."""
    request = ApiRequest("list models", "GET", "/{v}/models", params=_paging(page_token, page_size))
    return answers.read(ModelPage, request.call, (yield from persist(request)))


def _delete(name: str) -> Script[None]:
    request = ApiRequest(f"delete {name}", "DELETE", _resource(name))
    answers.expect_done(request.call, (yield from persist_delete(request)))


def _paging(page_token: str, page_size: int) -> dict[str, str]:
    return {"pageSize": str(page_size)} | ({"pageToken": page_token} if page_token else {})


def _resource(name: str) -> str:
    """The name as a path, after a check that it cannot lead anywhere else."""
    if not _RESOURCE_NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not the name of a batch or file.",
            code="AGB-A02",
            remedy="Names look like batches/abc123 or files/abc123.",
        )
    return f"/{{v}}/{name}"
