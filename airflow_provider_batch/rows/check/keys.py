"""The keys of a batch: which line had each first, and which of them have come back.

:class:`KeyTable` is SQLite's private temporary database. So memory stays flat with a million keys, and nothing is
left behind. The answers are exact, as no hash can collide. :class:`Arrivals` is quicker, for the one question that
is asked for each result. It holds hashes, 15 bytes a key.
"""

from __future__ import annotations

import enum
import sqlite3
from array import array
from collections.abc import Callable, Iterable

_CACHE_KIB = 16 * 1024
"""SQLite's page cache: all of a 100,000-row batch, a bounded part of a larger one."""

_SLOTS_PER_KEY = 1.6
"""Of 8 bytes, and one for the mark. Fuller tables are searched longer."""

_WORD = 2**64 - 1

_SALTS = ("", ".", "..", "...")
"""For other hashes. That one is not enough happens once in 10**7 batches of a million keys."""


class Arrival(enum.Enum):
    """What the arrival of a result's key means."""

    EXPECTED = "expected"
    AGAIN = "again"
    UNKNOWN = "unknown"


class KeyTable:
    """Remembers keys on disk. Use as a context manager.

    One thread at a time. The temporary database disappears on close, or with the process.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", f"cache_size=-{_CACHE_KIB}"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, line INTEGER NOT NULL) WITHOUT ROWID")
        # One transaction for the whole life: without it every insert would be written through.
        self._db.execute("BEGIN")

    def __enter__(self) -> KeyTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, key: str, line: int) -> int | None:
        """Remember a key. Return None if it is new, else the line that had it first."""
        inserted = self._db.execute("INSERT OR IGNORE INTO keys (key, line) VALUES (?, ?)", (key, line))
        if inserted.rowcount:
            return None
        return self.line_of(key)

    def line_of(self, key: str) -> int | None:
        """What was given with the key, None if it is not here."""
        row = self._db.execute("SELECT line FROM keys WHERE key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])

    def __contains__(self, key: str) -> bool:
        return self._db.execute("SELECT 1 FROM keys WHERE key = ?", (key,)).fetchone() is not None

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM keys").fetchone()[0])


class Arrivals:
    """Keys that are awaited, and which of them have come.

    Two awaited keys with the same hash are noticed when they are put in, and another hash is taken. What is left
    is a key that is not awaited and that has the hash of an awaited one. For a million keys that is 1 in 10**13.

    :param keys: Gives the keys from their beginning, each time it is called. No key comes twice.
    :param count: How many there are.
    :raises ValueError: A key comes twice.
    """

    def __init__(self, keys: Callable[[], Iterable[str]], count: int) -> None:
        self._slots = int(count * _SLOTS_PER_KEY) + 1
        for salt in _SALTS:
            self._salt = salt
            if self._filled(keys()):
                return
        raise ValueError("a key comes twice")

    def arrive(self, key: str) -> Arrival:
        """Note that a result for the key came."""
        slot = self._slot(key)
        if not self._hashes[slot]:
            return Arrival.UNKNOWN
        if self._came[slot]:
            return Arrival.AGAIN
        self._came[slot] = 1
        return Arrival.EXPECTED

    def has_come(self, key: str) -> bool:
        """A result for an awaited key came."""
        return bool(self._came[self._slot(key)])

    def _filled(self, keys: Iterable[str]) -> bool:
        self._hashes = array("Q", bytes(8 * self._slots))
        self._came = bytearray(self._slots)
        for key in keys:
            slot = self._slot(key)
            if self._hashes[slot]:
                return False
            self._hashes[slot] = self._hash(key)
        return True

    def _slot(self, key: str) -> int:
        """Where the key is, or would be."""
        hashes, slots, wanted = self._hashes, self._slots, self._hash(key)
        slot = wanted % slots
        while (there := hashes[slot]) and there != wanted:
            slot = slot + 1 if slot + 1 < slots else 0
        return slot

    def _hash(self, key: str) -> int:
        # 0 marks a free slot.
        return hash(self._salt + key) & _WORD or 1
