"""``python -m benchmarks.waits_server``: one server for everybody's waits; prints its address.

It answers what the triggers that are measured ask for, after a delay that stands for the way to the real service:
Gemini's listing, get and create, OpenAI's get and Anthropic's get, all about the same jobs. Answers are made
beforehand, so that on two cores the server takes little from those that are measured. The emulator has no fixed
delay for all calls and does not speak the other two APIs; the JSON of a Gemini job is as it answers.

Control, without delay: ``POST /control/jobs`` (how many, how slow), ``POST /control/finish`` (which job at which
Unix time), ``GET /control/requests?since=&until=`` (how many of which kind came in, and when listings were begun).
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

import uvicorn

DEFAULT_PAGE, MAX_PAGE = 50, 1000
"""As the emulator has them; the service's are not documented."""

HISTORY = 5_000
"""Jobs that ended before and are still listed, after the others: results are kept for weeks."""

_TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
_GEMINI = re.compile(r"/v1beta/batches/job(\d+)")
_OPENAI = re.compile(r"/v1/batches/job(\d+)")
_ANTHROPIC = re.compile(r"/v1/messages/batches/job(\d+)")
_CREATE = re.compile(r"/v1beta/models/[^/]+:batchGenerateContent")

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


@dataclass
class Jobs:
    """All jobs and what was asked about them.

    :param count: Jobs number 0 (the oldest) to ``count - 1`` that run until they are told to finish.
    :param latency_s: Seconds before each answer.
    """

    count: int = 0
    latency_s: float = 0.1
    began: float = field(default_factory=time.time)
    ends: dict[int, float] = field(default_factory=dict)
    asked: list[tuple[float, str]] = field(default_factory=list)
    page_size: int = 0
    _running: list[bytes] = field(default_factory=list)
    _ended: dict[int, bytes] = field(default_factory=dict)
    _past: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._running = [_dump(_operation(number, self.began, None)) for number in range(self.count)]
        self._past = [_dump(_operation(-number, self.began - 86400, self.began)) for number in range(1, HISTORY)]

    def finish(self, ends: dict[str, float]) -> None:
        """Let jobs end at these Unix times."""
        for name, end in ends.items():
            number = int(name)
            self.ends[number] = end
            self._ended[number] = _dump(_operation(number, self.began, end))

    def has_ended(self, number: int) -> bool:
        """Whether a job's time has come."""
        end = self.ends.get(number)
        return end is not None and time.time() >= end

    def operation(self, number: int) -> bytes:
        """A job as Gemini shows it."""
        return self._ended[number] if self.has_ended(number) else self._running[number]

    def page(self, query: dict[str, list[str]]) -> bytes:
        """A page of the listing, newest first."""
        size = min(MAX_PAGE, int(query.get("pageSize", [str(DEFAULT_PAGE)])[0]) or DEFAULT_PAGE)
        self.page_size = max(self.page_size, size)
        start = int(query.get("pageToken", ["0"])[0])
        stop = min(start + size, self.count + len(self._past))
        live = [self.operation(self.count - 1 - at) for at in range(start, min(stop, self.count))]
        past = self._past[max(0, start - self.count) : max(0, stop - self.count)]
        more = b'"nextPageToken":"%d",' % stop if stop < self.count + len(self._past) else b""
        return b"{" + more + b'"operations":[' + b",".join(live + past) + b"]}"


def _operation(number: int, began: float, end: float | None) -> dict[str, Any]:
    name = f"batches/job{number}" if number >= 0 else f"batches/past{-number}"
    stats = {"requestCount": "1000", "pendingRequestCount": "1000"}
    metadata = {
        "@type": _TYPE,
        "model": "models/gemini-2.5-flash",
        "displayName": f"nightly-labels-label-{number}",
        "inputConfig": {"fileName": f"files/job{number}"},
        "createTime": _time(began + min(number, 0)),
        "updateTime": _time(end or began),
        "batchStats": stats,
        "state": "BATCH_STATE_RUNNING",
        "name": name,
    }
    if end is None:
        return {"name": name, "metadata": metadata}
    output = {"responsesFile": f"files/batch-job{number}"}
    metadata |= {"endTime": _time(end), "state": "BATCH_STATE_SUCCEEDED", "output": output}
    metadata["batchStats"] = {"requestCount": "1000", "successfulRequestCount": "1000"}
    return {"name": name, "metadata": metadata, "done": True, "response": {"@type": _TYPE + "Output", **output}}


