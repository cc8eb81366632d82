"""The language of faults: what goes wrong, with which call, when and how often.

A fault is one flat JSON object. ``docs/emulator.md`` shows every form. Faults and their counters are kept on disk.
A test that kills the server wants the fault it asked for afterwards too.
"""

from __future__ import annotations

import threading
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import msgspec

from airflow_provider_batch.emulator.state.disk import write_atomically
from airflow_provider_batch.emulator.state.records import Tier
from airflow_provider_batch.emulator.wire.errors import error_body, retry_info

Action = Literal[
    "status",
    "accept_then_status",
    "accept_then_drop",
    "drop",
    "delay",
    "cut",
    "html",
    "rows",
    "processing",
    "job",
    "duplicate",
    "hide",
    "late_output",
    "stale",
]
Mutation = Literal["drop", "duplicate", "shuffle", "corrupt", "error", "replace"]

# These are not about an HTTP call. They apply where the thing they spoil is made.
ROWS_CALL = "batches.output"
PROCESSING_CALL = "files.processing"
JOB_CALL = "batches.outcome"
LISTED_CALL = "batches.listed"
OUTPUT_CALL = "batches.late"

_FIXED: dict[str, str] = {
    "rows": ROWS_CALL,
    "processing": PROCESSING_CALL,
    "job": JOB_CALL,
    "hide": LISTED_CALL,
    "late_output": OUTPUT_CALL,
}

TIERS_CALL = "models.generateContent"

_LISTINGS = ("batches.list", "files.list")

INTERNAL_ERROR = {"code": 13, "message": "internal error"}


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One scripted fault.

    ``call`` is a call name or a pattern (``batches.*``). ``after`` matching calls pass unharmed. The next
    ``times`` are hit. Null means all of them. With a ``tier`` only calls that ask for it match.
    """

    action: Action
    call: str = ""
    times: int | None = 1
    after: int = 0
    tier: Tier | None = None
    # status, accept_then_status
    status: int = 503
    rpc_status: str | None = None
    message: str = "The service is currently unavailable."
    details: list[dict[str, Any]] = []
    retry_delay: float | None = None
    headers: dict[str, str] = {}
    body: Any = None
    # delay, processing, hide, late_output, stale
    seconds: float = 1.0
    # cut
    bytes: int = 0
    # rows
    mutation: Mutation = "drop"
    keys: list[str] = []
    every: int = 0
    # rows, job. None is the general internal error
    error: dict[str, Any] | None = None
    response: dict[str, Any] = {}
    # job
    state: str = "FAILED"

    @property
    def target(self) -> str:
        """The call, or the pseudo call of an action that has no HTTP call of its own."""
        return _FIXED.get(self.action, self.call)

    def reply_body(self) -> object:
        """Return the body of an error reply: the given one, or one made from status and message."""
        if self.body is not None:
            return self.body
        details = list(self.details)
        if self.retry_delay is not None:
            details.append(retry_info(self.retry_delay))
        return error_body(self.status, self.message, details, self.rpc_status)


class _Armed(msgspec.Struct, kw_only=True):
    """A fault and how many matching calls it has seen."""

    fault: Fault
    seen: int = 0

    def spent(self) -> bool:
        times = self.fault.times
        return times is not None and self.seen >= self.fault.after + times

    def is_about(self, names: tuple[str, ...]) -> bool:
        return not self.spent() and any(fnmatchcase(name, self.fault.target) for name in names)

    def strikes(self, names: tuple[str, ...], tier: Tier | None) -> bool:
        if not self.is_about(names) or self.fault.tier not in (None, tier):
            return False
        self.seen += 1
        return self.seen > self.fault.after


class FaultPlan:
    """The armed faults, in the order they were added. Used from the loop and from worker threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        if path.exists():
            self._armed = msgspec.json.decode(path.read_bytes(), type=list[_Armed])

    def add(self, fault: Fault) -> None:
        """Arm one more fault.

        :raises ValueError: the fault names no call, or none that it can strike.
        """
        if not fault.target:
            raise ValueError("a fault needs the name of a call, for instance batches.create")
        if fault.action == "stale" and not any(fnmatchcase(name, fault.target) for name in _LISTINGS):
            raise ValueError(f"only a listing can be stale: {' or '.join(_LISTINGS)}")
        if fault.tier is not None and not fnmatchcase(TIERS_CALL, fault.target):
            raise ValueError(f"only {TIERS_CALL} has tiers")
        with self._lock:
            self._armed.append(_Armed(fault=fault))
            self._save()

    def clear(self) -> None:
        """Disarm everything."""
        with self._lock:
            self._armed = []
            self._save()

    def armed(self) -> list[dict[str, object]]:
        """Return the faults that can still strike, with their counters."""
        return [msgspec.to_builtins(armed) for armed in self._armed if not armed.spent()]

    def need_tier(self, *names: str) -> bool:
        """Say whether the faults that may hit this call depend on the tier that it asks for."""
        if TIERS_CALL not in names:
            return False
        with self._lock:
            return any(armed.fault.tier is not None and armed.is_about(names) for armed in self._armed)

    def strike(self, *names: str, tier: Tier | None = None) -> list[Fault]:
        """Return the faults that hit this call and count it.

        :param names: the names of the call: a last chunk is both a chunk and a finalize.
        :param tier: what the call asks for, if it was looked at.
        """
        with self._lock:
            if not self._armed:
                return []
            before = [armed.seen for armed in self._armed]
            struck = [armed.fault for armed in self._armed if armed.strikes(names, tier)]
            if before != [armed.seen for armed in self._armed]:
                self._save()
            return struck

    def _save(self) -> None:
        write_atomically(self._path, msgspec.json.encode(self._armed))
