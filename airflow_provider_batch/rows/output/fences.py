"""JSON in a Markdown code fence, as models often write it, with or without text around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_OPENING = re.compile(r"(?P<marks>`{3,}|~{3,})[ \t]*[A-Za-z0-9_+.-]*\s*")
MOST_FENCES = 20
"""Fences of one answer that are looked at."""

_read_value = json.JSONDecoder().raw_decode


def fenced_values(text: str) -> Iterator[str]:
    """The JSON values that fill a code fence each, as text. A fence may be open at the end."""
    start = 0
    for _ in range(MOST_FENCES):
        opening = _OPENING.search(text, start)
        if opening is None:
            return
        start = opening.end()
        try:
            _, end = _read_value(text, start)
        except (ValueError, RecursionError):
            continue
        rest = text[end : end + 1_000].lstrip()
        if not text[end:].strip():
            yield text[start:end]
            return
        if rest.startswith(opening["marks"]):
            yield text[start:end]
            start = text.index(opening["marks"], end) + len(opening["marks"])
