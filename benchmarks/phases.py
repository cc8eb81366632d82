"""One phase of a large batch, in a process of its own: prints seconds, bytes and memory as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from upath import UPath

from airflow_provider_batch.batch import run
from airflow_provider_batch.batch.decide.policy import Policy
from airflow_provider_batch.batch.ledger.documents import Layout
from airflow_provider_batch.batch.ledger.job_names import Identity
from airflow_provider_batch.batch.ledger.state import read_batch
from airflow_provider_batch.batch.ledger.store import Ledger, generations
from airflow_provider_batch.batch.run import Run
from airflow_provider_batch.batch.send.spec import BatchSpec
from airflow_provider_batch.batch.send.start import ledger_for
from airflow_provider_batch.batch.work import Work
from airflow_provider_batch.gemini.client.auth import ApiKey
from airflow_provider_batch.gemini.client.blocking import GeminiClient
from airflow_provider_batch.gemini.client.transport import Endpoint
from airflow_provider_batch.gemini.rows.dialect import GeminiRows
from airflow_provider_batch.gemini.rows.requests import RequestTemplate
from airflow_provider_batch.gemini.service import GeminiBatchService
from airflow_provider_batch.rows.check.shards import ShardLimits
from airflow_provider_batch.rows.check.staging import Intake
from airflow_provider_batch.rows.read.choice import source_of
from airflow_provider_batch.rows.results import read_results

Result = tuple[int, dict[str, object]]
IDENTITY = Identity("benchmark", "label", "run")


def stage(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Check, count and hash every row; keep a copy beside the ledger."""
    intake = Intake(source_of(UPath(folder / "requests.jsonl")))
    if "shards" in state:
        template = RequestTemplate("What does the customer feel? {text}", key="id")
        intake = Intake(source_of(UPath(folder / "rows.parquet")), template.line)
    ledger = ledger_for(GeminiBatchService(client), _order(folder, state), intake, GeminiRows())
    plan = read_batch(ledger).plan
    return plan.size_bytes, {"requests": plan.rows}


def upload(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Send the file and create the job."""
    waiting = _visit(client, folder)
    (plan, *_) = (read_batch(ledger).plan for ledger in _ledgers(folder))
    return plan.size_bytes, {"jobs": waiting.jobs}


def job(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Not a figure: the emulator's own work."""
    for name in state["jobs"]:
        while not (batch := client.get_batch(name)).done:
            time.sleep(0.5)
    return 1, {"output": batch.output.responses_file}


def download(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Fetch the result file to disk."""
    with (folder / "download").open("w+b") as file:
        return client.download_file(state["output"], file), {}


def land(client: GeminiClient, folder: Path, state: dict) -> Result:
    """Fetch, match, classify, put together and publish."""
    began = time.perf_counter()
    published: list[float] = []
    publish = run.publish

    def timed(*arguments: Any) -> Any:
        published.append(time.perf_counter() - began)
        return publish(*arguments)

    run.publish = timed
    manifest = _visit(client, folder).manifest
    seconds = time.perf_counter() - began - published[0]
    size = Path(manifest.result_uri).stat().st_size
    return size, {"manifest": manifest.to_xcom(), "publish_seconds": seconds}


def _order(folder: Path, state: dict) -> BatchSpec:
    rows, form = state.get("rows"), "parquet" if "shards" in state else "jsonl"
    return BatchSpec(
        IDENTITY,
        "account",
        "gemini-2.5-flash",
        UPath(folder / "results"),
        ShardLimits(rows=rows // state["shards"] if rows else None),
        layout=Layout(format=form),
    )


def _ledgers(folder: Path) -> list[Ledger]:
    return generations(UPath(folder / "results"), IDENTITY.task_digest)


def _visit(client: GeminiClient, folder: Path) -> Any:
    work = Work(
        GeminiBatchService(client),
        _ledgers(folder)[-1],
        UPath(folder / "results"),
        GeminiRows(),
        Policy(),
        # It may be landed again.
        results={"keep_remote_files": True},
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
    # Not ru_maxrss: that remembers the process that started this one.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
