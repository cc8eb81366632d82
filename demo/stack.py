"""A real Airflow and the emulator on free loopback ports, with their state in one folder."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from airflow_provider_batch.emulator.process import running_emulator

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 180
LOCKED_S = 20
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
HEALTH_NAMES = ("metadatabase", "scheduler", "dag_processor", "triggerer")


def asked(method: str, url: str, **kwargs: Any) -> httpx.Response:
    """Ask Airflow. On SQLite it answers 500 while another of its processes writes: then again, for some time."""
    deadline = time.monotonic() + LOCKED_S
    while True:
        response = httpx.request(method, url, timeout=30, trust_env=False, **kwargs)
        if response.status_code != 500 or time.monotonic() > deadline:
            return response
        time.sleep(0.5)


def start_run(post: Callable[..., httpx.Response], conf: dict[str, str]) -> str:
    """Start a run under an id of ours, so that asking twice starts one; return the id.

    :param post: Posts a body, ``json``, to the runs of a DAG.
    """
    run_id = f"manual__{datetime.now(timezone.utc).isoformat()}"
    answer = post(json={"dag_run_id": run_id, "logical_date": None, "conf": conf})
    # 409: it was made by a call that was answered with 500.
    if answer.status_code != 409:
        answer.raise_for_status()
    return run_id


class Airflow:
    """API server, scheduler, DAG processor and triggerer over SQLite, each a child process of its own.

    :param home: Its AIRFLOW_HOME; each component logs to ``home/<component>.log``.
    :param emulator_url: Where the connection ``gemini_default`` points to.
    :param lake: Folder for what the example DAGs read and write.
    :param dags: Folder of DAG files.
    """

    def __init__(self, home: Path, emulator_url: str, lake: Path, dags: Path = ROOT / "example_dags") -> None:
        self.home = home
        self.port, worker_logs, trigger_logs = _free_ports(3)
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = os.environ | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW_CONN_GEMINI_DEFAULT": json.dumps(
                {"conn_type": "gemini", "host": emulator_url, "password": "emulator"}
            ),
            "GEMINI_BATCH_EXAMPLE_DIR": str(lake),
            "GEMINI_BATCH_EXAMPLE_POLL_S": "3",
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Create the database, start every component, wait until all report that they are healthy."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self._spawn("db", "migrate").wait(START_TIMEOUT_S):
            raise SystemExit(f"Airflow's database could not be made; see {self.home / 'db.log'}")
        for component in COMPONENTS:
            self.start_component(component)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_healthy():
            dead = [name for name, process in self._processes.items() if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise SystemExit(
                    f"Airflow did not start ({', '.join(dead) or 'slow'}); see the logs in {self.home}"
                )
            time.sleep(0.5)

    def start_component(self, name: str) -> None:
        """Start one of :data:`COMPONENTS`."""
        self._processes[name] = self._spawn(name)

    def kill_component(self, name: str) -> None:
        """End a component and its children at once, without a chance to say goodbye."""
        _end(_family(self._processes.pop(name)), patience_s=0)

    def stop(self) -> None:
        """Ask every component to end, then kill by pid whatever is left of it and its children."""
        _end([member for process in self._processes.values() for member in _family(process)], patience_s=10)
        for process in self._processes.values():
            process.wait()

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{command[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "airflow", *command],
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def get(self, path: str, **params: str) -> dict[str, Any]:
        """A call of Airflow's public REST API."""
        return self._call("GET", path, params=params)

    def trigger(self, dag_id: str, **conf: str) -> str:
        """Start a run as soon as the DAG is known, return its id."""
        post = partial(asked, "POST", f"{self.url}/api/v2/dags/{dag_id}/dagRuns")
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return start_run(post, conf)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 404 or time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Have a task and those after it run again."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "include_downstream": True}
        body |= {"only_failed": False, "reset_dag_runs": True}
        self._call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        response = asked(method, f"{self.url}/api/v2{path}", **kwargs)
        response.raise_for_status()
        return dict(response.json())

    def _is_healthy(self) -> bool:
        try:
            health = self._call("GET", "/monitor/health")
        except httpx.HTTPError:
            return False
        return all((health.get(c) or {}).get("status") == "healthy" for c in HEALTH_NAMES)


@contextmanager
def running_stack(folder: Path, job_seconds: float) -> Iterator[Airflow]:
    """Emulator and Airflow for the length of a block. Everything they write is below ``folder``."""
    with running_emulator(folder / "emulator", job_seconds=job_seconds, answers="demo.answers:answer") as emulator:
        airflow = Airflow(folder / "airflow", emulator.base_url, folder / "lake")
        try:
            airflow.start()
            yield airflow
        finally:
            airflow.stop()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A component and all its descendants, the ones that opened a session of their own included."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _end(members: list[psutil.Process], patience_s: float) -> None:
    if patience_s:
        _signal(members, signal.SIGTERM)
        _, members = psutil.wait_procs(members, timeout=patience_s)
    _signal(members, signal.SIGKILL)
    psutil.wait_procs(members, timeout=5)


def _signal(members: list[psutil.Process], sent: signal.Signals) -> None:
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(sent)
