"""``python -m benchmarks [megabytes]``: memory of large transfers, and what importing the operator costs.

Each figure is taken in a process of its own, so that one phase cannot hide in another's peak.
"""

from __future__ import annotations

import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from airflow_provider_batch.emulator.process import running_emulator
from benchmarks.phases import in_process

ROWS_PER_MB = 500
MEMORY_BAR_MIB = 64
IMPORT_BAR_MS = 40
IMPORT_RUNS = 9
MODULE = "airflow_provider_batch.operators.gemini"


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"Python {platform.python_version()}, {platform.machine()}, {megabytes} MB each way\n")
    _imports()
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        _transfers(Path(folder), megabytes)


def _imports() -> None:
    added = statistics.median(_import_ms() for _ in range(IMPORT_RUNS))
    print(f"import of {MODULE} over airflow.sdk and airflow.triggers.base")
    print(f"  {added:.1f} ms, median of {IMPORT_RUNS} (bar: {IMPORT_BAR_MS} ms)\n")


def _import_ms() -> float:
    code = f"import airflow.sdk, airflow.triggers.base; import {MODULE}"
    command = [sys.executable, "-X", "importtime", "-c", code]
    trace = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    (cumulative_us,) = re.findall(rf"\|\s+(\d+) \| +{re.escape(MODULE)}$", trace, re.MULTILINE)
    return int(cumulative_us) / 1000


def _transfers(folder: Path, megabytes: int) -> None:
    source = folder / "requests.jsonl"
    _write_requests(source, megabytes)
    with running_emulator(
        folder / "emulator", job_seconds=0.1, answers="benchmarks.answers:two_kilobytes"
    ) as emulator:
        print(
            f"{'phase':<10}{'seconds':>9}{'MB/s':>8}{'idle MiB':>11}{'peak MiB':>11}{'growth':>9}"
            f"   bar {MEMORY_BAR_MIB} MiB"
        )
        state: dict[str, str] = {}
        for phase in ("stage", "upload", "job", "download", "land", "read"):
            figures = in_process(phase, emulator.base_url, folder, state)
            state |= figures.pop("state")
            _show(phase, figures)


def _show(phase: str, figures: dict) -> None:
    if phase == "job":
        return
    growth = figures["peak_mib"] - figures["idle_mib"]
    rate = figures["bytes"] / 1e6 / figures["seconds"]
    print(
        f"{phase:<10}{figures['seconds']:>9.1f}{rate:>8.0f}{figures['idle_mib']:>11.0f}"
        f"{figures['peak_mib']:>11.0f}{growth:>9.0f}   {'ok' if growth <= MEMORY_BAR_MIB else 'OVER'}"
    )


def _write_requests(path: Path, megabytes: int) -> None:
    text = "word " * 380
    with path.open("w") as file:
        for number in range(megabytes * ROWS_PER_MB):
            request = {"contents": [{"role": "user", "parts": [{"text": f"{number} {text}"}]}]}
            file.write(json.dumps({"key": f"row-{number}", "request": request}) + "\n")


if __name__ == "__main__":
    main()
