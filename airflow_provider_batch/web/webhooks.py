"""Takes the deliveries of the API's webhooks, inside Airflow's API server, from any client that can reach it.

Nothing is believed without a valid signature, and what is believed only makes a triggerer look sooner. At any time
all deliveries that are not believed get the same answer. So no answer tells which connections exist or take
webhooks. The time of an answer can tell. A name that was not asked for within the last minute is looked up first.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.gemini.webhooks import WebhookEvent, WebhookReceiver, WebhookRejectedError

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
"""A delivery is a few hundred bytes."""

BODY_TIMEOUT_S = 10.0

BELIEVE_S = 60.0
"""For how long a connection's secret is remembered, and that it has none, seconds."""

MAX_CONNECTIONS = 1000
"""Names that are remembered. Any client can make them up."""

LOOKUPS = 4
"""Names that are looked up at the same time. A delivery beyond that is to come again."""

PAUSE_S = 1.0
"""Between two writes for a connection, seconds."""

TELL_EVERY_S = 60.0
"""Between log lines of a kind, seconds."""

CONN_ID = re.compile(r"[\w.-]{1,250}", re.ASCII)
"""Of connections that can take webhooks: what strangers may hand to a secrets backend."""

SecretOf = Callable[[str], str]
"""The webhook secret of a connection, empty if it has none or does not exist. Called in a thread."""

Write = Callable[[str, Collection[str]], None]
"""Notes for a connection that something happened to these jobs. Called in a thread, once at a time for each."""


class _BusyError(Exception):
    pass


class _TooLargeError(Exception):
    pass


def create_app(
    secret_of: SecretOf,
    write: Write,
    clock: Callable[[], float] = time.monotonic,
    body_timeout_s: float = BODY_TIMEOUT_S,
) -> Starlette:
    """The application. It has one route, ``POST /webhooks/{conn_id}``.

    :param clock: Seconds that never go back.
    :param body_timeout_s: In which a delivery has to be here.
    """
    door = _Door(_Secrets(secret_of, clock), _Notes(write), body_timeout_s)
    return Starlette(routes=[Route("/webhooks/{conn_id}", door.answer, methods=["POST"])])


class _Door:
    def __init__(self, secrets: _Secrets, notes: _Notes, body_timeout_s: float) -> None:
        self._secrets = secrets
        self._notes = notes
        self._body_timeout_s = body_timeout_s
        self._log = _Seldom()

    async def answer(self, request: Request) -> Response:
        try:
            body = await asyncio.wait_for(_body(request), self._body_timeout_s)
            is_believed = await self._take(request, body)
        except _TooLargeError:
            return PlainTextResponse("too large", 413)
        except _BusyError:
            return _busy()
        except (ClientDisconnect, asyncio.TimeoutError):
            is_believed = False
        if is_believed:
            return Response(status_code=204)
        # While names cannot be looked up, an answer must not tell which of them are known already.
        return _busy() if self._secrets.is_busy else PlainTextResponse("rejected", 400)

    async def _take(self, request: Request, body: bytes) -> bool:
        conn_id = str(request.path_params["conn_id"])
        receiver = await self._secrets.receiver(conn_id)
        if receiver is None:
            return False
        try:
            event = receiver.accept(request.headers, body, time.time())
        except WebhookRejectedError as error:
            self._log.warning(conn_id, "Connection %s: %s", conn_id, error)
            return False
        # A repeated one is taken and forgotten, and so is one about something else than batches.
        if event is not None and event.type.startswith("batch."):
            self._notes.add(conn_id, _job(event))
        return True


def _busy() -> Response:
    return PlainTextResponse("busy", 503, {"Retry-After": "60"})


async def _body(request: Request) -> bytes:
    """The body, which is given up as soon as it is known to be too large."""
    declared = request.headers.get("content-length", "0")
    # Python refuses to turn very long numbers into one.
    if not declared.isdecimal() or len(declared) > 9 or int(declared) > MAX_BODY_BYTES:
        raise _TooLargeError
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _TooLargeError
    return bytes(body)


def _job(event: WebhookEvent) -> str:
    name = event.data.get("id")
    return name if isinstance(name, str) else ""


