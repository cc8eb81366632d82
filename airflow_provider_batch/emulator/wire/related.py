"""A ``multipart/related`` body of two parts, JSON and bytes, read as it arrives and never held as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import Message

_MAX_MESSAGE_BYTES = 1 << 20
_END_OF_HEADERS = b"\r\n\r\n"


class RelatedError(Exception):
    """The body is not of that form."""


class Related:
    """The parts, to be read in this order: ``message``, ``content_type``, ``content``.

    :param content_type: the header of the request, with the boundary.
    :raises RelatedError: the header names another type or no boundary. The methods raise it, too.
    """

    def __init__(self, content_type: str, pieces: AsyncIterator[bytes]) -> None:
        header = _header(content_type)
        boundary = header.get_param("boundary")
        if header.get_content_type() != "multipart/related" or not isinstance(boundary, str) or not boundary:
            raise RelatedError("the Content-Type is not multipart/related with a boundary")
        self._delimiter = b"\r\n--" + boundary.encode()
        self._pieces = pieces
        # The first delimiter is one as well, although no line ends before it.
        self._read = bytearray(b"\r\n")

    async def message(self) -> bytes:
        """Return the first part."""
        await self._until(self._delimiter)
        await self._until(_END_OF_HEADERS)
        return await self._until(self._delimiter)

    async def content_type(self) -> str | None:
        """Return the type of the second part, None if it has none."""
        headers = (await self._until(_END_OF_HEADERS)).decode("latin-1")
        named = [line.partition(":") for line in headers.split("\r\n")]
        return next((value.strip() for name, _, value in named if name.strip().lower() == "content-type"), None)

    async def content(self) -> AsyncIterator[bytes]:
        """Yield the second part."""
        kept = len(self._delimiter) - 1
        while (end := self._read.find(self._delimiter)) < 0:
            if len(self._read) > kept:
                ready = bytes(self._read[:-kept])
                del self._read[:-kept]
                yield ready
            await self._more()
        yield bytes(self._read[:end])
        del self._read[: end + len(self._delimiter)]
        while len(self._read) < len(b"--"):
            await self._more()
        if not self._read.startswith(b"--"):
            raise RelatedError("it has more than two parts")

    async def _until(self, mark: bytes) -> bytes:
        while (at := self._read.find(mark)) < 0:
            if len(self._read) > _MAX_MESSAGE_BYTES:
                raise RelatedError("its first part is too large, or has no end")
            await self._more()
        before = bytes(self._read[:at])
        del self._read[: at + len(mark)]
        return before

    async def _more(self) -> None:
        try:
            self._read += await anext(self._pieces)
        except StopAsyncIteration:
            raise RelatedError("it ends before its last boundary") from None


def _header(content_type: str) -> Message:
    header = Message()
    header["Content-Type"] = content_type
    return header
