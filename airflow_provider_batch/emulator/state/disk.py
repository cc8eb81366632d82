"""Small records on disk, written so that a killed process leaves the old or the new one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by a complete new one: write beside it, flush to the disk, rename."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as target:
        target.write(content)
        target.flush()
        os.fsync(target.fileno())
    beside.replace(path)


def read_json(path: Path) -> Any:
    """Read one JSON document."""
    return msgspec.json.decode(path.read_bytes())


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name that outlives the first. Copies where links are not possible."""
    import shutil

    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
