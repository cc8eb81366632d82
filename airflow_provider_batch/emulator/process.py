"""The emulator as a child process, for tests: started, asked, killed for real and restarted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_batch.emulator.state.limits import Limits

DEFAULT_LIMITS = Limits()

JournalEntry = dict[str, Any]
"""A call or a request, and what there is to know of it."""

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 5.0
_CALL_TIMEOUT_S = 10.0


class EmulatorStartError(RuntimeError):
    """The child process ended or did not answer. The message carries what it wrote."""


@dataclass(frozen=True)
class _Options:
    data_dir: Path
    job_seconds: float
    call_seconds: float
    clock_speed: float
    api_keys: tuple[str, ...]
    answers: str | None
    limits: Limits
    upstream: str | None
    upstream_model: str

    def command(self, port: int) -> list[str]:
        command = [sys.executable, "-m", "airflow_provider_batch.emulator", "--port", str(port)]
        command += ["--data-dir", str(self.data_dir), "--job-seconds", str(self.job_seconds)]
        command += ["--call-seconds", str(self.call_seconds), "--clock-speed", str(self.clock_speed)]
        for name, value in self.limits._asdict().items():
            if value is not None:
                command += [f"--{name.replace('_', '-')}", str(value)]
        for key in self.api_keys:
            command += ["--api-key", key]
        if self.answers:
            command += ["--answers", self.answers]
        if self.upstream:
            command += ["--upstream", self.upstream, "--upstream-model", self.upstream_model]
        return [*command, "--exit-with-parent", str(os.getpid())]


class Emulator:
    """A running emulator. Made by :func:`running_emulator`."""

    def __init__(self, options: _Options, port: int) -> None:
        self._options = options
        self._process = _start(options, port)
        self.base_url = _address(self._process, options)
        self.port = int(self.base_url.rpartition(":")[2])
        self.data_dir = options.data_dir

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self._process.pid

    def journal(self) -> list[JournalEntry]:
        """Return every accepted change, oldest first."""
        calls: list[JournalEntry] = self._control("GET", "journal")["calls"]
        return calls

    def requests(self) -> list[JournalEntry]:
        """Return every HTTP request to the API, oldest first."""
        requests: list[JournalEntry] = self._control("GET", "journal")["requests"]
        return requests

    def bills(self) -> dict[str, dict[str, int]]:
        """Return the tokens that a real account would have been billed for, by batch name.

        A batch that wrote no results is not in it.
        """
        return {call["batch"]: call["tokens"] for call in self.journal() if call["call"] == "batches.end"}

    def billed_calls(self) -> list[JournalEntry]:
        """Return the single calls of content that a real account would have been billed for, oldest first.

        Each has ``model``, the ``tier`` that was served, ``tokens``, and ``request``: a digest of what was asked.
        """
        return [call for call in self.journal() if call["call"] == "models.generateContent"]

    def add_fault(self, **fault: object) -> None:
        """Arm a fault. The keywords are its fields, for instance ``call="batches.create"``."""
        self._control("POST", "faults", fault)

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self._control("DELETE", "faults")

    def force_job(self, name: str, *, state: str, error: dict[str, object] | None = None) -> None:
        """Force an outcome upon a batch, and return when clients see it.

        :param name: ``batches/...``.
        :param state: a wire state, its short form, ``STUCK``, or a word that the API does not have.
        :param error: ``Operation.error``, a ``google.rpc.Status``.
        """
        self._control("POST", f"jobs/{name.removeprefix('batches/')}", {"state": state, "error": error})

    def advance_clock(self, seconds: float) -> None:
        """Move the emulator's clock forward."""
        self._control("POST", "clock", {"advance_seconds": seconds})

    def kill(self) -> None:
        """Kill the server without warning (SIGKILL)."""
        self._process.kill()
        self._process.wait(_STOP_TIMEOUT_S)
        _close(self._process)

    def restart(self) -> None:
        """Start the server again, after a kill or not, on the same port and data."""
        self.stop()
        self._process = _start(self._options, self.port)
        _address(self._process, self._options)

    def stop(self) -> None:
        """Ask the server to end. Kill it if it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_TIMEOUT_S)
        _close(self._process)

    def _control(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base_url}/emulator/{path}", data, method=method)  # noqa: S310
        try:
            with _opener().open(request, timeout=_CALL_TIMEOUT_S) as answer:
                decoded: dict[str, Any] = json.load(answer)
                return decoded
        except urllib.error.HTTPError as refusal:
            raise ValueError(json.load(refusal)["error"]["message"]) from None


@contextmanager
def running_emulator(
    data_dir: Path | None = None,
    *,
    job_seconds: float = 0.2,
    call_seconds: float = 0.01,
    clock_speed: float = 1.0,
    limits: Limits = DEFAULT_LIMITS,
    api_keys: Sequence[str] = (),
    answers: str | None = None,
    upstream: str | None = None,
    upstream_model: str = "",
    port: int = 0,
) -> Iterator[Emulator]:
    """Run an emulator for the length of a ``with`` block.

    :param data_dir: where state is kept. By default a temporary directory, removed at the end.
    :param job_seconds: how long a batch takes, on the emulator's clock.
    :param call_seconds: how long a single call of the standard tier takes, on the emulator's clock.
    :param clock_speed: seconds of the emulator's clock in a real second.
    :param limits: what each project may have at one time. By default as documented by the API.
    :param api_keys: ``KEY`` or ``KEY=PROJECT``. By default any key is accepted.
    :param answers: ``package.module:function`` that answers rows.
    :param upstream: base URL of an OpenAI-compatible server that answers rows with ``upstream_model``.
    :param port: 0 takes a free one.
    :raises EmulatorStartError: the process ended or did not answer.
    """
    made = None if data_dir is not None else Path(tempfile.mkdtemp(prefix="emulator-"))
    options = _Options(
        data_dir=data_dir or made or Path(),
        job_seconds=job_seconds,
        call_seconds=call_seconds,
        clock_speed=clock_speed,
        api_keys=tuple(api_keys),
        answers=answers,
        limits=limits,
        upstream=upstream,
        upstream_model=upstream_model,
    )
    options.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        emulator = Emulator(options, port)
        try:
            yield emulator
        finally:
            emulator.stop()
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


def _start(options: _Options, port: int) -> subprocess.Popen[str]:
    with _log_path(options).open("ab") as log:
        return subprocess.Popen(options.command(port), stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603


def _address(process: subprocess.Popen[str], options: _Options) -> str:
    """Wait until the server answers and return its base URL."""
    assert process.stdout is not None
    words = process.stdout.readline().split()
    address = next((word for word in words if word.startswith("http://")), None)
    if address is None:
        raise EmulatorStartError(_log_path(options).read_text(errors="replace")[-2000:])
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with _opener().open(f"{address}/emulator/health", timeout=_CALL_TIMEOUT_S):
                return address
        except OSError:
            time.sleep(0.02)
    raise EmulatorStartError(_log_path(options).read_text(errors="replace")[-2000:])


def _opener() -> urllib.request.OpenerDirector:
    # A proxy of the environment must not stand between a test and loopback.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _log_path(options: _Options) -> Path:
    return options.data_dir / "emulator.log"


def _close(process: subprocess.Popen[str]) -> None:
    if process.stdout is not None:
        process.stdout.close()
