"""A worker that dies: a forked process that kills itself, or stands still, at a chosen point.

A point is reached before each change of a file below the task's folder (by an audit hook, so that no line of
the engine knows of it) and before and after each call to the service. So every place where a crash could make
a difference is a point, also those that are added later. The kill is SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CHANGES = {"os.link": 1, "os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0}
"""Audit events that change a file, and which argument names it."""

DONE, FAILED = 0, 3
"""Exit statuses of a child."""


@dataclass
class Points:
    """Counts points, and acts at one of them.

    :param folder: Changes of files below it are points.
    :param at: The point at which to act, counted from 1; 0 = never.
    :param act: SIGKILL or SIGSTOP.
    """

    folder: str
    at: int = 0
    act: signal.Signals = signal.SIGKILL
    seen: list[str] = field(default_factory=list)

    def reach(self, label: str) -> None:
        """A point."""
        self.seen.append(label)
        if len(self.seen) == self.at:
            os.kill(os.getpid(), self.act)

    def watch_files(self) -> None:
        """Count changes of files from here on, in this process and for good."""

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event in _CHANGES:
                path = str(arguments[_CHANGES[event]])
                if path.startswith(self.folder):
                    self.reach(f"{event.removeprefix('os.')} {Path(path).name}")

        sys.addaudithook(hook)

    def around(self, service: Any) -> Any:
        """The service with a point before and after each call."""
        return _Observed(service, self)


class _Observed:
    def __init__(self, service: Any, points: Points) -> None:
        self._service = service
        self._points = points

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._service, name)
        if name == "now" or not callable(method):
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            self._points.reach(f"before {name}")
            result = method(*arguments, **named)
            self._points.reach(f"after {name}")
            return result

        return call


@dataclass(frozen=True)
class Child:
    """A forked worker."""

    pid: int
    report: int

    def wait(self, within_s: float = 60.0) -> tuple[int | None, str]:
        """Its exit status (None = killed) and what it reported.

        :raises TimeoutError: It neither ended nor died.
        """
        give_up = time.monotonic() + within_s
        while time.monotonic() < give_up:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                with os.fdopen(self.report, encoding="utf-8") as report:
                    return (os.WEXITSTATUS(status) if os.WIFEXITED(status) else None), report.read()
            time.sleep(0.003)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise TimeoutError(f"a worker did not end within {within_s:g} s")

    def signal(self, which: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, which)

    def wait_stopped(self, within_s: float = 10.0) -> bool:
        """True if it stands still by SIGSTOP; False if it ended without."""
        give_up = time.monotonic() + within_s
        while time.monotonic() < give_up:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state in "TZ":
                return state == "T"
            time.sleep(0.003)
        raise TimeoutError("a worker neither stopped nor ended")


def fork(work: Callable[[], str]) -> Child:
    """Do the work in a child. What it returns is its report; an exception's text if it raised."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Child(pid, reading)
    try:
        os.close(reading)
        status, text = DONE, work()
    except Exception as error:  # noqa: BLE001
        # Whatever a try raises ends that try, as in Airflow.
        status, text = FAILED, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
    os.write(writing, text.encode()[:60_000])
    os._exit(status)
