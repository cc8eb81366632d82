"""The uvicorn server on a socket that is bound before anything is printed."""

from __future__ import annotations

import signal
import socket
from email.utils import formatdate

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_batch.emulator.app import build_app
from airflow_provider_batch.emulator.wire.context import Emulation

# Clients keep idle connections in pools. Closing them first would look like a fault that was not asked for.
_KEEP_ALIVE_S = 600
_SHUTDOWN_S = 1


class OpenConnections:
    """Finds the connection of a client address and closes it under the feet of the protocol."""

    def __init__(self) -> None:
        self.server: uvicorn.Server | None = None

    def close(self, client: object, *, now: bool) -> None:
        """Close at once, or after what was already sent has left."""
        connections = self.server.server_state.connections if self.server else ()
        for protocol in list(connections):
            transport = getattr(protocol, "transport", None)
            if transport is None or getattr(protocol, "client", None) != client:
                continue
            if now:
                transport.abort()
            else:
                transport.close()


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen: from here on, connections wait instead of being refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(2048)
    return listener


def serve(emulation: Emulation, listener: socket.socket) -> None:
    """Serve until a signal comes."""
    connections = OpenConnections()
    config = uvicorn.Config(
        _dated(build_app(emulation, connections), emulation),
        access_log=False,
        log_level="error",
        server_header=False,
        date_header=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    server = connections.server = uvicorn.Server(config)
    # Before uvicorn does so itself: until then an exception of our own handler could get lost in the event loop.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listener])


def _dated(app: ASGIApp, emulation: Emulation) -> ASGIApp:
    """Put a ``Date`` by the emulator's clock on every answer, as clients may time their deadlines by it."""

    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                # A scripted fault may say another one.
                if not any(name.lower() == b"date" for name, _ in headers):
                    headers.append((b"date", formatdate(emulation.now(), usegmt=True).encode()))
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, send_dated)

    return dated
