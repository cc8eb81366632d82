"""How fast single calls leave: one pace for all tasks of a credential and a model on one machine.

Calls leave evenly, not in bursts: the API's public threads tell of refusals that count against the limit. The pace
begins low and doubles. A refusal for the rate halves it, and its hint holds all calls back. From there it grows in
small steps.

The state is a small file in the machine's folder for temporary files, with a lock for each change. So two tasks of
one machine keep one pace together. Tasks on other machines do not know of each other: each keeps the whole pace.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import math
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from airflow_provider_batch.steady import steady_s

log = logging.getLogger(__name__)

MINUTE_S = 60.0

FIRST_SHARE = 1 / 8
"""Of the whole pace, at the beginning."""

STEP_SHARE = 1 / 16
"""What is added at a time, after a refusal."""

LEAST_SHARE = 1 / 64
"""However often it was refused."""

GROW_S = 10.0
"""Between two steps upwards, seconds."""

IDLE_S = 600.0
"""After so many seconds without a call the pace begins anew."""

REFUSED_WAIT_S = 20.0
"""Until the next call after a refusal without a hint, seconds."""

FAR_S = 24 * 3600.0
"""A time that is further ahead is of another clock: the machine was started anew. Seconds."""


@dataclass(frozen=True)
class _State:
    """All times are of the steady clock, seconds.

    :param next_request: Before it no call leaves, by the number of calls.
    :param next_tokens: Before it no call leaves, by the number of tokens.
    :param closed_until: Before it no call leaves, by a refusal.
    :param share: Of the whole pace, up to 1.
    :param threshold: Up to it the share doubles. Above, it grows by steps.
    :param changed: When the share was changed.
    :param used: When a call was last let through.
    """

    next_request: float = 0.0
    next_tokens: float = 0.0
    closed_until: float = 0.0
    share: float = FIRST_SHARE
    threshold: float = 1.0
    changed: float = 0.0
    used: float = 0.0


_FORMAT = struct.Struct("<7d")


class Pace:
    """Says when a call may leave.

    :param requests_per_minute: The whole pace.
    :param tokens_per_minute: Input tokens, the whole pace.
    :param place: The file that other processes share. None = this process has a pace of its own.
    :param clock: Seconds that only go forward, the same for all processes of the machine.
    """

    def __init__(
        self,
        requests_per_minute: float,
        tokens_per_minute: float,
        place: Path | None = None,
        clock: Callable[[], float] = steady_s,
    ) -> None:
        self._requests = requests_per_minute
        self._tokens = tokens_per_minute
        self._place = place
        self._clock = clock
        self._own = _State()

    def wait_s(self) -> float:
        """Seconds until a call may leave. Reserves nothing."""
        now = self._clock()
        with self._state() as (state, _):
            return max(0.0, _opens(state) - now)

    def reserve(self, tokens: int) -> float:
        """Count a call, and say in how many seconds it may leave.

        :param tokens: Of its input, roughly.
        """
        now = self._clock()
        with self._state() as (state, save):
            state = _grown(state, now)
            at = max(now, _opens(state))
            save(
                replace(
                    state,
                    next_request=at + MINUTE_S / (self._requests * state.share),
                    next_tokens=at + MINUTE_S * tokens / (self._tokens * state.share),
                    used=at,
                )
            )
        return at - now

    def refuse(self, wait_s: float | None) -> None:
        """The vendor refused a call for the rate: half the pace, and nothing before the hint is over.

        :param wait_s: The hint, None if there was none.
        """
        now = self._clock()
        with self._state() as (state, save):
            closed = max(state.closed_until, now + (REFUSED_WAIT_S if wait_s is None else wait_s))
            if now < state.closed_until:
                # Calls that had left before the pace was halved say the same again.
                save(replace(state, closed_until=closed))
                return
            half = max(LEAST_SHARE, state.share / 2)
            save(replace(state, closed_until=closed, share=half, threshold=half, changed=closed))

    @contextlib.contextmanager
    def _state(self) -> Iterator[tuple[_State, Callable[[_State], None]]]:
        """The state as it is now, and what puts another in its place."""
        if self._place is None:
            yield self._fresh(self._own), self._keep
            return
        with _locked(self._place) as file:
            data = os.pread(file, _FORMAT.size, 0)
            state = _State(*_FORMAT.unpack(data)) if len(data) == _FORMAT.size else _State()
            yield self._fresh(state), lambda new: _write(file, new)

    def _keep(self, state: _State) -> None:
        self._own = state

    def _fresh(self, state: _State) -> _State:
        """The state, unless it is of another start of the machine, or was not used for long."""
        now = self._clock()
        times = (state.next_request, state.next_tokens, state.closed_until, state.changed, state.used)
        is_of_another_clock = not all(map(math.isfinite, (*times, state.share))) or max(times) > now + FAR_S
        is_idle = max(state.used, state.closed_until) < now - IDLE_S
        return _State(changed=now, used=now) if is_of_another_clock or is_idle else state


def shared_place(account: str, model: str) -> Path | None:
    """The file of a credential's and a model's pace on this machine. None if no file can be shared safely.

    :param account: The label of the credential. Holds nothing of it.
    """
    folder = Path(tempfile.gettempdir()) / f"airflow-provider-batch-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        there = folder.lstat()
    except OSError as error:
        log.info("This task keeps a pace of its own: %s", type(error).__name__)
        return None
    if there.st_uid != os.getuid() or folder.is_symlink() or not folder.is_dir():
        log.info("This task keeps a pace of its own: %s is not this user's folder.", folder)
        return None
    digest = hashlib.sha256(f"{account}\0{model}".encode()).hexdigest()[:24]
    return folder / f"{digest}.pace"


@contextlib.contextmanager
def _locked(place: Path) -> Iterator[int]:
    file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _write(file: int, state: _State) -> None:
    numbers = (
        state.next_request,
        state.next_tokens,
        state.closed_until,
        state.share,
        state.threshold,
        state.changed,
        state.used,
    )
    os.pwrite(file, _FORMAT.pack(*numbers), 0)


def _opens(state: _State) -> float:
    return max(state.next_request, state.next_tokens, state.closed_until)


def _grown(state: _State, now: float) -> _State:
    """A step upwards for each :data:`GROW_S` without a refusal."""
    share, changed = state.share, state.changed
    while share < 1.0 and changed + GROW_S <= now:
        doubled = share * 2 if share < state.threshold else share + STEP_SHARE
        share, changed = min(1.0, doubled), changed + GROW_S
    return replace(state, share=share, changed=max(changed, now - GROW_S) if share == 1.0 else changed)
