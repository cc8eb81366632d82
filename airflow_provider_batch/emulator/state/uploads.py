"""The bytes of a resumable upload, on their way to the disk.

Pieces from the socket are gathered to a mebibyte and written and hashed in a thread. So neither the event loop nor
the memory notices a large file. The size of the part file is the truth about how much arrived. Nothing else is
recorded, so nothing can disagree with it after a kill.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

_PIECE_BYTES = 1 << 20


class UploadTakenOverError(Exception):
    """Another request writes to this upload now. The older one must stop."""


class PartFile:
    """One upload's file, fed by at most one request at a time.

    A client that lost its connection comes back on another one, perhaps before the server noticed the loss. The
    newcomer takes over: anything that the older request would still write is refused.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._writer = 0
        self._gathered = bytearray()
        self._writing: asyncio.Task[None] | None = None
        # The digest of the first `_hashed_bytes` bytes. A restart begins again from the file.
        self._digest = hashlib.sha256()
        self._hashed_bytes = 0

    async def take_over(self) -> int:
        """Become the writer. What the previous one had gathered is kept.

        :returns: the number to write with.
        """
        async with self._lock:
            self._writer += 1
            await self._flush()
            return self._writer

    def size(self) -> int:
        """Return how many bytes are in the file."""
        return self._path.stat().st_size if self._path.exists() else 0

    async def rewind(self, offset: int) -> None:
        """Forget the bytes from an offset on: the client sends them again."""
        async with self._lock:
            if offset < self.size():
                await asyncio.to_thread(os.truncate, self._path, offset)
                self._hashed_bytes = min(self._hashed_bytes, offset)
                self._digest = hashlib.sha256()
                await asyncio.to_thread(self._hash_from_disk)

    async def append(self, piece: bytes, writer: int) -> None:
        """Add bytes.

        :raises UploadTakenOverError: another request became the writer.
        """
        if writer != self._writer:
            raise UploadTakenOverError
        self._gathered += piece
        if len(self._gathered) >= _PIECE_BYTES:
            async with self._lock:
                await self._begin_write()

    async def flush(self, writer: int) -> None:
        """Write what was gathered, unless another request became the writer."""
        async with self._lock:
            if writer == self._writer:
                await self._flush()

    async def finish(self) -> str:
        """Write what is left and return the SHA-256 of the whole as hexadecimal digits."""
        async with self._lock:
            await self._flush()
            self._path.touch()
            if self._hashed_bytes != self.size():
                self._digest = hashlib.sha256()
                await asyncio.to_thread(self._hash_from_disk)
            return self._digest.hexdigest()

    async def _flush(self) -> None:
        await self._begin_write()
        await self._end_write()

    async def _begin_write(self) -> None:
        """Hand what was gathered to a thread. The next bytes are received meanwhile."""
        await self._end_write()
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._writing = asyncio.create_task(asyncio.to_thread(self._write, gathered))

    async def _end_write(self) -> None:
        if self._writing is not None:
            # Not lost if this request is cancelled: the thread goes on, and the next one waits for it.
            await asyncio.shield(self._writing)
            self._writing = None

    def _write(self, gathered: bytearray) -> None:
        known = self._hashed_bytes == self.size()
        with self._path.open("ab") as part:
            part.write(gathered)
        if known:
            self._digest.update(gathered)
            self._hashed_bytes += len(gathered)

    def _hash_from_disk(self) -> None:
        self._hashed_bytes = 0
        if not self._path.exists():
            return
        with self._path.open("rb") as part:
            while piece := part.read(_PIECE_BYTES):
                self._digest.update(piece)
                self._hashed_bytes += len(piece)


class PartFiles:
    """The part files that this process has open, by upload."""

    def __init__(self) -> None:
        self._by_upload: dict[str, PartFile] = {}

    def of(self, upload_id: str, path: Path) -> PartFile:
        """Return the part file of an upload, the same object to everybody."""
        return self._by_upload.setdefault(upload_id, PartFile(path))

    def forget(self, upload_id: str) -> None:
        """Drop an upload that came to an end."""
        self._by_upload.pop(upload_id, None)
