"""``airflow gemini-batch``: the same commands in Airflow's own command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from airflow.providers_manager import ProvidersManager

from airflow_provider_batch.cli.airflow_commands import get_commands
from airflow_provider_batch.cli.parsers import COMMANDS
from airflow_provider_batch.provider_info import get_provider_info
from tests.cli.conftest import KEY

pytestmark = pytest.mark.matrix

with_hook = pytest.mark.skipif(
    not hasattr(ProvidersManager, "cli_command_functions"), reason="this Airflow takes no commands from providers"
)


def airflow(*arguments):
    command = [sys.executable, "-m", "airflow", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)


@with_hook
def test_airflow_has_the_group_with_all_commands():
    ended = airflow("gemini-batch", "--help")
    assert ended.returncode == 0, ended.stderr
    assert [c.name for c in COMMANDS if f"    {c.name}" not in ended.stdout] == []


@with_hook
def test_a_command_runs_in_airflow_with_the_default_connection_before_a_variable(connection, monkeypatch):
    connection(password=KEY)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    ended = airflow("gemini-batch", "list", "--limit", "3")
    assert (ended.returncode, ended.stdout) == (0, "JOB  STATE  ROWS  FAILED  AGE  MODEL  DISPLAY NAME\n")
    assert KEY not in ended.stderr


@with_hook
def test_the_exit_status_and_the_json_are_those_of_the_command(tmp_path):
    (tmp_path / "bad.jsonl").write_text("{}\n")
    ended = airflow("gemini-batch", "validate", str(tmp_path / "bad.jsonl"), "--json")
    assert ended.returncode == 1
    assert json.loads(ended.stdout)[0]["bad_rows"] == 1


def test_the_function_that_airflow_is_told_gives_every_command_with_its_options():
    assert get_provider_info()["cli"] == [f"{get_commands.__module__}.{get_commands.__name__}"]
    (group,) = get_commands()
    assert [command.name for command in group.subcommands] == [command.name for command in COMMANDS]
    flags = {c.name: {flag for arg in c.args for flag in arg.flags} for c in group.subcommands}
    assert flags["wait"] >= {"target", "--timeout", "--poll-interval", "--conn-id", "--json", "--debug"}
    assert flags["emulator"] >= {"--port", "--upstream", "--tier"}
