r"""Bytes to lines, with line numbers, and a cap on how long one line may be.

Lines end at the byte ``\\n`` and nowhere else. Python's text-mode splitting also breaks at U+2028, U+0085
and others, which may stand unescaped inside a JSON string and would tear one row in two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Longest line that is read, bytes. The API documents no row limit; inline media of 20 MB fits in base64."""


class Line(NamedTuple):
    """One line without its line break.

    :param number: 1-based.
    :param data: The bytes; None if the line is longer than the cap and was passed over.
    """

    number: int
    data: bytes | None


def read_lines(source: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """Yield the lines of a binary file. A carriage return before the line break is dropped with it."""
    number = 0
    while data := source.readline(max_bytes + 1):
        number += 1
        if len(data) > max_bytes and not data.endswith(b"\n"):
            _skip_rest(source, max_bytes)
            yield Line(number, None)
        else:
            yield Line(number, data.rstrip(b"\r\n"))


def _skip_rest(source: BinaryIO, max_bytes: int) -> None:
    while (data := source.readline(max_bytes)) and not data.endswith(b"\n"):
        pass
