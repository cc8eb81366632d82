"""Who a job belongs to: a task instance and its rows, as the display name of the job says it."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

_SCHEME = "agb1"


@dataclass(frozen=True)
class Identity:
    """Which task instance a job belongs to. The same for every try of it.

    :param map_index: -1 for a task that is not mapped.
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1

    @property
    def mark(self) -> str:
        """24 hex digits for this task instance. Holds no readable name, as jobs are listed."""
        fields = "\0".join((_SCHEME, self.dag_id, self.task_id, self.run_id, str(self.map_index)))
        return hashlib.sha256(fields.encode()).hexdigest()[:24]

    @property
    def prefix(self) -> str:
        """What the display names of all its jobs begin with."""
        return f"{_SCHEME}.{self.mark}."

    def is_other_run_of(self, other: Identity) -> bool:
        """True for the same task and map index in another run."""
        here, there = (self.dag_id, self.task_id, self.map_index), (other.dag_id, other.task_id, other.map_index)
        return here == there and self.run_id != other.run_id

    def __str__(self) -> str:
        mapped = f"[{self.map_index}]" if self.map_index >= 0 else ""
        return f"{self.dag_id}.{self.task_id}{mapped} of run {self.run_id}"


def content_mark(rows_sha256: str, model: str) -> str:
    """16 hex digits that change with the rows or the model."""
    return hashlib.sha256(f"{rows_sha256}\0{model}".encode()).hexdigest()[:16]


def display_name(identity: Identity, content: str) -> str:
    """A new name: no two jobs share one, not even of the same rows."""
    return f"{identity.prefix}{content}.{secrets.token_hex(4)}"


def identity_mark(name: str) -> str:
    """:attr:`Identity.mark` out of a display name."""
    return name.split(".")[1] if name.startswith(f"{_SCHEME}.") else ""
