"""A real Airflow on PostgreSQL whose components are processes that can be stalled, killed and started again.

Everything listens on free loopback ports and is ended by pid. Nothing here knows the provider.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 180.0
"""How long anything is waited for. Two cores that others use, too, are slow at times."""

TRIGGERERS = ("triggerer-1", "triggerer-2")
COMPONENTS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    **dict.fromkeys(TRIGGERERS, ("triggerer", "--skip-serve-logs")),
}

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

T = TypeVar("T")


def until(what: str, look: Callable[[], T | None], timeout_s: float = PATIENCE_S, every_s: float = 0.2) -> T:
    """Look until there is something to return.

    A call that fails over HTTP is looked at again: the API server may be the one that was killed.

    :param what: What is waited for, in words.
    :raises TimeoutError: It did not come about within ``timeout_s`` seconds.
    """
    deadline = time.monotonic() + timeout_s
    seen: object = None
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
        except httpx.HTTPError as error:
            seen = error
        time.sleep(every_s)
    raise TimeoutError(f"not within {timeout_s:.0f} s: {what}" + (f" (last error: {seen})" if seen else ""))


class Process:
    """A process in a session of its own, with all that it starts.

    :param log: File that its output is appended to.
    :param user: System user to run as; None = the one who runs the tests.
    """

    def __init__(
        self, name: str, command: list[str], env: dict[str, str], log: Path, user: str | None = None
    ) -> None:
        self.name = name
        self.started_at = datetime.min.replace(tzinfo=timezone.utc)
        self._command = command
        self._env = env
        self._log = log
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; whether it is ready to work is for its owner to find out."""
        self.started_at = datetime.now(timezone.utc)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                user=self._user,
                cwd="/",
            )

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for its end, return the exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def members(self) -> list[psutil.Process]:
        """Every living process of its session, itself first. Orphans of a dead leader are among them."""
        if self._process is None:
            return []
        return [p for pid in sorted(psutil.pids()) if (p := _in_session(pid, self._process.pid))]

    def send(self, sent: signal.Signals) -> None:
        """Send a signal to all members."""
        for member in self.members():
            with suppress(psutil.NoSuchProcess):
                member.send_signal(sent)

    def kill(self) -> None:
        """End all members at once (SIGKILL) and see them gone."""
        until(f"{self.name} is dead", self._is_dead)

    def stop(self, asking: signal.Signals = signal.SIGTERM, patience_s: float = 60.0) -> bool:
        """Ask the process to end, kill what is left; return whether it ended because it was asked."""
        if self._process is None:
            return True
        obeyed = False
        with suppress(subprocess.TimeoutExpired):
            self._process.send_signal(asking)
            self._process.wait(patience_s)
            obeyed = True
        self.kill()
        return obeyed

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Stop all members (SIGSTOP) for the length of a block."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)

    def _is_dead(self) -> bool:
        self.send(signal.SIGKILL)
        return (self._process is None or self._process.poll() is not None) and not self.members()


def _in_session(pid: int, session: int) -> psutil.Process | None:
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        if os.getsid(pid) == session:
            process = psutil.Process(pid)
            return process if process.status() != psutil.STATUS_ZOMBIE else None
    return None


class Postgres:
    """A PostgreSQL cluster of its own in a temporary folder, installed by apt if there is none.

    PostgreSQL refuses to run as root, so root runs it as the user ``postgres``.

    :param log: File for what it writes.
    """

    def __init__(self, log: Path) -> None:
        self._user = "postgres" if os.geteuid() == 0 else None
        self._binaries = _postgres_binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="airflow-postgres-"))
        if self._user:
            shutil.chown(self._folder, self._user)
        self._password = secrets.token_hex(16)
        self.port = free_port()
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data")]
        for setting in (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
        ):
            command += ["-c", setting]
        self._log = log
        self._server = Process("postgres", command, dict(os.environ), log, self._user)

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database."""
        return f"postgresql+psycopg2://airflow:{self._password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Create the cluster, start the server, wait until it answers."""
        secret = self._folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password)
        if self._user:
            shutil.chown(secret, self._user)
        command = [str(self._binaries / "initdb"), "-D", str(self._folder / "data"), "-U", "airflow"]
        command += ["--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--no-sync"]
        with self._log.open("ab") as log:
            subprocess.run(command, check=True, user=self._user, stdout=log, stderr=log, cwd="/")
        self._server.start()
        until("PostgreSQL answers", self._answers, timeout_s=60)

    def stop(self) -> None:
        """End it without waiting for clients, remove its folder."""
        self._server.stop(signal.SIGINT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(self.url.replace("+psycopg2", "")).close()
        except psycopg2.OperationalError:
            return False
        return True


def _postgres_binaries() -> Path:
    for attempt in range(2):
        if found := shutil.which("initdb"):
            return Path(found).resolve().parent
        if found_there := sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
            return found_there[-1].parent
        if attempt == 0 and os.geteuid() == 0 and shutil.which("apt-get"):
            subprocess.run(["apt-get", "update", "-q"], check=True)
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["apt-get", "install", "-y", "-q", "postgresql"], check=True, env=environment)
    raise RuntimeError("PostgreSQL is needed: install it, or run this as root where apt-get is")


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
        until("the worker is dead", lambda: _is_dead(self.supervisor) and _is_dead(self.task), every_s=0.01)


def _is_dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@dataclass
class Airflow:
    """The components of one Airflow and its public REST API.

    :param folder: For AIRFLOW_HOME and ``<component>.log``.
    :param database_url: SQLAlchemy's URL of an empty PostgreSQL database.
    :param connections: Airflow connections by id.
    :param dags: Folder of DAG files.
    """

    folder: Path
    database_url: str
    connections: dict[str, dict[str, str]]
    dags: Path
    components: dict[str, Process] = field(init=False)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder.mkdir(parents=True, exist_ok=True)
        env = self._environment()
        self.components = {name: self._process(name, command, env) for name, command in COMPONENTS.items()}
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
        return inherited | fixed | connections | QUICK

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
        job = self.job_of(component)
        return job is not None and _time(job["start_date"]) > component.started_at

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
        for name in TRIGGERERS:
            job = self.job_of(self.components[name])
            if holder is not None and job is not None and job["id"] == holder:
                return self.components[name]
        return None

    def worker_of(self, instance: dict[str, Any]) -> Worker | None:
        """The processes of a task instance, if it is running."""
        if instance["state"] != "running" or not instance["pid"]:
            return None
        with suppress(psutil.NoSuchProcess):
            task = psutil.Process(instance["pid"])
            supervisor = task.parent()
            if supervisor in self.components["scheduler"].members():
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


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
