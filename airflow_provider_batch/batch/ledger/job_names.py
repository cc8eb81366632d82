"""Who a job belongs to, as its display name says: a task instance, a shard of its rows and an attempt at it."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

_SCHEME = "agb1"

PREFIX = f"{_SCHEME}."
"""What the display names of all jobs of this package begin with."""

_NAME = re.compile(
    _SCHEME
    + r"\.(?P<task>[0-9a-f]{24})\.(?P<folder>[0-9a-f]{8})\.(?P<content>[0-9a-f]{16})"
    + r"\.g(?P<generation>\d+)r(?P<round>\d+)s(?P<shard>\d+)e(?P<attempt>\d+)\.[0-9a-f]{8}"
    + r"(?: .*)?",
    re.DOTALL,
)

_LONGEST = 128
"""Characters of a display name. The Gemini API states no limit for the names of jobs. This bound is our own."""


@dataclass(frozen=True)
class Identity:
    """Which task instance a job belongs to. The same for every try of it.

    :param map_index: -1 for a task that is not mapped.
    :param deployment: Tells apart two Airflows that run the same DAGs with the same credential.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1
    deployment: str = ""

    @property
    def task_digest(self) -> str:
        """24 hex digits for this task instance."""
        fields = (_SCHEME, self.dag_id, self.task_id, self.run_id, str(self.map_index), self.deployment)
        return hashlib.sha256("\0".join(fields).encode()).hexdigest()[:24]

    @property
    def prefix(self) -> str:
        """What the display names of all its jobs begin with."""
        return f"{_SCHEME}.{self.task_digest}."

    def sender(self, room: int) -> str:
        """DAG and task for people, in at most so many letters, digits, dots, ``_`` and ``-``."""
        dag, task = (re.sub(r"[^A-Za-z0-9._-]", "_", name) for name in (self.dag_id, self.task_id))
        # Of two long names something of both is kept.
        return f"{dag[: max(room // 2, room - len(task) - 1)]}.{task}"[:room]

    def is_other_run_of(self, other: Identity) -> bool:
        """True for the same task and map index in another run."""
        here, there = (self.dag_id, self.task_id, self.map_index), (other.dag_id, other.task_id, other.map_index)
        return here == there and self.run_id != other.run_id

    def __str__(self) -> str:
        mapped = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{mapped} of run {self.run_id}"


@dataclass(frozen=True)
class JobTag:
    """What the display name of a job says. No two jobs share one.

    :param task_digest: :attr:`Identity.task_digest`.
    :param folder: :func:`folder_digest` of the result path.
    :param content: :func:`content_digest` of the rows in this very job.
    :param generation: Counts changes of the content.
    :param round: Counts how often rows of the batch were sent, from 1.
    :param shard: Part of the round, from 1.
    :param attempt: Counts create calls for the shard, from 1.
    """

    task_digest: str
    folder: str
    content: str
    generation: int
    round: int
    shard: int
    attempt: int

    @property
    def stem(self) -> str:
        """The display name up to its random end."""
        where = f"g{self.generation}r{self.round}s{self.shard}e{self.attempt}"
        return f"{_SCHEME}.{self.task_digest}.{self.folder}.{self.content}.{where}."

    def new_display_name(self, sent_by: Identity | None = None) -> str:
        """A name for one create call, of at most 128 characters.

        :param sent_by: Its DAG and task follow the tag, as far as they fit. They decide nothing.
        """
        name = self.stem + secrets.token_hex(4)
        return name if sent_by is None else f"{name} {sent_by.sender(_LONGEST - len(name) - 1)}"

    @classmethod
    def read(cls, display_name: str) -> JobTag | None:
        """Read the tag of a display name. None if this package did not make it."""
        match = _NAME.fullmatch(display_name)
        if match is None:
            return None
        parts = match.groupdict()
        numbers = (int(parts[name]) for name in ("generation", "round", "shard", "attempt"))
        return cls(parts["task"], parts["folder"], parts["content"], *numbers)


def without_sender(display_name: str) -> str:
    """The part that says which create call a display name is of. A server may cut the rest."""
    return display_name.partition(" ")[0] if JobTag.read(display_name) else display_name


def content_digest(rows_sha256: str, model: str) -> str:
    """16 hex digits that change with the rows or the model."""
    return hashlib.sha256(f"{rows_sha256}\0{model}".encode()).hexdigest()[:16]


def folder_digest(result_path: str) -> str:
    """8 hex digits that change with the folder for the results."""
    return hashlib.sha256(result_path.rstrip("/").encode()).hexdigest()[:8]
