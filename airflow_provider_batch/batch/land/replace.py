"""Puts new results in place of those in a result folder, and never an older state over a newer one.

A worker can stand still for hours between any two steps, on a suspended machine or a stalled disk. Another try may
land and publish more meanwhile. So everything is written beside its target first. Then each file takes its place
in one short step, right after a look at the ledger. A change between look and step is found out by a look after
it. A visit that was late publishes the newest state once more. What that takes is kept for as long as another
visit may be asleep in the middle of publishing.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from airflow_provider_batch.batch.ledger import names
from airflow_provider_batch.batch.ledger.publication import Published, Publishing
from airflow_provider_batch.batch.ledger.state import BatchState
from airflow_provider_batch.batch.ledger.store import Ledger
from airflow_provider_batch.errors import SupersededError

log = logging.getLogger(__name__)

ASLEEP = timedelta(hours=1)
"""A visit that began to publish so long ago and did not finish is taken for dead."""


class LateError(Exception):
    """A newer state is in the ledger.

    :param has_replaced: Files of the older state have taken the place of what was in the folder.
    """

    def __init__(self, *, has_replaced: bool) -> None:
        self.has_replaced = has_replaced
        super().__init__("the ledger has a newer state")


class Replacing:
    """One visit's replacement of the files in a result folder.

    :param is_again: The state is published already. Only a newer state makes this one late.
    """

    def __init__(self, ledger: Ledger, batch: BatchState, *, is_again: bool) -> None:
        self._ledger = ledger
        self._number = batch.round.number
        self._is_again = is_again
        self._owner = secrets.token_hex(4)
        self._has_replaced = False

    def begin(self) -> None:
        """Note that files will be replaced from here on."""
        self._ensure_newest()
        note = Publishing(at=datetime.now(timezone.utc), machine=_machine(), process=os.getpid())
        self._ledger.put(self._note, note)

    def step(self, replace: Callable[[], object]) -> None:
        """Replace one file.

        :raises LateError: The ledger has a newer state, before or after it.
        """
        self._ensure_newest()
        replace()
        self._has_replaced = True
        self._ensure_newest()

    def end(self) -> None:
        """Note that all files are in place."""
        self._ensure_newest()
        self._ledger.put(
            names.name_of(names.PUBLISHED, self._number), Published(at=datetime.now(timezone.utc), by=self._owner)
        )

    def leave(self) -> None:
        """This visit replaces nothing any more."""
        self._ledger.remove(self._note)

    @property
    def _note(self) -> str:
        return names.publishing(self._number, self._owner)

    def _ensure_newest(self) -> None:
        there = self._ledger.names_now()
        if names.PLAN not in there:
            raise SupersededError(
                f"The ledger at {self._ledger.folder} is gone: a later run has replaced these results.",
                code="AGB-S07",
                remedy="This try changed nothing. There is nothing to do.",
            )
        published = names.name_of(names.PUBLISHED, self._number) in there and not self._is_again
        if published or {names.plan_of(self._number + 1), names.SUPERSEDED} & there:
            raise LateError(has_replaced=self._has_replaced)


def sleepers(ledger: Ledger, batch: BatchState) -> list[str]:
    """Notes of other visits that began to publish, did not finish, and may wake up."""
    finished = batch.round.published.by if batch.round.published else ""
    found = []
    for round_ in batch.rounds:
        for name in round_.publishing:
            note = ledger.read(name, Publishing)
            if note is not None and not _is_dead(note) and name.split(".")[2] != finished:
                found.append(name)
    return found


def _is_dead(note: Publishing) -> bool:
    if datetime.now(timezone.utc) - note.at > ASLEEP:
        return True
    return note.machine == _machine() and bool(note.machine) and not _lives(note.process)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _machine() -> str:
    """This kernel since its start and this process's view of its processes. Empty where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
