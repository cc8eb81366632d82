"""Digests of the files beside a ledger, taken while they are written and while they are read.

A file of the right length can hold other rows: another run's, or those of before a restore. Only what has the
digest that was noted is sent or published.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from airflow_provider_batch.rows.storage import READ_BYTES


class Hashing:
    """A file that is read or written from its beginning to its end, and hashed on the way.

    :ivar size_bytes: What has passed so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def read(self, size: int = READ_BYTES) -> bytes:
        """The next bytes."""
        data = self._file.read(size)
        self._passed(data)
        return data

    def write(self, data: bytes) -> int:
        """Take the next bytes."""
        self._passed(data)
        return self._file.write(data)

    @property
    def sha256(self) -> str:
        """Hex digest of what has passed so far."""
        return self._sha256.hexdigest()

    def _passed(self, data: bytes) -> None:
        self._sha256.update(data)
        self.size_bytes += len(data)


def hashed(file: BinaryIO) -> Hashing:
    """Read a whole file from its beginning. Leaves the file at its end."""
    file.seek(0)
    hashing = Hashing(file)
    while hashing.read():
        pass
    return hashing


def digest(file: BinaryIO) -> str:
    """Hex SHA-256 of a whole file. Leaves the file at its end."""
    return hashed(file).sha256


def differs(wanted: str, found: str) -> str:
    """What is wrong with a file, empty if nothing is. Earlier versions noted no digest."""
    return "" if wanted in ("", found) else f"its digest is {found[:12]} instead of {wanted[:12]}"
