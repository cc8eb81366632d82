"""A real Airflow and the emulator on free loopback ports, with their state in one folder."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from airflow_provider_batch.emulator.process import Emulator, EmulatorStartError, running_emulator
from demo.patience import LONGEST_S, wait_for
from demo.warehouse import make_warehouse

ROOT = Path(__file__).resolve().parent.parent
REQUEST_TIMEOUT_S = 60.0
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
T = TypeVar("T")

HEALTH_NAMES = ("metadatabase", "scheduler", "dag_processor", "triggerer")


def asked(
    method: str, url: str, *, logs: Path = Path(), longest_s: float = LONGEST_S, **said: Any
) -> httpx.Response:
    """Ask Airflow, and ask again while it is too busy: no connection, no answer in time, or an answer of 5xx.

    On SQLite it answers 500 while another of its processes writes.

    :param logs: Where to look if it never answers.
    :param said: As for :func:`httpx.request`.
    :raises SystemExit: It did not answer in time.
    """
    return wait_for(_answer_to(method, url), partial(_answer, method, url, **said), logs=logs, longest_s=longest_s)


def _answer(method: str, url: str, timeout: float = REQUEST_TIMEOUT_S, **said: Any) -> httpx.Response | None:
    """None if Airflow is too busy."""
    try:
        response = httpx.request(method, url, timeout=timeout, trust_env=False, **said)
    except httpx.TransportError:
        return None
    return None if response.status_code >= 500 else response


def _answer_to(method: str, url: str) -> str:
    return f"Airflow's answer to {method} {httpx.URL(url).path}"


def start_run(post: Callable[..., httpx.Response], conf: dict[str, str]) -> str:
    """Start a run under an id of ours, so that asking twice starts one; return the id.

    :param post: Posts a body, ``json``, to the runs of a DAG.
    """
    run_id = f"manual__{datetime.now(timezone.utc).isoformat()}"
    answer = post(json={"dag_run_id": run_id, "logical_date": None, "conf": conf})
    # 409: it was made by a call whose answer did not arrive.
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
            # A busy machine is slow, not broken.
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "900",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "1800",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "1800",
            "AIRFLOW_CONN_GEMINI_DEFAULT": json.dumps(
                {"conn_type": "gemini", "host": emulator_url, "password": "emulator"}
            ),
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(lake / "warehouse.db")}),
            "GEMINI_BATCH_EXAMPLE_DIR": str(lake),
            "GEMINI_BATCH_EXAMPLE_POLL_S": "3",
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Create the database, start every component, wait until all report that they are healthy."""
        self.home.mkdir(parents=True, exist_ok=True)
        migration = self._spawn("db", "migrate")
        try:
            status = self._wait_for("Airflow's database to be made", migration.poll)
        finally:
            _end(_family(migration), patience_s=0)
        if status:
            raise SystemExit(f"Airflow's database could not be made; see {self.home / 'db.log'}")
        for component in COMPONENTS:
            self.start_component(component)
        self._wait_for("Airflow's components to be healthy", lambda: self._is_healthy() or None)

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
        post = partial(self._asked, "POST", f"/dags/{dag_id}/dagRuns")

        def run() -> str | None:
            try:
                return start_run(post, conf)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 404:
                    raise
                return None

        return self._wait_for(f"Airflow to read the DAG {dag_id}", run)

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Have a task and those after it run again."""
        body = {"dry_run": False, "dag_run_id": run_id, "task_ids": [task_id], "include_downstream": True}
        body |= {"only_failed": False, "reset_dag_runs": True}
        self._call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def _call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        response = self._asked(method, path, **kwargs)
        response.raise_for_status()
        return dict(response.json())

    def _asked(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        url = f"{self.url}/api/v2{path}"
        return self._wait_for(_answer_to(method, url), partial(_answer, method, url, **kwargs))

    def _wait_for(self, what: str, ask: Callable[[], T | None]) -> T:
        def alive() -> T | None:
            self._ensure_alive()
            return ask()

        return wait_for(what, alive, logs=self.home)

    def _ensure_alive(self) -> None:
        """No wait for a component that has ended."""
        dead = [name for name, process in self._processes.items() if process.poll() is not None]
        if dead:
            raise SystemExit(f"Airflow's {', '.join(dead)} ended by itself; see the logs in {self.home}")

    def _is_healthy(self) -> bool:
        url = f"{self.url}/api/v2/monitor/health"
        try:
            health = httpx.get(url, timeout=REQUEST_TIMEOUT_S, trust_env=False).raise_for_status().json()
        except httpx.HTTPError:
            return False
        return all((health.get(c) or {}).get("status") == "healthy" for c in HEALTH_NAMES)


@contextmanager
def running_stack(folder: Path, job_seconds: float) -> Iterator[Airflow]:
    """Emulator and Airflow for the length of a block. Everything they write is below ``folder``."""
    lake = folder / "lake"
    make_warehouse(lake / "warehouse.db")
    with ExitStack() as stack:
        emulator = _emulator(stack, folder, job_seconds)
        airflow = Airflow(folder / "airflow", emulator.base_url, lake)
        stack.callback(airflow.stop)
        airflow.start()
        yield airflow


def _emulator(stack: ExitStack, folder: Path, job_seconds: float) -> Emulator:
    """Start it, again if it was too slow for its own patience."""
    tries = count(1)

    def started() -> Emulator | None:
        # Each has a folder of its own: one that was slow may still hold the last.
        home = folder / f"emulator-{next(tries)}"
        try:
            return stack.enter_context(
                running_emulator(home, job_seconds=job_seconds, answers="demo.answers:answer")
            )
        except EmulatorStartError:
            return None

    return wait_for("the emulator to start", started, logs=folder, longest_s=300)


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
