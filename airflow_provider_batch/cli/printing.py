"""Text for people and JSON for scripts, on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone


def say(text: str) -> None:
    """A line for people."""
    sys.stdout.write(f"{printable(text)}\n")


def tell(text: str) -> None:
    """A line that is no data."""
    sys.stderr.write(f"{printable(text)}\n")


def document(value: object) -> None:
    """One JSON document."""
    sys.stdout.write(json.dumps(value, indent=1, default=_plain) + "\n")


def line(value: object) -> None:
    """One line of JSON Lines."""
    sys.stdout.write(json.dumps(value, default=_plain) + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns under each other. Numbers stand on the right."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    wide = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
    numeric = [all(row[i].replace(",", "").isdigit() for row in cells if row[i]) for i in range(len(head))]
    for row in [list(head), *cells]:
        padded = (
            cell.rjust(n) if right else cell.ljust(n) for cell, n, right in zip(row, wide, numeric, strict=True)
        )
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def counted(count: int, noun: str) -> str:
    """``1 row``, ``1,200 rows``."""
    return f"{count:,} {noun if count == 1 else f'{noun}s'}"


def printable(text: str) -> str:
    """Without what could steer a terminal: names come from others. Line breaks and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def moment(at: datetime | None) -> str:
    """``2026-11-24 03:12:09 UTC``, as in the log."""
    return "" if at is None else f"{at.astimezone(timezone.utc):%F %T} UTC"


def _plain(value: object) -> str:
    """What JSON has no form for. Times are as in a manifest: ``2026-11-24T03:12:09Z``."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    return str(value)
