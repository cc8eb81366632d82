"""What all tests share: an Airflow of their own, and an emulator with the connection that points to it.

The settings are in the environment before anything imports Airflow, as Airflow reads them at import.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HOME = Path(tempfile.mkdtemp(prefix="airflow-provider-batch-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

DAGS = HOME / "dags"
for folder in ("example_dags", "tests/dags"):
    shutil.copytree(Path(__file__).parent.parent / folder, DAGS / Path(folder).name)

# The path of the published document (tests/conformance) says nothing about a connection or a key, so it stays.
for name in [n for n in os.environ if n.startswith(("AIRFLOW_", "GOOGLE_", "GEMINI_")) and n != "GEMINI_OPENAPI"]:
    del os.environ[name]
os.environ |= {
    "AIRFLOW_HOME": str(HOME),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a secret that only the tests of this run share, nothing else",
    "GEMINI_BATCH_EXAMPLE_DIR": str(HOME / "lake"),
    "GEMINI_BATCH_EXAMPLE_POLL_S": "1",
}


@pytest.fixture(scope="session")
def airflow_db():
    """Airflow's metadata database with the DAGs of the DAGs folder, made once."""
    for command in (["db", "migrate"], ["dags", "reserialize"]):
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def connection(gemini_emulator, monkeypatch):
    """Point ``gemini_default`` at the emulator; call it to change fields of the connection."""

    def connect(**changes):
        fields = {"conn_type": "gemini", "host": gemini_emulator.base_url, "password": "test-key"} | changes
        monkeypatch.setenv("AIRFLOW_CONN_GEMINI_DEFAULT", json.dumps(fields))

    connect()
    return connect
