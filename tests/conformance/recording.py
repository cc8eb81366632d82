"""A recording proxy between a client and the emulator: what was really on the wire."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from airflow_provider_batch.emulator import Emulator


@dataclass(frozen=True)
class Exchange:
    """One request and its answer; bodies that are not JSON are None.

    :param headers: Of the request, with their names in lower case.
    :param size_bytes: Of the request's body.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    size_bytes: int
    sent: Any
    status: int
    answered: Any


@dataclass
class Recording:
    """Where to send requests, and what came by."""

    base_url: str
    exchanges: list[Exchange] = field(default_factory=list)


@contextmanager
def recorded(emulator: Emulator) -> Iterator[Recording]:
    """The emulator behind a proxy that notes everything and changes nothing."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Proxy) as server:
        server.port = emulator.port
        server.recording = Recording(f"http://127.0.0.1:{server.server_port}")
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.recording
        server.shutdown()


class _Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        onward = http.client.HTTPConnection("127.0.0.1", self.server.port)
        # With the client's own Host header, so that addresses in answers lead back to here.
        onward.request(self.command, self.path, body, dict(self.headers))
        answer = onward.getresponse()
        content = answer.read()
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.recording.exchanges.append(
            Exchange(self.command, path, query, headers, len(body), _json(body), answer.status, _json(content))
        )
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        onward.close()

    do_GET = do_POST = do_PATCH = do_DELETE = _pass  # noqa: N815 (the names that the base class looks for)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
