"""A task instance of the engine against the emulator, over both kinds of store."""

from __future__ import annotations

import json

import pytest
from upath import UPath

from faults.task import Task, ask


@pytest.fixture(params=["local", "object storage"])
def folder(request, tmp_path):
    if request.param == "local":
        return UPath(tmp_path / "out")
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
