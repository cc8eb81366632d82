r"""Bytes to lines, with line numbers, and a cap on how long one line may be.

Lines end at the byte ``\\n`` and nowhere else. Python's text-mode splitting also breaks at U+2028, U+0085 and
others. Those may stand unescaped inside a JSON string, and a row would be torn in two.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from typing_extensions import Buffer

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest row that is sent, bytes. The API documents no row limit. Inline media of 20 MB fits in base64."""

MAX_OWN_BYTES = 8 * MAX_LINE_BYTES
"""Longest line of results and of our own files.

A landed row holds its answer up to three times: as the API gave it, as text, as a value. It also holds the columns
that are kept beside it. What was paid for is not lost for its size.
"""

BLOCK_BYTES = 256 * 1024
"""Read at a time."""


class Line(NamedTuple):
    """One line without its line break.

    :param number: 1-based.
    :param data: The bytes. None if the line is longer than the cap and was passed over.
    """

    number: int
    data: bytes | None


class Cutter:
    """Cuts bytes that come in blocks into lines, without their line breaks and carriage returns before them.

    A line that is longer than the cap is None. Its bytes are dropped as soon as they are too many.
    """

    def __init__(self, max_bytes: int = MAX_OWN_BYTES) -> None:
        self._max_bytes = max_bytes
        # Of the line that the last block ended in.
        self._parts: list[bytes] = []
        self._size = 0

    def cut(self, block: bytes) -> list[bytes | None]:
        """The lines that end in this block."""
        lines: list[bytes | None] = [*block.split(b"\n")]
        rest = lines.pop() or b""
        if lines:
            self._add(lines[0] or b"")
            lines[0] = self._taken()
            if len(block) > self._max_bytes or b"\r" in block:
                lines[1:] = map(self._checked, lines[1:])
        self._add(rest)
        return lines

    def rest(self) -> list[bytes | None]:
        """The last line, if there is anything after the last line break."""
        return [self._taken()] if self._size else []

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        self._parts = [*self._parts, part] if self._size <= self._max_bytes else []

    def _taken(self) -> bytes | None:
        line = b"".join(self._parts).rstrip(b"\r") if self._size <= self._max_bytes else None
        self._parts, self._size = [], 0
        return line

    def _checked(self, line: bytes | None) -> bytes | None:
        return line.rstrip(b"\r") if line is not None and len(line) <= self._max_bytes else None


def read_lines(source: BinaryIO, max_bytes: int = MAX_OWN_BYTES) -> Iterator[Line]:
    """Yield the lines of a binary file."""
    cutter, number = Cutter(max_bytes), 0
    while block := source.read(BLOCK_BYTES):
        lines = cutter.cut(block)
        yield from map(Line, range(number + 1, number + len(lines) + 1), lines)
        number += len(lines)
    yield from (Line(number + 1, line) for line in cutter.rest())


class Incoming(io.RawIOBase):
    """A file that is used line by line while it is written, and kept nowhere.

    A writer whose transfer broke off may begin again before the end: what was there already is passed over.

    :param take: Called with the lines, some at a time.
    """

    def __init__(self, take: Callable[[list[bytes | None]], object]) -> None:
        self._take = take
        self._cutter = Cutter()
        self._at = self._end = 0

    def write(self, block: Buffer) -> int:
        """Take the next bytes."""
        known = self._end - self._at
        data = bytes(block)
        self._at += len(data)
        self._end = max(self._at, self._end)
        self._take(self._cutter.cut(data[known:] if known else data))
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to the end, or back."""
        at = offset if whence == io.SEEK_SET else self._end
        if at > self._end:
            raise ValueError(f"only {self._end} bytes have come, {at} is beyond")
        self._at = at
        return at

    def tell(self) -> int:
        """Where the next bytes belong."""
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """What was used cannot be taken back. The same bytes come again."""
        return self._at

    def rest(self) -> list[bytes | None]:
        """The last line, if it has no line break."""
        return self._cutter.rest()
