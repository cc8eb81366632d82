"""What all tests share: an Airflow of their own, and an emulator with the connection that points to it.

The settings are in the environment before anything imports Airflow, as Airflow reads them at import.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
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


@dataclass
class Run:
    """A finished DAG run."""

    state: str
    tasks: dict[str, str]
    tries: dict[str, int]
    xcom: dict[str, object]
    log: str


@pytest.fixture
def run_dag(airflow_db, connection, capfd, monkeypatch):
    """Run a DAG on a real Airflow, in this process, with its trigger in line.

    It is told by its file in the DAGs folder and the name that it has in there. The same time again is the same
    run, cleared.
    """

    def run(file: str, name: str, *, at: datetime | None = None, **conf) -> Run:
        path = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / file
        spec = importlib.util.spec_from_file_location(f"dags_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        # As Airflow does; pydantic looks there for the names in annotations.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        for handler in logging.getLogger().handlers:
            # Airflow's keeps the output that was there when Airflow was imported; subclasses are pytest's own.
            if type(handler) is logging.StreamHandler:
                monkeypatch.setattr(handler, "stream", sys.stdout)
        capfd.readouterr()
        times = {"run_after": at, "logical_date": at} if at else {}
        dag_run = getattr(module, name).test(run_conf=conf, **times)
        instances = dag_run.get_task_instances()
        captured = capfd.readouterr()
        return Run(
            state=str(dag_run.state),
            tasks={ti.task_id: str(ti.state) for ti in instances},
            tries={ti.task_id: ti.try_number for ti in instances},
            xcom={ti.task_id: ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) for ti in instances},
            log=captured.out + captured.err,
        )

    return run
