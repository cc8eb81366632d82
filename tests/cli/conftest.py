"""The command line in this process, against the emulator. No test may see the key in what it prints."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from airflow_provider_batch.cli import main

KEY = "a-key-that-no-output-may-hold"


@dataclass
class Ended:
    """A command that has run."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON Lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """Run a command in a folder of its own and without a credential."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def run(*arguments: str) -> Ended:
        capfd.readouterr()
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
        captured = capfd.readouterr()
        assert KEY not in captured.out + captured.err
        return Ended(status, captured.out, captured.err)

    yield run
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def ab(cli, gemini_emulator, monkeypatch):
    """The same with a key in the environment, against the emulator."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini_emulator.base_url)
    return cli


@pytest.fixture
def rows(tmp_path):
    """A file of three requests, in the folder that commands are run in."""

    def write(*keys: str, name: str = "rows.jsonl") -> str:
        lines = [{"key": k, "request": {"contents": [{"parts": [{"text": f"hello {k}"}]}]}} for k in keys or "abc"]
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return name

    write()
    return write


@pytest.fixture
def calls(gemini_emulator):
    """Names of the accepted changes of a kind, such as ``batches.create``."""
    return lambda kind: [call["batch"] for call in gemini_emulator.journal() if call["call"] == kind]


@pytest.fixture
def job(gemini_emulator):
    """Create a job as somebody else would; its name."""

    def create(display_name: str = "theirs", keys: str = "ab") -> str:
        requests = [{"request": {"contents": [{"parts": [{"text": k}]}]}, "metadata": {"key": k}} for k in keys]
        batch = {"displayName": display_name, "inputConfig": {"requests": {"requests": requests}}}
        url = f"{gemini_emulator.base_url}/v1beta/models/gemini-2.5-flash:batchGenerateContent"
        answer = httpx.post(url, json={"batch": batch}, headers={"x-goog-api-key": KEY})
        return str(answer.raise_for_status().json()["name"])

    return create


SUBMIT = ("submit", "rows.jsonl", "--model", "gemini-2.5-flash", "--result-path", "out", "--poll-interval", "1")
