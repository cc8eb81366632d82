"""``python -m demo``: run the ETL example on a real Airflow against the emulator, print what happened, clean up.

``python -m demo --serve`` leaves both up for looking around, until Ctrl-C.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from demo.patience import wait_for
from demo.report import print_report
from demo.stack import ROOT, Airflow, running_stack

FOLDER = ROOT / ".demo"
DAG_ID = "gemini_batch_etl"
JOB_SECONDS = 12.0
FINAL = ("success", "failed")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="leave Airflow and the emulator up")
    serve = parser.parse_args().serve
    # As for Ctrl-C: Airflow's processes have sessions of their own and would outlive us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    print("Starting the emulator and Airflow (about half a minute, more on a busy machine)...", flush=True)
    try:
        with running_stack(FOLDER, JOB_SECONDS) as airflow:
            if serve:
                _serve(airflow)
                return
            run_id = airflow.trigger(DAG_ID)
            print(f"\nRunning the DAG {DAG_ID}\n", flush=True)
            state = _follow(airflow, run_id)
            manifest = _manifest(airflow, run_id) if state == "success" else None
    except KeyboardInterrupt:
        return
    except httpx.HTTPStatusError as error:
        raise SystemExit(f"\nAirflow refused: {error}. Logs: {FOLDER / 'airflow'}") from None
    if manifest is None:
        raise SystemExit(f"\nThe run ended as {state}. Logs: {FOLDER / 'airflow' / 'logs'}")
    print_report(manifest, next((FOLDER / "lake").glob("*/reviews.db")))


def _follow(airflow: Airflow, run_id: str) -> str:
    """Print each change of a task's state until the run is over; return the run's state."""
    seen: dict[str, str] = {}
    began = time.monotonic()

    def ended() -> str | None:
        state = str(airflow.get(f"/dags/{DAG_ID}/dagRuns/{run_id}")["state"])
        for instance in _instances(airflow, run_id):
            _show(instance, seen, time.monotonic() - began)
        return state if state in FINAL else None

    return wait_for(f"the run of {DAG_ID} to end", ended, logs=airflow.home / "logs")


def _show(instance: dict[str, Any], seen: dict[str, str], elapsed_s: float) -> None:
    task, state = instance["task_id"], instance["state"] or "waiting"
    if seen.get(task) == state or state not in ("running", "deferred", "success", "failed", "up_for_retry"):
        return
    seen[task] = state
    note = "  (waits in the triggerer, holds no worker slot)" if state == "deferred" else ""
    print(f"  {elapsed_s:5.1f} s  {task:<15} {state}{note}", flush=True)


def _instances(airflow: Airflow, run_id: str) -> list[dict[str, Any]]:
    return list(airflow.get(f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances")["task_instances"])


def _manifest(airflow: Airflow, run_id: str) -> dict[str, Any]:
    path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/label/xcomEntries/return_value"
    return dict(airflow.get(path, deserialize="true")["value"])


def _serve(airflow: Airflow) -> None:
    print(
        f"\nAirflow is up at {airflow.url} (no login needed), with the connection gemini_default and the DAGs\n"
        f"of {Path('example_dags')}/. Trigger one of them and look around. Ctrl-C stops everything.",
        flush=True,
    )
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    sys.exit(main())
