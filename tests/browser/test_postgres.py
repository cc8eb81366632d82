"""The page's queries on PostgreSQL; all other tests run them on SQLite."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.airflow.conftest import postgres  # noqa: F401
from tests.browser.conftest import ROOT


def test_all_queries_find_on_postgresql_what_they_find_on_sqlite(postgres, tmp_path):  # noqa: F811
    url = f"postgresql+psycopg2://{postgres['login']}@/{postgres['schema']}?host={postgres['host']}"
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], env=env, capture_output=True, check=True)
    command = [sys.executable, "-m", "tests.browser.queries"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "all": ["r1", "r2", "r3", "r5", "r6"],
        "model": ["r1"],
        "connection": ["r3"],
        "text": ["r2"],
        "active": ["r2"],
        "since": ["r1", "r2", "r3", "r5", "r6"],
        "unlanded": ["r2"],
        "landed_by": "fetch",
        # r6 says nothing that could be added up.
        "totals": [2, 1.0, 1, 1],
    }
