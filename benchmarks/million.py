"""``python -m benchmarks.million``: a table through a batch of four jobs and back, at sizes up to a million rows.

Parquet in, a prompt, four shards, Parquet out, against the emulator on the same machine. Each phase runs in a
process of its own. A phase whose time for a row grows with the number of rows would be seen here.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pyarrow
from pyarrow import parquet

from airflow_provider_batch.emulator.process import running_emulator
from benchmarks.phases import in_process

SIZES = (62_500, 250_000, 1_000_000)
SHARDS = 4
TEXT = "The battery lasts two days and the screen is bright, but the seller was slow to answer. " * 2
BLOCK_ROWS = 50_000


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    print(f"{'rows':>10} {'phase':<10}{'seconds':>9}{'us/row':>9}{'growth MiB':>12}")
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
            _run(Path(name), rows)


def _run(folder: Path, rows: int) -> None:
    _write_table(folder / "rows.parquet", rows)
    with running_emulator(folder / "emulator", job_seconds=0.1) as emulator:
        state: dict = {"rows": rows, "shards": SHARDS}
        whole = 0.0
        for phase in ("stage", "upload", "job", "land", "read"):
            figures = in_process(phase, emulator.base_url, folder, state)
            state |= figures["state"]
            if phase == "job":
                continue
            whole += figures["seconds"]
            seconds = figures["seconds"]
            if phase == "land":
                publish = state["publish_seconds"]
                seconds -= publish
            _show(rows, phase, seconds, figures["peak_mib"] - figures["idle_mib"])
            if phase == "land":
                _show(rows, "publish", publish, figures["peak_mib"] - figures["idle_mib"])
        _show(rows, "all", whole, None)
        counts = state["manifest"]["counts"]
        assert counts == {"success": rows}, counts
        assert state["manifest"]["job_count"] == SHARDS
    shutil.rmtree(folder / "emulator", ignore_errors=True)


def _show(rows: int, phase: str, seconds: float, growth: float | None) -> None:
    memory = "" if growth is None else f"{growth:>12.0f}"
    print(f"{rows:>10,} {phase:<10}{seconds:>9.1f}{seconds / rows * 1e6:>9.1f}{memory}", flush=True)


def _write_table(path: Path, rows: int) -> None:
    schema = pyarrow.schema([("id", pyarrow.int64()), ("text", pyarrow.string())])
    with parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, BLOCK_ROWS):
            numbers = range(start, min(start + BLOCK_ROWS, rows))
            texts = [f"{number} {TEXT}" for number in numbers]
            writer.write_batch(pyarrow.record_batch([list(numbers), texts], schema=schema))


if __name__ == "__main__":
    main()
