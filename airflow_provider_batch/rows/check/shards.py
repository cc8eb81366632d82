"""Rows to a spool, cut where a remote job is full and hashed on the way. One pass for any number of jobs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import BinaryIO, NamedTuple

from airflow_provider_batch.rows.dialect import BYTES_PER_TOKEN

MEDIA_SHARE = 3, 4
"""What rows may fill of a file if they name media files: an address may be longer than a name."""

_BLOCK_BYTES = 256 * 1024
"""Written and hashed at a time."""


@dataclass(frozen=True)
class ShardLimits:
    """What fits into one remote job.

    :param rows: None = no limit of our own.
    :param size_bytes: None = no limit of our own.
    :param tokens: Rough number of input tokens, None = no limit of our own.
    :param with_media: Rows name media files, which get longer names before they are sent.
    """

    rows: int | None = None
    size_bytes: int | None = None
    tokens: int | None = None
    with_media: bool = False

    def within(self, file_bytes: int) -> ShardLimits:
        """The same, and no more than fits into one file.

        :param file_bytes: The largest file that the vendor takes.
        """
        share, of = MEDIA_SHARE
        most = file_bytes * share // of if self.with_media else file_bytes
        return replace(self, size_bytes=most if self.size_bytes is None else min(most, self.size_bytes))

    def admit(self, rows: int, size_bytes: int, tokens: int) -> bool:
        """A shard may be as large as this."""
        return (
            (self.rows is None or rows <= self.rows)
            and (self.size_bytes is None or size_bytes <= self.size_bytes)
            and (self.tokens is None or tokens <= self.tokens)
        )


class Cut(NamedTuple):
    """The part of a spool that goes to one remote job.

    :param start: Offset of its first byte.
    :param size_bytes: Length.
    :param rows: Number of rows.
    :param tokens: Rough number of input tokens.
    :param sha256: Hex digest of its bytes.
    """

    start: int
    size_bytes: int
    rows: int
    tokens: int
    sha256: str


class ShardWriter:
    """Writes rows one after another. A row that is too large by itself goes alone."""

    def __init__(self, out: BinaryIO, limits: ShardLimits) -> None:
        self._out = out
        self._limits = limits
        self._cuts: list[Cut] = []
        self._start = self._size = self._rows = self._tokens = 0
        self._part = hashlib.sha256()
        # Of all rows. As long as there is one part, its digest is the same and is computed once.
        self._whole: hashlib._Hash | None = None
        self._block: list[bytes] = []
        self._block_bytes = 0

    def add(self, line: bytes, tokens: int | None = None) -> int:
        """Write a row.

        :param line: Without a line break.
        :param tokens: Rough number of input tokens, None = judge by its length.
        :return: Offset of its first byte in the spool.
        """
        size = len(line) + 1
        tokens = size // BYTES_PER_TOKEN if tokens is None else tokens
        if self._rows and not self._limits.admit(self._rows + 1, self._size + size, self._tokens + tokens):
            self._cut()
        offset = self._start + self._size
        self._block.append(line)
        self._block_bytes += size
        self._rows += 1
        self._size += size
        self._tokens += tokens
        if self._block_bytes >= _BLOCK_BYTES:
            self._flush()
        return offset

    def close(self) -> list[Cut]:
        """Write what is left. The parts in their order."""
        if self._rows:
            self._cut()
        return self._cuts

    @property
    def sha256(self) -> str:
        """Hex digest of all rows, after :meth:`close`."""
        if len(self._cuts) == 1:
            return self._cuts[0].sha256
        return (self._whole or hashlib.sha256()).hexdigest()

    def _cut(self) -> None:
        self._flush()
        if self._whole is None:
            self._whole = self._part.copy()
        self._cuts.append(Cut(self._start, self._size, self._rows, self._tokens, self._part.hexdigest()))
        self._start += self._size
        self._size = self._rows = self._tokens = 0
        self._part = hashlib.sha256()

    def _flush(self) -> None:
        if not self._block:
            return
        self._block.append(b"")
        data = b"\n".join(self._block)
        self._block = []
        self._block_bytes = 0
        self._out.write(data)
        self._part.update(data)
        if self._whole is not None:
            self._whole.update(data)