def _openai(number: int, ended: bool) -> dict[str, Any]:
    return {
        "id": f"job{number}",
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "errors": None,
        "input_file_id": f"file-{number}",
        "completion_window": "24h",
        "status": "completed" if ended else "in_progress",
        "output_file_id": f"file-out-{number}" if ended else None,
        "created_at": 1_711_652_795,
        "request_counts": {"total": 1000, "completed": 1000 if ended else 0, "failed": 0},
        "metadata": None,
    }


def _anthropic(number: int, ended: bool) -> dict[str, Any]:
    counts = {"processing": 0 if ended else 1000, "succeeded": 1000 if ended else 0}
    return {
        "id": f"job{number}",
        "type": "message_batch",
        "processing_status": "ended" if ended else "in_progress",
        "request_counts": {**counts, "errored": 0, "canceled": 0, "expired": 0},
        "created_at": "2026-11-24T00:00:00Z",
        "expires_at": "2026-11-25T00:00:00Z",
        "ended_at": "2026-11-24T12:00:00Z" if ended else None,
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": None,
    }


class Application:
    """The server, as ASGI has it."""

    def __init__(self) -> None:
        self._jobs = Jobs()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        path, query = scope["path"], parse_qs(scope["query_string"].decode())
        body = await _body(receive)
        if path.startswith("/control/"):
            await _reply(send, 200, _dump(self._control(path, query, body)))
            return
        kind, answer = self._answer(path, query, body)
        self._jobs.asked.append((time.time(), kind))
        await asyncio.sleep(self._jobs.latency_s)
        # What is true when the answer leaves, not when the question came.
        await _reply(send, 200 if answer else 404, answer() if answer else b'{"error":{"code":404}}')

    def _answer(
        self, path: str, query: dict[str, list[str]], body: bytes
    ) -> tuple[str, Callable[[], bytes] | None]:
        jobs = self._jobs
        if path == "/v1beta/batches":
            return "page" if "pageToken" in query else "list", lambda: jobs.page(query)
        if found := _CREATE.fullmatch(path):
            number = int(json.loads(body)["batch"]["inputConfig"]["fileName"].removeprefix("files/job"))
            return "create", lambda: jobs.operation(number)
        if (found := _GEMINI.fullmatch(path)) and int(found[1]) < jobs.count:
            return "get", lambda: jobs.operation(int(found[1]))
        for pattern, written in ((_OPENAI, _openai), (_ANTHROPIC, _anthropic)):
            if (found := pattern.fullmatch(path)) and (number := int(found[1])) < jobs.count:
                return "get", lambda: _dump(written(number, jobs.has_ended(number)))  # noqa: B023
        return "unknown", None

    def _control(self, path: str, query: dict[str, list[str]], body: bytes) -> dict[str, Any]:
        if path == "/control/jobs":
            self._jobs = Jobs(**json.loads(body))
        elif path == "/control/finish":
            self._jobs.finish(json.loads(body))
        elif path == "/control/requests":
            since, until = float(query["since"][0]), float(query["until"][0])
            asked = [(at, kind) for at, kind in self._jobs.asked if since <= at < until]
            return {
                "kinds": Counter(kind for _, kind in asked),
                "listings": [at for at, kind in asked if kind == "list"],
                "page_size": self._jobs.page_size,
            }
        return {}


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _reply(send: Send, status: int, body: bytes) -> None:
    headers = [
        (b"content-type", b"application/json; charset=UTF-8"),
        (b"content-length", str(len(body)).encode()),
        (b"date", formatdate(usegmt=True).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).isoformat().replace("+00:00", "Z")


def main() -> None:
    """Serve until the process is ended."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=20_000)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    # As the real services do, connections are kept for longer than any client here keeps them.
    config = uvicorn.Config(
        Application(),
        log_level="warning",
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_keep_alive=240,
        backlog=20_000,
        lifespan="off",
        interface="asgi3",
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
