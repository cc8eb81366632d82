"""A whole Airflow, the emulator, and a browser that looks at both. ``make test-browser`` runs this.

In the environment:

- ``BROWSER``: set = collect these tests.
- ``BROWSER_SHOTS``: where screenshots go (``.browser/shots``).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_batch.emulator.process import Emulator, running_emulator
from demo.stack import Airflow, asked, start_run
from tests.browser.browser import Tab, browser, chromium

collect_ignore_glob = [] if os.environ.get("BROWSER") else ["test_*.py"]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".browser"
SHOTS = Path(os.environ.get("BROWSER_SHOTS", FOLDER / "shots"))
JOB_S = 36_000.0
"""Jobs take longer than any test: each is done when the test says so."""

USERS = ("viewer:viewer", "editor:user")
PAST = 400
"""Batches of earlier weeks."""

ERROR = {"code": 3, "message": "<script>document.title='owned'</script> the prompt of ticket 17 is too long"}


@dataclass
class Stage:
    """What is looked at."""

    airflow: Airflow
    emulator: Emulator

    @property
    def url(self) -> str:
        return self.airflow.url

    def token(self, user: str) -> str:
        login = {"username": user, "password": f"{user}-password"}
        answer = httpx.post(f"{self.url}/auth/token", json=login, trust_env=False, timeout=30)
        return str(answer.json()["access_token"])

    def api(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = self._asked(method, path, **kwargs)
        answer.raise_for_status()
        return answer.json()

    def _asked(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token('editor')}"}
        return asked(method, f"{self.url}{path}", headers=headers, **kwargs)

    def run(self, dag_id: str) -> str:
        """Start a run of a DAG that has been found."""
        until(lambda: dag_id in [d["dag_id"] for d in self.api("GET", "/api/v2/dags")["dags"]], 90)
        return start_run(partial(self._asked, "POST", f"/api/v2/dags/{dag_id}/dagRuns"), {})

    def task(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Its only task instance."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        (task,) = self.api("GET", path)["task_instances"]
        return dict(task)

    def jobs(self, count: int) -> list[str]:
        """The newest jobs, once there are so many."""
        made: list[str] = []

        def are_there() -> bool:
            created = [call for call in self.emulator.journal() if call["call"] == "batches.create"]
            made[:] = [call["batch"] for call in created]
            return len(made) >= count

        until(are_there, 90)
        return made


def until(is_so: Any, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.3)


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """Airflow with two users and the batches of some weeks."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    passwords = folder / "passwords.json"
    names = [user.split(":")[0] for user in USERS]
    passwords.write_text(json.dumps({name: f"{name}-password" for name in names}))
    with running_emulator(folder / "emulator", job_seconds=JOB_S) as emulator:
        airflow = Airflow(folder / "airflow", emulator.base_url, folder / "lake", Path(__file__).parent / "dags")
        airflow.env |= {
            "PYTHONPATH": str(ROOT),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(USERS),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW_CONN_GEMINI_RESEARCH": airflow.env["AIRFLOW_CONN_GEMINI_DEFAULT"],
        }
        try:
            airflow.start()
            yield Stage(airflow, emulator)
        finally:
            airflow.stop()


def fill(stage: Stage, count: int | str = PAST) -> None:
    """Write batches of earlier weeks."""
    command = [sys.executable, "-m", "tests.browser.past", str(count), "support_tickets", "product_archive"]
    subprocess.run(command, env=stage.airflow.env, cwd=ROOT, check=True)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    if chromium() is None:
        pytest.skip("there is no Chromium on this machine; make test-browser installs it on Debian as root")
    # Pictures for the docs show its paths.
    with staged(Path(tempfile.gettempdir()) / "gemini-batches") as running:
        yield running


@pytest.fixture
def tab(stage: Stage) -> Iterator[Tab]:
    with browser() as tab:
        tab.size(1440, 900)
        yield tab


@pytest.fixture
def shot(tab: Tab) -> Any:
    """Take a picture of a name."""
    return lambda name, **how: tab.shot(SHOTS / f"{name}.png", **how)
