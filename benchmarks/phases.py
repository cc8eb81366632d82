"""One phase of a large batch, in a process of its own: prints seconds, bytes and memory as JSON."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from upath import UPath

from airflow_provider_batch.engine.claim import Claim
from airflow_provider_batch.engine.identity import Identity, display_name
from airflow_provider_batch.engine.land import land
from airflow_provider_batch.engine.submit import Submission
from airflow_provider_batch.gemini.auth import ApiKey
from airflow_provider_batch.gemini.client import GeminiClient
from airflow_provider_batch.gemini.rows import GeminiRows
from airflow_provider_batch.gemini.service import GeminiBatchService
from airflow_provider_batch.gemini.transport import Endpoint
from airflow_provider_batch.rows.keys import KeyTable
from airflow_provider_batch.rows.results import read_results
from airflow_provider_batch.rows.staging import stage as stage_rows
from airflow_provider_batch.rows.storage import spool

WHO = Identity("benchmark", "label", "run")

Result = tuple[int, dict[str, object]]


def stage(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Check, count, hash and copy every row; write the keys."""
    with spool() as out, KeyTable() as keys:
        staged = stage_rows(UPath(folder / "requests.jsonl"), GeminiRows(), out, keys)
        Claim(UPath(folder / "results"), WHO.mark).take(WHO, keys)
    return staged.size_bytes, {"requests": staged.requests}


def upload(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Send the file."""
    path = folder / "requests.jsonl"
    with path.open("rb") as file:
        uploaded = client.upload_file(file, path.stat().st_size, "benchmark")
    return uploaded.size_bytes, {"file": uploaded.name}


def job(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Not a figure: the emulator's own work."""
    batch = client.create_batch("gemini-2.5-flash", "benchmark", file_name=state["file"])
    while not batch.done:
        time.sleep(0.5)
        batch = client.get_batch(batch.name)
    return 1, {"job": batch.name, "output": batch.output.responses_file}


def download(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Fetch the result file to disk."""
    with (folder / "download").open("w+b") as file:
        return client.download_file(state["output"], file), {}


def land_results(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Fetch, match, classify and publish."""
    submission = Submission(
        job_name=state["job"],
        model="gemini-2.5-flash",
        display_name=display_name(WHO, "benchmark"),
        result_path=str(folder / "results"),
        request_count=state["requests"],
    )
    manifest = land(GeminiBatchService(client), submission, GeminiRows(), UPath(folder / "results"))
    return (folder / "results" / "results.jsonl").stat().st_size, {"manifest": manifest.to_xcom()}


def read(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Read the rows back, as a downstream task does."""
    size = sum(len(row.text or "") for row in read_results(state["manifest"]))
    return size, {}


PHASES: dict[str, Callable[[GeminiClient, Path, dict], Result]] = {
    "stage": stage,
    "upload": upload,
    "job": job,
    "download": download,
    "land": land_results,
    "read": read,
}


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
