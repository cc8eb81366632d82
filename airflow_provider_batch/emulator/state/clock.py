"""The emulator's clock: real time, run faster if wanted, plus an offset that tests move forward."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from airflow_provider_batch.emulator.state.disk import read_json, write_atomically


class Clock:
    """Tells the time. What it is based on is kept on disk, so that a restart does not turn time back.

    :param speed: its seconds in a real second. While the process is down, it goes at that speed too.
    """

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        self._path = path
        self._speed = speed
        kept = read_json(path) if path.exists() else {}
        self._began = float(kept.get("began", time.time()))
        self._shown = float(kept.get("shown", self._began))
        if kept.get("speed", speed) != speed:
            self._shown += (time.time() - self._began) * float(kept["speed"])
            self._began = time.time()
        if speed != 1.0 or kept:
            self._save()

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        return self._shown + (time.time() - self._began) * self._speed

    def real_seconds(self, seconds: float) -> float:
        """Return how long so many of its seconds really take."""
        return seconds / self._speed

    def advance(self, seconds: float) -> None:
        """Move the clock forward for good."""
        self._shown += seconds
        self._save()

    def _save(self) -> None:
        kept = {"began": self._began, "shown": self._shown, "speed": self._speed}
        write_atomically(self._path, msgspec.json.encode(kept))
