"""A task instance of the engine against the emulator, over both kinds of store."""

from __future__ import annotations

import json
import os

import pytest
from upath import UPath

from airflow_provider_batch.rows.results import read_results
from faults.task import Task, ask

WITH_S3 = os.environ.get("TEST_S3")
"""Set by ``make test-stores``, whose environment has s3fs and a server of the S3 API."""


@pytest.fixture(scope="session")
def s3():
    """The options of a client for an S3 server on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "any", "secret": "any"}
    UPath("s3://lake", **options).fs.mkdir("lake")
    yield options
    server.stop()


@pytest.fixture(params=["local", "object storage", *(["S3"] if WITH_S3 else [])])
def folder(request, tmp_path):
    if request.param == "local":
        return UPath(tmp_path / "out")
    if request.param == "S3":
        return UPath(f"s3://lake{tmp_path}/out", **request.getfixturevalue("s3"))
    return UPath(f"memory://bucket{tmp_path}/out")


@pytest.fixture
def task(gemini_emulator, folder):
    """A task of three rows."""
    return Task(gemini_emulator.base_url, folder, [ask(key) for key in "abc"])


@pytest.fixture
def created(gemini_emulator):
    """Names of the jobs that were created so far."""
    return lambda: [call["batch"] for call in gemini_emulator.journal() if call["call"] == "batches.create"]


@pytest.fixture
def cancelled(gemini_emulator):
    """Names of the jobs that somebody asked to end."""
    return lambda: [call["batch"] for call in gemini_emulator.journal() if call["call"] == "batches.cancel"]


def documents(task):
    """Names of the documents in the task's newest ledger."""
    return sorted(name for name in task.ledger.names() if name.endswith(".json"))


def statuses(task):
    """Status by key in the landed results."""
    lines = (task.folder / "results.jsonl").read_text().splitlines()
    return {row["key"]: row["status"] for row in map(json.loads, lines)}


def failed_keys(task):
    """Keys in failed.jsonl."""
    path = task.folder / "failed.jsonl"
    return [json.loads(line)["key"] for line in path.read_text().splitlines()] if path.exists() else []


def read(task, manifest):
    """The rows as a downstream task reads them, with the task's own access to the store."""
    return read_results(manifest, path_type=lambda uri: task.folder / UPath(uri).name)
