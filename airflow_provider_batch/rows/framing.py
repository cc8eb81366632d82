r"""Bytes to lines, with line numbers, and a cap on how long one line may be.

Lines end at the byte ``\\n`` and nowhere else. Python's text-mode splitting also breaks at U+2028, U+0085
and others, which may stand unescaped inside a JSON string and would tear one row in two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest line that is read, bytes. The API documents no row limit; inline media of 20 MB fits in base64."""

BLOCK_BYTES = 256 * 1024
"""Read at a time."""


class Line(NamedTuple):
    """One line without its line break.

    :param number: 1-based.
    :param data: The bytes; None if the line is longer than the cap and was passed over.
    """

    number: int
    data: bytes | None


class _Rest:
    """The line that a block ends in the middle of; its bytes are dropped once they are too many."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, part: bytes) -> None:
        self.size += len(part)
        if self.size <= self._max_bytes:
            self._parts.append(part)
        else:
            self._parts.clear()

    def taken(self) -> bytes | None:
        line = b"".join(self._parts).rstrip(b"\r") if self.size <= self._max_bytes else None
        self._parts.clear()
        self.size = 0
        return line


def read_lines(source: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """Yield the lines of a binary file. Carriage returns before the line break are dropped with it."""
    number, rest = 0, _Rest(max_bytes)
    while block := source.read(BLOCK_BYTES):
        start, *lines = block.split(b"\n")
        rest.add(start)
        if not lines:
            continue
        number += 1
        yield Line(number, rest.taken())
        rest.add(lines.pop())
        for line in lines:
            number += 1
            yield Line(number, line.rstrip(b"\r") if len(line) <= max_bytes else None)
    if rest.size:
        yield Line(number + 1, rest.taken())
