"""What every call has at hand: the state, the faults, the journal and the worker of one server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_batch.emulator.answers.schema_check import RowError, check_message
from airflow_provider_batch.emulator.answers.single import SingleAnswers
from airflow_provider_batch.emulator.faults import FaultPlan
from airflow_provider_batch.emulator.state.alarms import Alarms
from airflow_provider_batch.emulator.state.deliveries import Deliveries
from airflow_provider_batch.emulator.state.journal import Journal
from airflow_provider_batch.emulator.state.limits import Limits
from airflow_provider_batch.emulator.state.rates import Rates
from airflow_provider_batch.emulator.state.store import Store
from airflow_provider_batch.emulator.state.uploads import PartFiles
from airflow_provider_batch.emulator.state.worker import Worker
from airflow_provider_batch.emulator.wire.errors import invalid
from airflow_provider_batch.emulator.wire.relaxed_json import decode_relaxed

# The documented limit of a request body. Uploads do not pass here.
MAX_BODY_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True)
class Emulation:
    """The parts of one running server.

    :ivar call_seconds: how long a single call of the standard tier takes, on the emulator's clock.
    """

    store: Store
    journal: Journal
    faults: FaultPlan
    parts: PartFiles
    worker: Worker
    deliveries: Deliveries
    answers: SingleAnswers
    alarms: Alarms
    rates: Rates
    keys: Mapping[str, str]
    job_seconds: float
    call_seconds: float
    limits: Limits

    def now(self) -> float:
        """Return the time on the emulator's clock."""
        return self.store.clock.now()


@dataclass(frozen=True)
class Call:
    """One call that passed the gate.

    :ivar behind_s: how much older than the clock the answer of a listing is, by a fault.
    """

    request: Request
    project: str
    emulation: Emulation
    behind_s: float = 0.0

    @property
    def base_url(self) -> str:
        """Scheme and host as the client wrote them: URLs in replies must lead back here."""
        url = self.request.url
        return f"{url.scheme}://{url.netloc}"

    def listed_at(self) -> float:
        """Return the point in time that a listing shows."""
        return self.emulation.now() - self.behind_s

    def parameter(self, name: str) -> str:
        """Return a part of the path."""
        found: str = self.request.path_params[name]
        return found

    def accept(self, call: str, **facts: object) -> None:
        """Note in the journal what was just made true on disk."""
        self.emulation.journal.accept(call, self.project, **facts)

    async def json(self, type_name: str | None) -> dict[str, object]:
        """Read the body. An empty one is an empty message.

        :param type_name: the published type of the message, None for one that has not been published.
        :raises ApiError: too large, not JSON, or not a message of this type.
        """
        too_large = invalid(f"Request payload size exceeds the limit: {MAX_BODY_BYTES} bytes.")
        # An honest client is refused before its body is in memory.
        if (number(self.request.headers.get("content-length", "")) or 0) > MAX_BODY_BYTES:
            raise too_large
        body = await self.request.body()
        if len(body) > MAX_BODY_BYTES:
            raise too_large
        return message_in(body, type_name)


def message_in(body: bytes, type_name: str | None) -> dict[str, object]:
    """Read a message. Nothing is an empty one. See ``Call.json``.

    :raises ApiError: not JSON, or not a message of this type.
    """
    try:
        message = _decode(body or b"{}")
        if type_name is not None:
            check_message(type_name, message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RowError) as problem:
        raise invalid(f"Invalid JSON payload received. {problem}") from None
    return message


def _decode(body: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as strict:
        try:
            return decode_relaxed(body.decode())
        except msgspec.DecodeError:
            raise strict from None


def reply(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON."""
    body = msgspec.json.encode(content)
    return Response(body, status, headers=headers, media_type="application/json; charset=UTF-8")


def number(text: str) -> int | None:
    """Read a natural number of a header or a query, None if the text is not one."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def page_size(call: Call, default: int, maximum: int) -> int:
    """Read ``pageSize``. Zero and absence mean the default.

    :raises ApiError: not a number, or negative.
    """
    text = call.request.query_params.get("pageSize") or call.request.query_params.get("page_size") or "0"
    size = number(text)
    if size is None:
        raise invalid(f"Invalid value at 'page_size': {text}")
    return min(size or default, maximum)
