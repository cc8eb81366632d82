"""A DAG run in a process of its own, as settings of Airflow apply at its import."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

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
            # Those of a whole Airflow would overrun the socket.
            "AIRFLOW__METRICS__METRICS_ALLOW_LIST": "gemini_batch",
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


class Otlp(ThreadingHTTPServer):
    """A receiver of OpenTelemetry's metrics."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Export)
        self.requests = []
        self.settings = {
            "AIRFLOW__METRICS__OTEL_ON": "True",
            "AIRFLOW__METRICS__OTEL_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__OTEL_PORT": str(self.server_port),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.server_port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
        }

    def received(self):
        """Ours of the metrics that have come, by their names without Airflow's prefix."""
        scopes = [scope for one in self.requests for part in one.resource_metrics for scope in part.scope_metrics]
        named = {metric.name.removeprefix("airflow."): metric for scope in scopes for metric in scope.metrics}
        return {name: metric for name, metric in named.items() if name.startswith("gemini_batch.")}


class _Export(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append(ExportMetricsServiceRequest.FromString(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def otlp():
    """Receive on a free port."""
    with Otlp() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
