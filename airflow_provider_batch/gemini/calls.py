"""One script per API call, without I/O: what is sent, what may be repeated, how the answer is read.

Paths follow the published document; the version prefix (``v1beta`` or ``v1``) is the client's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from airflow_provider_batch.errors import ApiUnreachableError, BatchError, ConfigError, SubmitUnknownError
from airflow_provider_batch.gemini import answers
from airflow_provider_batch.gemini.exchange import Answer, Lost, Request, Script
from airflow_provider_batch.gemini.repeats import once, persist, persist_download
from airflow_provider_batch.gemini.wire import Batch, BatchPage, File, FilePage, InlineRequest, Model, ModelPage

_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9.\-]{0,79}")
_RESOURCE_NAME = re.compile(r"(?:files|batches)/[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

BATCH_PAGE_SIZE = 100
"""Always sent: a listing without a page size once came back empty while jobs were pending
(python-genai issue 1250)."""

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
    model: str, display_name: str, *, file_name: str | None = None, requests: Iterable[InlineRequest] = ()
) -> Script[Batch]:
    """Create a paid job from an uploaded file or from inline requests: one POST, never repeated.

    :raises ApiError: A definite no; no job exists.
    :raises ApiUnreachableError: The request did not leave this machine; no job exists.
    :raises SubmitUnknownError: The request may have arrived; a job may exist.
    """
    call = f"create batch {display_name}"
    source: dict[str, Any] = {"fileName": file_name} if file_name else {"requests": {"requests": _rows(requests)}}
    outcome = yield from once(
        Request(
            call,
            "POST",
            f"/{{v}}/{model_path(model)}:batchGenerateContent",
            json_body={"batch": {"displayName": display_name, "inputConfig": source}},
        )
    )
    if isinstance(outcome, Lost) and not outcome.was_sent:
        raise ApiUnreachableError(call=call, reason=outcome.reason, was_sent=False)
    if isinstance(outcome, Answer) and outcome.status in _DEFINITE_REFUSALS and answers.rpc_error(outcome.body):
        raise answers.api_error(call, outcome)
    try:
        return answers.read(Batch, call, outcome)
    except BatchError as error:
        # Whatever kept us from reading a job's name here, the server may have made the job.
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
    request = Request(f"get {name}", "GET", _resource(name))
    return answers.read(Batch, request.call, (yield from persist(request)))


def list_batches(page_token: str = "", page_size: int = BATCH_PAGE_SIZE) -> Script[BatchPage]:
    """One page of the batches of the project, newest first as far as observed."""
    request = Request("list batches", "GET", "/{v}/batches", params=_paging(page_token, page_size))
    return answers.read(BatchPage, request.call, (yield from persist(request)))


def cancel_batch(name: str) -> Script[None]:
    """Ask for cancellation. What the job ends as is known only by getting it afterwards."""
    yield from _expect_ok(Request(f"cancel {name}", "POST", f"{_resource(name)}:cancel", json_body={}))


def delete_batch(name: str) -> Script[None]:
    """Delete a batch. The API's guide says that this also stops its processing."""
    yield from _expect_ok(Request(f"delete {name}", "DELETE", _resource(name)))


def get_file(name: str) -> Script[File]:
    """A file's metadata."""
    request = Request(f"get {name}", "GET", _resource(name))
    return answers.read(File, request.call, (yield from persist(request)))


def list_files(page_token: str = "", page_size: int = BATCH_PAGE_SIZE) -> Script[FilePage]:
    """One page of the project's files."""
    request = Request("list files", "GET", "/{v}/files", params=_paging(page_token, page_size))
    return answers.read(FilePage, request.call, (yield from persist(request)))


def delete_file(name: str) -> Script[None]:
    """Delete a file."""
    yield from _expect_ok(Request(f"delete {name}", "DELETE", _resource(name)))


def download_file(name: str) -> Script[None]:
    """Stream a generated file's bytes into the sink; a cut transfer goes on where it broke off."""
    request = Request(
        f"download {name}",
        "GET",
        f"{_resource(name)}:download",
        params={"alt": "media"},
    )
    answers.expect_ok(request.call, (yield from persist_download(request)))


def get_model(model: str) -> Script[Model]:
    """One model."""
    name = model_path(model)
    request = Request(f"get {name}", "GET", f"/{{v}}/{name}")
    return answers.read(Model, request.call, (yield from persist(request)))


def list_models(page_token: str = "", page_size: int = BATCH_PAGE_SIZE) -> Script[ModelPage]:
    """One page of the models that the credential may use."""
    request = Request("list models", "GET", "/{v}/models", params=_paging(page_token, page_size))
    return answers.read(ModelPage, request.call, (yield from persist(request)))


def _expect_ok(request: Request) -> Script[None]:
    answers.expect_ok(request.call, (yield from persist(request)))


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
