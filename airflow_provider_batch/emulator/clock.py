"""The emulator's clock: real time plus an offset that tests move forward."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from airflow_provider_batch.emulator.disk import read_json, write_atomically


class Clock:
    """Tells the time; the offset is kept on disk, so that a restart does not turn time back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset_s = float(read_json(path)["offset_seconds"]) if path.exists() else 0.0

    def now(self) -> float:
        """Return the current time in seconds since the epoch."""
        return time.time() + self._offset_s

    def advance(self, seconds: float) -> None:
        """Move the clock forward for good."""
        self._offset_s += seconds
        write_atomically(self._path, msgspec.json.encode({"offset_seconds": self._offset_s}))
