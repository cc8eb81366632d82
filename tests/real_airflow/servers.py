"""Servers that Airflow needs, each with a folder and a loopback port of its own; installed by apt if missing."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.real_airflow.processes import Process, free_port, until


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


class Redis:
    """A Redis server that keeps nothing on disk, installed by apt if there is none.

    :param log: File for what it writes.
    """

    def __init__(self, log: Path) -> None:
        binary = _installed("redis-server")
        self._folder = Path(tempfile.mkdtemp(prefix="airflow-redis-"))
        self._password = secrets.token_hex(16)
        self.port = free_port()
        settings = self._folder / "redis.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self._password}\n"
            f'dir {self._folder}\nsave ""\nappendonly no\n'
        )
        self._server = Process("redis", [str(binary), str(settings)], dict(os.environ), log)

    @property
    def url(self) -> str:
        """Celery's URL of the broker."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server, wait until it answers."""
        self._server.start()
        until("Redis answers", self._answers, timeout_s=60)

    def stop(self) -> None:
        """End it, remove its folder."""
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        import redis

        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


def _postgres_binaries() -> Path:
    return _installed("initdb", package="postgresql", elsewhere="/usr/lib/postgresql/*/bin").resolve().parent


def _installed(program: str, package: str | None = None, elsewhere: str = "/usr/sbin") -> Path:
    """A program, installed by apt if it is missing and this is root's.

    :param package: Debian's package of it; None = called like the program.
    :param elsewhere: Pattern of folders to look into that are not on the path; the last that has it counts.
    """
    package = package or program
    for attempt in range(2):
        if found := shutil.which(program):
            return Path(found)
        if found_there := sorted(Path("/").glob(f"{elsewhere.lstrip('/')}/{program}")):
            return found_there[-1]
        if attempt == 0 and os.geteuid() == 0 and shutil.which("apt-get"):
            subprocess.run(["apt-get", "update", "-q"], check=True)
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["apt-get", "install", "-y", "-q", package], check=True, env=environment)
    raise RuntimeError(f"{package} is needed: install it, or run this as root where apt-get is")