@dataclass
class _Known:
    secret: str
    receiver: WebhookReceiver | None
    until: float


class _Secrets:
    """Who may be believed. A flood of made-up names costs few lookups at a time, and keeps no other sender out."""

    def __init__(self, secret_of: SecretOf, clock: Callable[[], float]) -> None:
        self._secret_of = secret_of
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._lookups = 0
        self._failing_until = -math.inf
        self._log = _Seldom()

    @property
    def is_busy(self) -> bool:
        """Too much is looked up now for one more name, or a look-up failed within the last minute."""
        return self._is_full or self._clock() < self._failing_until

    @property
    def _is_full(self) -> bool:
        return self._lookups >= LOOKUPS

    async def receiver(self, conn_id: str) -> WebhookReceiver | None:
        """Who checks the deliveries for a connection, None if it takes none.

        :raises _BusyError: It cannot be said now.
        """
        if not CONN_ID.fullmatch(conn_id):
            return None
        known = self._known.get(conn_id)
        if known is not None and self._clock() < known.until:
            return known.receiver
        has_secret = known is not None and known.receiver is not None
        if known is not None:
            # A delivery that comes while it is looked up again is served with what is known.
            known.until = self._clock() + BELIEVE_S
        if not has_secret and self._is_full:
            raise _BusyError
        self._lookups += 1
        try:
            secret = await asyncio.to_thread(self._secret_of, conn_id)
        except Exception as error:  # noqa: BLE001
            # Secrets backends raise anything. The text of it could hold a credential.
            self._log.warning(conn_id, "Connection %s cannot be looked up (%s).", conn_id, type(error).__name__)
            self._failing_until = self._clock() + BELIEVE_S
            if known is not None:
                known.until = -math.inf
            raise _BusyError from None
        finally:
            self._lookups -= 1
        return self._learn(conn_id, secret)

    def _learn(self, conn_id: str, secret: str) -> WebhookReceiver | None:
        known = self._known.pop(conn_id, None)
        if known is None or known.secret != secret:
            known = _Known(secret, self._checking(conn_id, secret), 0.0)
        known.until = self._clock() + BELIEVE_S
        self._known[conn_id] = known
        if len(self._known) > MAX_CONNECTIONS:
            # Those without a secret first: the others are few, and remember what they have seen.
            made_up = (name for name, other in self._known.items() if other.receiver is None)
            del self._known[next(made_up, next(iter(self._known)))]
        return known.receiver

    def _checking(self, conn_id: str, secret: str) -> WebhookReceiver | None:
        if not secret:
            return None
        try:
            return WebhookReceiver(secret)
        except ConfigError as error:
            self._log.warning(conn_id, "Connection %s takes no webhooks: %s", conn_id, error)
            return None


class _Notes:
    """Writes down what was delivered, at most once a second for each connection. What comes between goes along."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: dict[str, set[str]] = {}
        self._writers: dict[str, asyncio.Task[None]] = {}

    def add(self, conn_id: str, job: str) -> None:
        """Have it written soon."""
        self._waiting.setdefault(conn_id, set()).add(job)
        if conn_id not in self._writers:
            self._writers[conn_id] = asyncio.create_task(self._write_all(conn_id))

    async def _write_all(self, conn_id: str) -> None:
        try:
            while jobs := self._waiting.pop(conn_id, None):
                try:
                    await asyncio.to_thread(self._write, conn_id, jobs)
                except Exception as error:  # noqa: BLE001
                    # The database is away: the triggerer's own looks will find what happened.
                    log.warning("A webhook for %s was not noted (%s).", conn_id, type(error).__name__)
                await asyncio.sleep(PAUSE_S)
        finally:
            del self._writers[conn_id]


@dataclass
class _Seldom:
    """A log that strangers cannot fill."""

    _next: dict[str, float] = field(default_factory=dict)

    def warning(self, kind: str, text: str, *arguments: object) -> None:
        now = time.monotonic()
        if now < self._next.get(kind, 0.0):
            return
        if len(self._next) >= MAX_CONNECTIONS:
            del self._next[next(iter(self._next))]
        self._next[kind] = now + TELL_EVERY_S
        log.warning(text, *arguments)
