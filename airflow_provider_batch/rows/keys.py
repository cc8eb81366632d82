"""The keys of a batch: which line had each first, and which of them have come back.

Kept in SQLite's private temporary database, so memory stays flat with a million keys, the answers are exact
(no hash can collide), and nothing is left behind.
"""

from __future__ import annotations

import enum
import sqlite3
from collections.abc import Iterator

_CACHE_KIB = 16 * 1024
"""SQLite's page cache: all of a 100,000-row batch, a bounded part of a larger one."""


class Arrival(enum.Enum):
    """What the arrival of a result's key means."""

    EXPECTED = "expected"
    AGAIN = "again"
    UNKNOWN = "unknown"


class KeyTable:
    """Remembers keys on disk. Use as a context manager.

    One thread at a time; the temporary database disappears on close, or with the process.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute(
            "CREATE TABLE keys (key TEXT PRIMARY KEY, line INTEGER NOT NULL, seen INTEGER DEFAULT 0) WITHOUT ROWID"
        )
        # One transaction for the whole life: without it every insert would be written through.
        self._db.execute("BEGIN")

    def __enter__(self) -> KeyTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, key: str, line: int) -> int | None:
        """Remember a key; return None if it is new, else the line that had it first."""
        inserted = self._db.execute("INSERT OR IGNORE INTO keys (key, line) VALUES (?, ?)", (key, line))
        if inserted.rowcount:
            return None
        return self.line_of(key)

    def line_of(self, key: str) -> int | None:
        """What was given with the key, None if it is not here."""
        row = self._db.execute("SELECT line FROM keys WHERE key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])

    def arrive(self, key: str) -> Arrival:
        """Note that a result for the key came."""
        if self._db.execute("UPDATE keys SET seen = 1 WHERE key = ? AND seen = 0", (key,)).rowcount:
            return Arrival.EXPECTED
        known = self._db.execute("SELECT 1 FROM keys WHERE key = ?", (key,)).fetchone()
        return Arrival.AGAIN if known else Arrival.UNKNOWN

    def outstanding(self) -> Iterator[str]:
        """Keys without a result so far."""
        for (key,) in self._db.execute("SELECT key FROM keys WHERE seen = 0 ORDER BY line"):
            yield key

    def __contains__(self, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM keys WHERE key = ?", (key,)).fetchone() is not None

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM keys").fetchone()[0])
