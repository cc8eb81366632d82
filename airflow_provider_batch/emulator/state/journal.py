"""What the server accepted, in order: the ground truth that reliability tests compare with.

Two files of JSON lines in the data directory. ``journal.jsonl`` has every call that changed something, written
after the change is on disk. ``requests.jsonl`` has every HTTP request, reads and refusals too. Both outlive the
process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from airflow_provider_batch.emulator.state.clock import Clock
from airflow_provider_batch.emulator.state.records import BatchRecord, Outcome, timestamp

END = "batches.end"


class _Lines:
    """An append-only file of numbered JSON lines."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = len(self.read())
        # Unbuffered: a line is with the operating system when the call returns.
        self._file = path.open("ab", buffering=0)

    def append(self, entry: dict[str, object]) -> None:
        self._count += 1
        self._file.write(msgspec.json.encode({"seq": self._count, **entry}) + b"\n")

    def read(self) -> list[dict[str, object]]:
        if not self._path.exists():
            return []
        content = self._path.read_bytes()
        complete = content[: content.rfind(b"\n") + 1]
        if len(complete) < len(content):
            # The process was killed while it wrote this line.
            os.truncate(self._path, len(complete))
        return [msgspec.json.decode(line) for line in complete.splitlines()]


class Journal:
    """The two records of what happened."""

    def __init__(self, data_dir: Path, clock: Clock) -> None:
        self._clock = clock
        self._calls = _Lines(data_dir / "journal.jsonl")
        self._requests = _Lines(data_dir / "requests.jsonl")

    def accept(self, call: str, project: str, **facts: object) -> None:
        """Note a change that was made: its call name, project, and the ids that belong to it."""
        self._calls.append({"time": timestamp(self._clock.now()), "call": call, "project": project, **facts})

    def accept_batch(self, batch: BatchRecord) -> None:
        """Note a new batch."""
        self.accept(
            "batches.create",
            batch.project,
            batch=batch.name,
            displayName=batch.display_name,
            model=batch.model,
            rows=batch.rows,
            file=batch.input_file,
        )

    def end_batch(self, batch: BatchRecord, outcome: Outcome) -> None:
        """Note what a batch that wrote results is billed for: nothing else is."""
        tokens = msgspec.structs.asdict(outcome.tokens)
        rows = {"succeeded": outcome.succeeded, "failed": outcome.failed}
        self.accept(END, batch.project, batch=batch.name, model=batch.model, **rows, tokens=tokens)

    def complete(self, batches: Iterable[BatchRecord]) -> None:
        """Note what a killed process stored of batches and did not come to write down."""
        known = {(call["call"], call.get("batch")) for call in self.calls()}
        for batch in batches:
            if ("batches.create", batch.name) not in known:
                self.accept_batch(batch)
            if batch.outcome is not None and (END, batch.name) not in known:
                self.end_batch(batch, batch.outcome)

    def request(self, method: str, path: str, call: str, status: int | None) -> None:
        """Note an HTTP request and how it was answered. None means that the connection was dropped."""
        entry = {"time": timestamp(self._clock.now()), "method": method, "path": path}
        self._requests.append({**entry, "call": call, "status": status})

    def calls(self) -> list[dict[str, object]]:
        """Return every accepted change, oldest first."""
        return self._calls.read()

    def requests(self) -> list[dict[str, object]]:
        """Return every HTTP request, oldest first."""
        return self._requests.read()
