"""What becomes of a wait that no trigger has ended: Airflow's scheduler does it, or the trigger has failed.

Airflow then starts the task by its ``resume_execution``, with a word of its own in place of the method.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_batch.batch.decide.actions import Wait

GRACE_S = 600.0
"""From the time at which a trigger should have fired to the end of the wait by the scheduler, seconds.

A trigger fires within five minutes. A triggerer may be starting, or have many others.
"""

BLIND_WAIT_S = 300.0
"""Between looks of workers while the triggerer cannot ask about the jobs, seconds."""

NO_TRIGGERER = "Check that a triggerer runs, and has room for more triggers ([triggerer] capacity)."

_FAILED = "__fail__"
"""``TRIGGER_FAIL_REPR`` of Airflow, the method's name there."""


class WaitCut(enum.Enum):
    """How a wait was cut short."""

    OVERDUE = "Trigger timeout"
    """No trigger has fired in time: there may be no triggerer."""
    BROKEN = "Trigger failure"
    """The trigger cannot be loaded in the triggerer, or raised."""


def patience(left_s: float) -> timedelta:
    """How long Airflow's scheduler leaves a task deferred.

    :param left_s: Seconds until its trigger fires.
    """
    return timedelta(seconds=max(0.0, left_s) + GRACE_S)


def left_s(wait: Wait, now: float) -> float:
    """Seconds until something is due."""
    return min(wait.deadline, wait.until if wait.until is not None else wait.deadline) - now


def cut_of(next_method: str, next_kwargs: Mapping[str, object] | None) -> WaitCut | None:
    """How the wait was cut short that a task is resumed from, None if it was not."""
    if next_method != _FAILED:
        return None
    error = (next_kwargs or {}).get("error")
    return WaitCut.OVERDUE if getattr(error, "value", error) == WaitCut.OVERDUE.value else WaitCut.BROKEN


def last_line(next_kwargs: Mapping[str, Any] | None) -> str:
    """What the trigger raised."""
    lines = "".join((next_kwargs or {}).get("traceback") or ()).strip().splitlines()
    return lines[-1][:300] if lines else "no reason is given"
