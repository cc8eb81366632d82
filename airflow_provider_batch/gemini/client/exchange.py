"""What a call looks like before it meets a network: requests, answers, and the script of a call.

A *script* is a generator. It yields what should happen next and is sent what came of it. It may yield: send this
request, wait, read this block of the upload, stream this body to disk. All protocol logic, repeats included, lives
in scripts. So the logic needs no network to be tested and exists once for the sync and the async client.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Largest JSON answer that is read, bytes. Control plane answers are KiB. Only inline results come near."""


@dataclass(frozen=True)
class ApiRequest:
    """One HTTP request.

    :param call: Words for messages, such as ``get batches/abc``. Never holds a credential.
    :param url: A path with ``{v}`` for the API version, or an absolute URL of the same origin (upload sessions).
    :param json_body: JSON body, or None.
    :param content: Raw body, or None.
    :param with_credentials: False for the chunks of an upload, whose session URL is the credential.
    :param timeout_s: How long the answer may let us wait, seconds. None = as long as that of any call.
    :param max_bytes: The largest answer that is read, bytes.
    """

    call: str
    method: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json_body: Mapping[str, object] | None = None
    content: bytes | None = field(default=None, repr=False)
    with_credentials: bool = True
    timeout_s: float | None = None
    max_bytes: int = MAX_JSON_BYTES


@dataclass(frozen=True)
class Download:
    """A request whose body goes to the sink of the client's call, not into memory.

    :param from_byte: Ask for the body from here on, and write from here in the sink.
    """

    request: ApiRequest
    from_byte: int = 0


@dataclass(frozen=True)
class Pause:
    """Wait so many seconds. The client replies with the seconds since the call began, this wait included."""

    seconds: float


@dataclass(frozen=True)
class ReadBlock:
    """Read so many bytes of the upload's source from this offset."""

    offset: int
    size: int


@dataclass(frozen=True)
class ApiAnswer:
    """An HTTP answer. ``body`` is empty for a download whose bytes went to the sink.

    :param received: Bytes of a download's body that the sink holds now, counted from the body's start.
    :param total: Length of the whole body of a download in bytes, None if the server does not say.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    received: int = 0
    total: int | None = None


@dataclass(frozen=True)
class Lost:
    """No complete answer.

    :param was_sent: False only if it is certain that no byte of the request left this machine.
    :param received: Bytes of a download's body that the sink holds now, counted from the body's start.
    :param total: Length of the whole body of a download in bytes, None if the server did not say.
    :param is_foreign: Something answered, and not with what was asked for: a page of a proxy, another range.
    """

    reason: str
    was_sent: bool = True
    received: int = 0
    total: int | None = None
    is_foreign: bool = False


Act = ApiRequest | Download | ReadBlock
Step = Act | Pause
Reply = ApiAnswer | Lost | bytes | float | None
Script = Generator[Step, Reply, T]
