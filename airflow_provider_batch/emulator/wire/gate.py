"""What every call of the API passes: identification, scripted faults, refusals, the journal.

Written against ASGI itself: dropping a connection, or cutting a body short, is below what a
response object can say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Message, Receive, Scope, Send

from airflow_provider_batch.emulator.faults import Fault
from airflow_provider_batch.emulator.state.records import Tier
from airflow_provider_batch.emulator.wire.auth import project_of
from airflow_provider_batch.emulator.wire.context import Call, Emulation, reply
from airflow_provider_batch.emulator.wire.errors import ApiError
from airflow_provider_batch.emulator.wire.tiers import asked_tier

Handler = Callable[[Call], Awaitable[Response]]
Namer = Callable[[Request], "tuple[str, ...]"]

_HTML = "<!doctype html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"


class Connections(Protocol):
    """The open connections of the server."""

    def close(self, client: object, *, now: bool) -> None:
        """Close the connection of a client address. ``now`` discards what is still to be sent."""


class Gate:
    """One route of the API.

    :param names: the name of the call, or a function that reads it from the request.
    """

    def __init__(
        self, emulation: Emulation, handler: Handler, names: str | Namer, connections: Connections
    ) -> None:
        self._emulation = emulation
        self._handler = handler
        self._names = names
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        names = (self._names,) if isinstance(self._names, str) else self._names(Request(scope))
        wire = _Wire(scope, receive, send, self._connections)
        wire.noted = lambda status: self._emulation.journal.request(
            scope["method"], scope["path"], names[0], status
        )
        await self._serve(wire, names)

    async def _serve(self, wire: _Wire, names: tuple[str, ...]) -> None:
        request = Request(wire.scope, wire.receive)
        try:
            project = self._project(request, names[0])
        except ApiError as refusal:
            await wire.answer(reply(refusal.body(), refusal.status))
            return
        tier = await self._tier(Call(request, project, self._emulation), names)
        faults = self._emulation.faults.strike(*names, tier=tier)
        for fault in faults:
            if await _strikes_before(fault, wire):
                return
        behind_s = sum(fault.seconds for fault in faults if fault.action == "stale")
        lost = next((fault for fault in faults if fault.action.startswith("accept_then")), None)
        if any(fault.action == "duplicate" for fault in faults):
            # Read first: the second time, the body comes from memory.
            await request.body()
            wire.muted = True
            await self._handle(wire, Call(request, project, self._emulation))
        wire.muted = lost is not None
        await self._handle(wire, Call(request, project, self._emulation, behind_s))
        wire.muted = False
        if lost is not None and lost.action == "accept_then_drop":
            await wire.drop()
        elif lost is not None:
            await wire.answer(_scripted(lost))

    async def _tier(self, call: Call, names: tuple[str, ...]) -> Tier | None:
        """Return the tier that a call asks for, if a fault wants to know it. The body is read for that."""
        if not self._emulation.faults.need_tier(*names):
            return None
        try:
            return asked_tier(await call.json(None))
        except (ApiError, ClientDisconnect):
            # The call itself says what is wrong.
            return None

    def _project(self, request: Request, call: str) -> str:
        if call.startswith("files.upload.") and call != "files.upload.start":
            return ""
        return project_of(request, self._emulation.keys)

    async def _handle(self, wire: _Wire, call: Call) -> None:
        try:
            response = await self._handler(call)
        except ApiError as refusal:
            response = reply(refusal.body(), refusal.status)
        except ClientDisconnect:
            await wire.drop()
            return
        await wire.answer(response)


async def _strikes_before(fault: Fault, wire: _Wire) -> bool:
    """Apply a fault that comes before the work. Say whether the call is over."""
    if fault.action == "delay":
        await asyncio.sleep(fault.seconds)
    elif fault.action == "cut":
        wire.cut_after(fault.bytes)
    elif fault.action == "drop":
        await wire.drop()
        return True
    elif fault.action == "status":
        await wire.answer(_scripted(fault))
        return True
    elif fault.action == "html":
        await wire.answer(HTMLResponse(_HTML))
        return True
    return False


def _scripted(fault: Fault) -> Response:
    body = fault.reply_body()
    content = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
    return Response(content, fault.status, headers={"content-type": "application/json", **fault.headers})


class _Wire:
    """The two directions of one request, with the means to spoil them."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, connections: Connections) -> None:
        self.scope = scope
        self.muted = False
        # Called once, before the client can see the answer or its absence.
        self.noted: Callable[[int | None], None] = _ignore
        self._receive = receive
        self._send = send
        self._connections = connections
        self._let_in: int | None = None
        self._let_out: int | None = None
        self._closed = False

    def cut_after(self, count: int) -> None:
        """Let so many bytes of content pass: of what a POST sends, of what a GET is answered."""
        if self.scope["method"] == "GET":
            self._let_out = count
        else:
            self._let_in = count

    async def answer(self, response: Response) -> None:
        """Send a response."""
        await response(self.scope, self._receive, self.send)

    async def drop(self, *, now: bool = True) -> None:
        """Close the connection and let the server notice before the call returns."""
        self._note(None)
        self._closed = True
        self._connections.close(self.scope.get("client"), now=now)
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def receive(self) -> Message:
        """Pass a part of the request on."""
        if self._closed:
            return {"type": "http.disconnect"}
        message = await self._receive()
        body = message.get("body", b"")
        if self._let_in is None or not body:
            return message
        kept = body[: self._let_in]
        self._let_in -= len(kept)
        if len(kept) < len(body):
            self._closed = True
            return {"type": "http.request", "body": kept, "more_body": True}
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on."""
        if self.muted or self._closed:
            return
        if message["type"] == "http.response.start":
            self._note(message["status"])
        body: bytes = message.get("body", b"")
        if self._let_out is None or len(body) <= self._let_out:
            self._let_out = None if self._let_out is None else self._let_out - len(body)
            await self._send(message)
            return
        await self._send({**message, "body": body[: self._let_out], "more_body": True})
        await self.drop(now=False)

    def _note(self, status: int | None) -> None:
        note, self.noted = self.noted, _ignore
        note(status)


def _ignore(_: int | None) -> None:
    """Stand in for the journal once the request is in it."""
