"""A real Airflow on PostgreSQL whose components are processes that can be stalled, killed and started again.

Everything listens on free loopback ports and is ended by pid. Nothing here knows the provider.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.real_airflow.processes import Process, free_port, is_dead, until

ROOT = Path(__file__).resolve().parents[2]

COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer-1": ("triggerer", "--skip-serve-logs"),
    "triggerer-2": ("triggerer", "--skip-serve-logs"),
}
"""The components of an Airflow with the LocalExecutor, as arguments of ``airflow``."""

QUICK = {
    # A lost worker is found by its missing heartbeats: after 20 s, not 300; looked for every 2 s, not 10.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    # Task instances of a scheduler that is gone are taken over within 10 s, not 300.
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "5",  # not 15
    # A triggerer that is gone or stalled loses its triggers to the other one after 10 s, not 30.
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",  # not 5
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}
"""The settings that are not Airflow's defaults so that a fault is noticed sooner. They change no outcome."""


@dataclass(frozen=True)
class Worker:
    """The two processes of a running task instance."""

    task: psutil.Process
    supervisor: psutil.Process

    def kill(self) -> None:
        """End both at once, the supervisor first: it must not live to report the task's death.

        :raises psutil.NoSuchProcess: The task has ended already, so there is nothing left to try.
        """
        self.task.suspend()
        for process in (self.supervisor, self.task):
            process.kill()
        until("the worker is dead", lambda: is_dead(self.supervisor) and is_dead(self.task), every_s=0.01)


@dataclass
class Airflow:
    """The components of one Airflow and its public REST API.

    :param folder: For AIRFLOW_HOME and ``<component>.log``.
    :param database_url: SQLAlchemy's URL of an empty PostgreSQL database.
    :param connections: Airflow connections by id.
    :param dags: Folder of DAG files.
    :param commands: The components by name, as arguments of ``airflow``; names of triggerers begin with that word.
    :param settings: Environment variables that differ from those of the LocalExecutor.
    :param probes: How to tell that a component works which has no row in Airflow's table of jobs, by its name.
    """

    folder: Path
    database_url: str
    connections: dict[str, dict[str, str]]
    dags: Path
    commands: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: COMPONENTS)
    settings: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, Callable[[], bool]] = field(default_factory=dict)
    components: dict[str, Process] = field(init=False)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder.mkdir(parents=True, exist_ok=True)
        env = self._environment()
        self.components = {name: self._process(name, command, env) for name, command in self.commands.items()}
        self._migration = self._process("db", ("db", "migrate"), env)

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        path = os.pathsep.join(filter(None, [str(ROOT), inherited.get("PYTHONPATH")]))
        connections = {f"AIRFLOW_CONN_{k.upper()}": json.dumps(v) for k, v in self.connections.items()}
        fixed = {
            "PYTHONPATH": path,
            "AIRFLOW_HOME": str(self.folder / "home"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database_url,
            # Only an endpoint that is not called here needs a second, asynchronous driver.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": "",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        }
        return inherited | fixed | connections | QUICK | dict(self.settings)

    def _process(self, name: str, command: tuple[str, ...], env: dict[str, str]) -> Process:
        # Jobs are listed with the name of the system user: that is how a triggerer is told from the other.
        named = env | {"LOGNAME": name}
        line = [sys.executable, "-m", "airflow", *command]
        return Process(name, line, named, self.folder / f"{name}.log")

    def start(self) -> None:
        """Make the tables, start every component, wait until all of them work and the DAGs are there."""
        self._migration.start()
        if self._migration.wait():
            raise RuntimeError(f"Airflow's database could not be made; see {self.folder / 'db.log'}")
        self.ensure_running()

    def ensure_running(self) -> None:
        """Start what does not run and wait until every component works."""
        for component in self.components.values():
            if not component.is_running:
                component.kill()
                component.start()
        for component in self.components.values():
            until(f"{component.name} works", lambda c=component: self._works(c))  # type: ignore[misc]
        for file in self.dags.glob("*.py"):
            until(f"the DAG {file.stem} is there", lambda f=file: self.get(f"/dags/{f.stem}"))  # type: ignore[misc]

    def stop(self) -> None:
        """End every component and whatever it started."""
        for component in self.components.values():
            component.send(signal.SIGCONT)
            component.send(signal.SIGTERM)
        for component in self.components.values():
            component.stop(patience_s=10)
        self._migration.kill()

    def kill(self) -> None:
        """End every component at once (SIGKILL)."""
        for component in self.components.values():
            component.send(signal.SIGKILL)
        for component in self.components.values():
            component.kill()

    def _works(self, component: Process) -> bool:
        if not component.is_running:
            raise RuntimeError(f"{component.name} has ended; see its log in {self.folder}")
        if component.name == "api-server":
            return bool(self.get("/monitor/health"))
        if probe := self.probes.get(component.name):
            return probe()
        job = self.job_of(component)
        return job is not None and _time(job["start_date"]) > component.started_at

    @property
    def triggerers(self) -> list[Process]:
        """The triggerers, running or not."""
        return [component for name, component in self.components.items() if name.startswith("triggerer")]

    def job_of(self, component: Process) -> dict[str, Any] | None:
        """The newest row of a component in Airflow's table of jobs."""
        jobs = self.get("/jobs", order_by="-id", limit="100")["jobs"]
        return next((job for job in jobs if job["unixname"] == component.name), None)

    def await_heartbeats(self, component: Process, count: int = 3) -> None:
        """Wait until a component has told that it lives so many times more."""
        seen: set[str] = set()

        def look() -> bool:
            job = self.job_of(component)
            seen.add(job["latest_heartbeat"] if job else "")
            return len(seen) > count

        until(f"{component.name} has {count} more heartbeats", look)

    def triggerer_of(self, instance: dict[str, Any]) -> Process | None:
        """The triggerer that a deferred task instance is assigned to."""
        holder = (instance["trigger"] or {}).get("triggerer_id")
        if holder is not None:
            for component in self.triggerers:
                job = self.job_of(component)
                if job is not None and job["id"] == holder:
                    return component
        return None

    def worker_of(self, instance: dict[str, Any]) -> Worker | None:
        """The processes of a task instance, if it is running."""
        if instance["state"] != "running" or not instance["pid"]:
            return None
        with suppress(psutil.NoSuchProcess):
            task = psutil.Process(instance["pid"])
            supervisor = task.parent()
            if supervisor and any(component.leads(supervisor) for component in self.components.values()):
                return Worker(task, supervisor)
        return None

    def get(self, path: str, **params: str) -> dict[str, Any]:
        """A GET of the public REST API."""
        return self.call("GET", path, params=params)

    def call(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        """A call of the public REST API."""
        response = httpx.request(method, f"{self.url}/api/v2{path}", timeout=30, trust_env=False, **kwargs)
        response.raise_for_status()
        return dict(response.json())


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
