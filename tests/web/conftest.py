"""Airflow's API server with users, over the database of the tests."""

from __future__ import annotations

import inspect
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from airflow.api_fastapi.core_api.security import get_user

from tests.airflow.conftest import case  # noqa: F401
from tests.web import rows

ROOT = Path(__file__).parents[2]
USERS = ("viewer:viewer", "editor:user", "guest:user")
PAGE = "/gemini-batches"
ASKED = {"X-Requested-With": "gemini-batches"}


BY_COOKIE = "request" in inspect.signature(get_user).parameters
"""Before that, Airflow's UI sends what is in the cookie as a header."""


@dataclass
class Server:
    """A running API server.

    :param url: Where it listens.
    """

    url: str

    def token(self, user: str) -> str:
        """What the login gives."""
        login = {"username": user, "password": f"{user}-password"}
        answer = httpx.post(f"{self.url}/auth/token", json=login, trust_env=False, timeout=30)
        assert answer.status_code == 201, answer.text
        return answer.json()["access_token"]

    def client(self, user: str | None = None) -> httpx.Client:
        """Somebody, by the cookie that Airflow's login sets, where the API goes by it."""
        token = self.token(user) if user else ""
        cookies = {"_token": token} if token and BY_COOKIE else {}
        headers = {"Authorization": f"Bearer {token}"} if token and not BY_COOKIE else {}
        return httpx.Client(
            base_url=f"{self.url}{PAGE}", cookies=cookies, headers=headers, trust_env=False, timeout=30
        )


@pytest.fixture(scope="session")
def server(airflow_db, tmp_path_factory):
    """The API server, with a viewer, an editor and a guest who sees one DAG."""
    folder = tmp_path_factory.mktemp("api-server")
    passwords = folder / "passwords.json"
    names = [user.split(":")[0] for user in USERS]
    passwords.write_text(json.dumps({name: f"{name}-password" for name in names}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {name: value for name, value in os.environ.items() if name != "AIRFLOW_CONN_GEMINI_DEFAULT"} | {
        "PYTHONPATH": str(ROOT),
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.web.auth.PickyAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(USERS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--workers", "1"], env=env, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _until_healthy(f"http://127.0.0.1:{port}", process, folder / "log")
        yield Server(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)


def _until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            if httpx.get(f"{url}/api/v2/version", trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]


@pytest.fixture
def batches(server, monkeypatch):
    """Write batches into a database that has none; they are gone afterwards."""
    monkeypatch.delattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", raising=False)
    rows.clear()
    yield rows.write
    rows.clear()
