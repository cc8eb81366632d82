"""Servers and clients for the emulator's tests: real processes, spoken to over HTTP."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_batch.emulator import Emulator, running_emulator

START = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}


class Api(httpx.Client):
    """An HTTP client with a key, and the few sequences that most tests begin with."""

    def start_upload(self, size: int, **file: Any) -> str:
        headers = {**START, "X-Goog-Upload-Header-Content-Length": str(size)}
        started = self.post("/upload/v1beta/files", headers=headers, json={"file": file})
        return started.headers["X-Goog-Upload-URL"]

    def put_bytes(self, url: str, command: str, offset: int, content: bytes) -> httpx.Response:
        # Without the key: the URL is the credential.
        headers = {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}
        return httpx.post(url, headers=headers, content=content)

    def upload(self, content: bytes, **file: Any) -> dict[str, Any]:
        url = self.start_upload(len(content), **file)
        return self.put_bytes(url, "upload, finalize", 0, content).json()["file"]

    def create(self, file_name: str, display_name: str = "d") -> httpx.Response:
        body = {"batch": {"displayName": display_name, "inputConfig": {"fileName": file_name}}}
        return self.post("/v1beta/models/gemini-2.5-flash:batchGenerateContent", json=body)

    def create_from(self, *rows: dict[str, Any]) -> httpx.Response:
        return self.create(self.upload(self.jsonl(*rows))["name"])

    def create_inline(self, *rows: dict[str, Any]) -> httpx.Response:
        body = {"batch": {"displayName": "d", "inputConfig": {"requests": {"requests": list(rows)}}}}
        return self.post("/v1beta/models/gemini-2.5-flash:batchGenerateContent", json=body)

    @staticmethod
    def row(key: str, text: str = "hi") -> dict[str, Any]:
        return {"key": key, "request": {"contents": [{"role": "user", "parts": [{"text": text}]}]}}

    @staticmethod
    def inline_row(key: str, text: str = "hi") -> dict[str, Any]:
        return {"metadata": {"key": key}, "request": {"contents": [{"role": "user", "parts": [{"text": text}]}]}}

    @staticmethod
    def jsonl(*rows: dict[str, Any]) -> bytes:
        return b"".join(json.dumps(item).encode() + b"\n" for item in rows)

    def finished(self, name: str) -> dict[str, Any]:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            operation = self.get(f"/v1beta/{name}").json()
            if operation.get("done"):
                return operation
            time.sleep(0.02)
        raise AssertionError(f"{name} did not end: {operation}")

    def results(self, operation: dict[str, Any]) -> list[dict[str, Any]]:
        name = operation["response"]["responsesFile"]
        content = self.get(f"/v1beta/{name}:download", params={"alt": "media"}).content
        return [json.loads(line) for line in content.splitlines()]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """One server for the tests of a module that only add to its state."""
    with running_emulator() as running:
        yield running


@pytest.fixture(scope="module")
def slow_emulator() -> Iterator[Emulator]:
    """A server whose jobs take 1000 seconds of its clock, and so never end by themselves."""
    with running_emulator(job_seconds=1000) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_faults_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in ("emulator", "slow_emulator"):
        if name in request.fixturenames:
            request.getfixturevalue(name).clear_faults()


@pytest.fixture
def connect() -> Iterator[Callable[..., Api]]:
    """Make clients of any server, with any key."""
    with contextlib.ExitStack() as stack:

        def make(emulator: Emulator, key: str = "test-key") -> Api:
            headers = {"x-goog-api-key": key}
            return stack.enter_context(Api(base_url=emulator.base_url, headers=headers, timeout=20))

        yield make


@pytest.fixture
def api(emulator: Emulator, connect: Callable[..., Api]) -> Api:
    return connect(emulator)


@pytest.fixture
def slow_api(slow_emulator: Emulator, connect: Callable[..., Api]) -> Api:
    return connect(slow_emulator)
