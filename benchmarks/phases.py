"""One phase of a large batch, in a process of its own: prints seconds, bytes and memory as JSON."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from upath import UPath

from airflow_provider_batch.engine.begin import Order, ledger_for
from airflow_provider_batch.engine.identity import Identity
from airflow_provider_batch.engine.ledger import generations
from airflow_provider_batch.engine.run import Run, Work
from airflow_provider_batch.engine.state import read_batch
from airflow_provider_batch.engine.step import Policy
from airflow_provider_batch.gemini.auth import ApiKey
from airflow_provider_batch.gemini.client import GeminiClient
from airflow_provider_batch.gemini.rows import GeminiRows
from airflow_provider_batch.gemini.service import GeminiBatchService
from airflow_provider_batch.gemini.transport import Endpoint
from airflow_provider_batch.rows.results import read_results
from airflow_provider_batch.rows.sources.choice import source_of
from airflow_provider_batch.rows.staging import Intake

Result = tuple[int, dict[str, object]]


def stage(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Check, count and hash every row; keep a copy beside the ledger."""
    ledger = ledger_for(
        GeminiBatchService(client),
        _order(folder),
        Intake(source_of(UPath(folder / "requests.jsonl"))),
        GeminiRows(),
    )
    plan = read_batch(ledger).plan
    return plan.size_bytes, {"requests": plan.rows}


def upload(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Send the file and create the job."""
    waiting = _visit(client, folder)
    return (folder / "requests.jsonl").stat().st_size, {"job": waiting.jobs[0]}


def job(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Not a figure: the emulator's own work."""
    while not (batch := client.get_batch(state["job"])).done:
        time.sleep(0.5)
    return 1, {"output": batch.output.responses_file}


def download(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Fetch the result file to disk."""
    with (folder / "download").open("w+b") as file:
        return client.download_file(state["output"], file), {}


def land(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Fetch, match, classify, put together and publish."""
    manifest = _visit(client, folder).manifest
    return (folder / "results" / "results.jsonl").stat().st_size, {"manifest": manifest.to_xcom()}


def _order(folder: Path) -> Order:
    return Order(Identity("benchmark", "label", "run"), "account", "gemini-2.5-flash", UPath(folder / "results"))


def _visit(client: GeminiClient, folder: Path) -> Any:
    ledger = generations(UPath(folder / "results"), _order(folder).identity.mark)[-1]
    work = Work(
        GeminiBatchService(client),
        ledger,
        UPath(folder / "results"),
        GeminiRows(),
        Policy(),
        # It may be landed again.
        keep_remote_files=True,
    )
    return Run(work).go()


def read(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Read the rows back, as a downstream task does."""
    size = sum(len(row.text or "") for row in read_results(state["manifest"]))
    return size, {}


PHASES: dict[str, Callable[[GeminiClient, Path, dict], Result]] = {
    "stage": stage,
    "upload": upload,
    "job": job,
    "download": download,
    "land": land,
    "read": read,
}


def in_process(phase: str, url: str, folder: Path, state: dict) -> dict:
    """Run a phase in a process of its own, so that none can hide in another's peak; its figures."""
    command = [sys.executable, "-m", "benchmarks.phases", phase, url, str(folder), json.dumps(state)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    phase, url, folder, state = sys.argv[1:]
    with GeminiClient(Endpoint(ApiKey("benchmark"), base_url=url)) as client:
        next(client.list_models(page_size=1))
        idle_mib, began = _peak_mib(), time.perf_counter()
        size, produced = PHASES[phase](client, Path(folder), json.loads(state))
        seconds = time.perf_counter() - began
    figures = {"seconds": seconds, "bytes": size, "idle_mib": idle_mib, "peak_mib": _peak_mib(), "state": produced}
    json.dump(figures, sys.stdout)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
