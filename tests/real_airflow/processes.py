"""Processes that a test starts, stalls, kills and sees gone, all of them by pid."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

import httpx
import psutil

PATIENCE_S = 180.0
"""How long anything is waited for. Two cores that others use, too, are slow at times."""

T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], timeout_s: float = PATIENCE_S, every_s: float = 0.2) -> T:
    """Look until there is something to return.

    A call that fails over HTTP is looked at again: the API server may be the one that was killed.

    :param what: What is waited for, in words.
    :raises TimeoutError: It did not come about within ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    seen: object = None
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except httpx.HTTPError as error:
            seen = error
        time.sleep(every_s)
    raise TimeoutError(f"not within {timeout_s:.0f} s: {what}" + (f" (last error: {seen})" if seen else ""))


class Process:
    """A process in a session of its own, with all that it starts.

    :param log: File that its output is appended to.
    :param user: System user to run as; None = the one who runs the tests.
    """

    def __init__(
        self, name: str, command: list[str], env: dict[str, str], log: Path, user: str | None = None
    ) -> None:
        self.name = name
        self.started_at = datetime.min.replace(tzinfo=timezone.utc)
        self._command = command
        self._env = env
        self._log = log
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def leads(self, process: psutil.Process) -> bool:
        """Whether a process is of its session."""
        return self._process is not None and _in_session(process.pid, self._process.pid) is not None

    def start(self) -> None:
        """Start it; whether it is ready to work is for its owner to find out."""
        self.started_at = datetime.now(timezone.utc)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                user=self._user,
                cwd="/",
            )

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for its end, return the exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def members(self) -> list[psutil.Process]:
        """Every living process of its session, itself first. Orphans of a dead leader are among them."""
        if self._process is None:
            return []
        return [p for pid in sorted(psutil.pids()) if (p := _in_session(pid, self._process.pid))]

    def send(self, sent: signal.Signals) -> None:
        """Send a signal to all members."""
        for member in self.members():
            with suppress(psutil.NoSuchProcess):
                member.send_signal(sent)

    def kill(self) -> None:
        """End all members at once (SIGKILL) and see them gone."""
        until(f"{self.name} is dead", self._is_dead)

    def stop(self, asking: signal.Signals = signal.SIGTERM, patience_s: float = 60.0) -> bool:
        """Ask the process to end, kill what is left; return whether it ended because it was asked."""
        if self._process is None:
            return True
        obeyed = False
        with suppress(subprocess.TimeoutExpired):
            self._process.send_signal(asking)
            self._process.wait(patience_s)
            obeyed = True
        self.kill()
        return obeyed

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Stop all members (SIGSTOP) for the length of a block."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)

    def _is_dead(self) -> bool:
        self.send(signal.SIGKILL)
        return (self._process is None or self._process.poll() is not None) and not self.members()


def _in_session(pid: int, session: int) -> psutil.Process | None:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        if os.getsid(pid) == session:
            process = psutil.Process(pid)
            return process if process.status() != psutil.STATUS_ZOMBIE else None
    return None


def is_dead(process: psutil.Process) -> bool:
    """Whether a process is gone, or only waits for its parent to take note of that."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
