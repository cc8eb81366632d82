"""A DAG run in a process of its own, as settings of Airflow apply at its import."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import closing, contextmanager

from tests.airflow.conftest import ask


def run_apart(dag_id, folder, settings, *keys):
    """``airflow dags test`` over rows with these keys; everything that it printed."""
    source = folder / "requests.jsonl"
    source.write_text("".join(json.dumps({"key": key, "request": ask(key)}) + "\n" for key in keys))
    conf = json.dumps({"requests": str(source), "result_path": str(folder / "results")})
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", dag_id, "--conf", conf],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


class Statsd:
    """A receiver of statsd's datagrams."""

    def __init__(self, bound):
        self._socket = bound
        self.settings = {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(bound.getsockname()[1]),
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        }

    def received(self):
        """Ours of the lines that have come since the last call, without Airflow's prefix."""
        lines = []
        while True:
            try:
                lines += self._socket.recv(65_536).decode().splitlines()
            except BlockingIOError:
                prefix = "airflow."
                return [line.removeprefix(prefix) for line in lines if line.startswith(f"{prefix}gemini_batch.")]


@contextmanager
def statsd():
    """Receive on a free port."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        yield Statsd(bound)
