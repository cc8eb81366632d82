"""Reads the API's answers: a wire model, or an error with the facts and the remedy.

Errors carry the HTTP status, the google.rpc status, the server's own message and its retry hint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from airflow_provider_batch.errors import (
    ApiError,
    ApiUnreachableError,
    AuthError,
    NotFoundError,
    ProtocolError,
    QuotaError,
)
from airflow_provider_batch.gemini.client.exchange import ApiAnswer, Lost
from airflow_provider_batch.gemini.client.rpc import detail, retry_hint_s, rpc_error
from airflow_provider_batch.gemini.rows.results import NOT_JSON, without_nulls
from airflow_provider_batch.gemini.wire import Batch, File
from airflow_provider_batch.redaction import blanked

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
N = TypeVar("N", Batch, File)

MAX_DETAIL_CHARS = 600
"""Longest server message that goes into an error. A create can list many bad lines in one message."""

_CREDENTIAL = re.compile(r"(?<=api_key:)[^\s'\"]+|AIza[\w-]{20,}|ya29\.[\w.-]+")

_REMEDIES = {
    400: "Correct the request; sending it again unchanged cannot succeed.",
    401: "Check the credential in the Airflow connection.",
    403: "Check that the connection's credential belongs to the project that owns the file or job. "
    "An uploaded file that is older than 48 h is also answered so.",
    404: "Check the name. Jobs and files are visible to their own project only.",
    429: "Wait for running jobs to finish, use smaller batches, or ask for a higher quota.",
}
_CLASSES: dict[int, type[ApiError]] = {401: AuthError, 403: AuthError, 404: NotFoundError, 429: QuotaError}


def read(model: type[M], call: str, outcome: ApiAnswer | Lost) -> M:
    """Turn the answer to ``call`` into ``model``.

    :raises ApiError: The API answered with an error.
    :raises ApiUnreachableError: There was no answer.
    :raises ProtocolError: The answer is not what the API's reference describes.
    """
    return _valid(model, expect_ok(call, outcome).body, call, outcome)


def read_named(model: type[N], name: str, call: str, outcome: ApiAnswer | Lost) -> N:
    """The same for the resource of this name: what is said of another one must not be taken for it.

    :raises ProtocolError: The answer is of another resource.
    """
    found = read(model, call, outcome)
    if found.name != name:
        raise _unexpected(call, outcome, "it is of another resource")
    return found


def expect_done(call: str, outcome: ApiAnswer | Lost) -> None:
    """Return if the API itself says that something was done: it answers with an empty JSON object.

    A page of a proxy is no proof that a job was asked to end or that a file is gone. Nor is an empty answer.

    :raises BatchError: As :func:`read`.
    """
    fields_of(call, outcome)


def read_page(model: type[M], field: str, call: str, outcome: ApiAnswer | Lost) -> LazyPage[M]:
    """Turn the answer to ``call`` into a page whose items are read one by one, when they are asked for.

    A page of a hundred jobs is thousands of objects. If all are made at once, Python's garbage collector looks
    through all of a triggerer's memory every few pages. That stops the triggerer's event loop for as long as it
    takes.

    :param field: Where the items are.
    :raises BatchError: As :func:`read`. For an item when it is read.
    """
    fields = fields_of(call, outcome)
    try:
        items = _decoded(fields, field, list[msgspec.Raw]) or []
        token = _decoded(fields, "nextPageToken", str) or ""
        left_out = _decoded(fields, "unreachable", list[msgspec.Raw])
    except NOT_JSON as error:
        raise _unexpected(call, outcome, type(error).__name__) from None
    if left_out:
        # google.longrunning.ListOperationsResponse: places whose operations are not in the listing.
        raise _unexpected(call, outcome, f"{len(left_out)} parts of the listing are unreachable")
    if fields and not {field, "nextPageToken", "unreachable"} & fields.keys():
        raise _unexpected(call, outcome, f"there is no {field} in it")
    return LazyPage([bytes(item) for item in items], lambda item: _valid(model, item, call, outcome), token)


def _decoded(fields: Mapping[str, msgspec.Raw], name: str, kind: type[T]) -> T | None:
    return msgspec.json.decode(fields[name], type=kind | None) if name in fields else None


def fields_of(call: str, outcome: ApiAnswer | Lost) -> dict[str, msgspec.Raw]:
    """The fields of a JSON object that is not an error."""
    body = expect_ok(call, outcome).body
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except NOT_JSON as error:
        raise _unexpected(call, outcome, type(error).__name__) from None
    if "error" in fields:
        raise _unexpected(call, outcome, "an error with the status of a success")
    return fields


@dataclass(frozen=True)
class UnreadableEntry:
    """An item of a listing that is not what the API's reference describes.

    :param fields: What it says, as far as that is a JSON object. Else empty.
    """

    fields: Mapping[str, object]
    error: ProtocolError


class LazyPage(Generic[M]):
    """One page of a listing."""

    def __init__(self, items: Sequence[bytes], read_item: Callable[[bytes], M], next_page_token: str) -> None:
        self._items = items
        self._read = read_item
        self.next_page_token = next_page_token

    @property
    def items(self) -> Iterator[M]:
        """What is listed, read anew each time.

        :raises ProtocolError: An item is not what the API's reference describes.
        """
        return map(self._read, self._items)

    @property
    def entries(self) -> Iterator[M | UnreadableEntry]:
        """The same for those whom one bad item must not keep from all that come after it."""
        for item in self._items:
            try:
                entry: M | UnreadableEntry = self._read(item)
            except ProtocolError as error:
                entry = UnreadableEntry(_said(item), error)
            yield entry


def _said(item: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(item, type=dict[str, Any])
    except NOT_JSON:
        return {}


def _valid(model: type[M], body: bytes, call: str, outcome: ApiAnswer | Lost) -> M:
    try:
        return _validated(model, body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise _unexpected(call, outcome, f"{where}: {first['msg']}") from None


def _validated(model: type[M], body: bytes) -> M:
    """A null says the same as a field that is left out. It is looked at only where one is in the way."""
    try:
        return model.model_validate_json(body)
    except ValidationError:
        if b"null" not in body:
            raise
        try:
            bare = without_nulls(msgspec.json.decode(body))
        except NOT_JSON:
            bare = None
        if not isinstance(bare, dict):
            raise
        return model.model_validate_json(msgspec.json.encode(bare))


def expect_ok(call: str, outcome: ApiAnswer | Lost) -> ApiAnswer:
    """Return the answer if it is a success, raise what it is otherwise."""
    if isinstance(outcome, Lost):
        if outcome.is_foreign:
            raise ProtocolError(
                f"Not the API's answer to {call}: {outcome.reason}.",
                code="AGB-A06",
                remedy="Nothing was deleted or sent again. Check for a proxy between this machine and the API.",
            )
        raise ApiUnreachableError(call=call, reason=outcome.reason, was_sent=outcome.was_sent)
    if outcome.status in (200, 201, 204, 206):
        return outcome
    raise_error(call, outcome)


def raise_error(call: str, answer: ApiAnswer) -> NoReturn:
    """Raise the error that the answer is."""
    if 300 <= answer.status < 400:
        raise ProtocolError(
            f"The server answered {call} with a redirect ({answer.status}), which is refused because the "
            "credential must not reach another host.",
            code="AGB-A08",
            remedy="Set the host of the connection to the API's own address.",
        )
    raise api_error(call, answer)


def api_error(call: str, answer: ApiAnswer) -> ApiError:
    """The typed error for an answer outside 2xx and 3xx."""
    error = rpc_error(answer.body) or {}
    reason = str(detail(error, "ErrorInfo").get("reason", ""))
    bad_key = reason == "API_KEY_INVALID"
    kind = AuthError if bad_key else _CLASSES.get(answer.status, ApiError)
    remedy = _REMEDIES[401] if bad_key else _REMEDIES.get(answer.status, "")
    return kind(
        call=call,
        http_status=answer.status,
        rpc_status=str(error.get("status", "")),
        detail=_shown(str(error.get("message", ""))),
        reason=reason,
        retry_after_s=retry_hint_s(answer),
        remedy=remedy,
    )


def _shown(text: str) -> str:
    """The server's message, short and without a credential: the API names a suspended key in full."""
    # Before it is cut: half a credential is no longer known by its own text.
    text = _CREDENTIAL.sub("***", blanked(text))
    return text if len(text) <= MAX_DETAIL_CHARS else f"{text[:MAX_DETAIL_CHARS]}… (shortened)"


def _unexpected(call: str, outcome: ApiAnswer | Lost, what: str) -> ProtocolError:
    kind = outcome.headers.get("content-type", "no content type") if isinstance(outcome, ApiAnswer) else "nothing"
    return ProtocolError(
        f"Expected the API's JSON in answer to {call}, got {kind} ({what}).",
        code="AGB-A01",
        remedy="Check the connection's host: a captive proxy answers like this.",
    )
