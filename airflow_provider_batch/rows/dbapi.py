"""The part of the DB-API (PEP 249) that reading and writing rows uses. Every driver has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Cursor(Protocol):
    """Of an open connection."""

    @property
    def description(self) -> Sequence[Sequence[Any]]:
        """A column each, the name first."""
        ...

    def execute(self, operation: str, /, *parameters: object) -> object:
        """Run a statement."""
        ...

    def executemany(self, operation: str, parameters: Sequence[Sequence[object]], /) -> object:
        """Run a statement for each row of parameters."""
        ...

    def fetchmany(self, size: int, /) -> Sequence[Sequence[object]]:
        """The next rows."""
        ...

    def close(self) -> object:
        """End it."""
        ...


class Connection(Protocol):
    """Of a database."""

    def cursor(self, **options: str) -> Cursor:
        """A new one.

        :param options: Of some drivers only.
        """
        ...

    def commit(self) -> object:
        """Keep what was done."""
        ...

    def rollback(self) -> object:
        """Undo what was done."""
        ...

    def close(self) -> object:
        """End it."""
        ...
