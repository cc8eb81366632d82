"""What holds for every command: the credential, errors, exit statuses, and what is not imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace

import pytest

from airflow_provider_batch.cli.parsers import COMMANDS, Command
from airflow_provider_batch.cli.printing import printable, table
from airflow_provider_batch.cli.running import run
from tests.cli.conftest import KEY, SUBMIT


def python(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ) | env, check=False
    )


@pytest.mark.parametrize(
    "command", [["list"], ["validate", "rows.jsonl"], [*SUBMIT, "--wait"], ["show", "out"], ["--help"]]
)
def test_with_a_key_in_the_environment_airflow_is_not_even_imported(ab, rows, command):
    ab(*SUBMIT)
    code = (
        "import sys\nfrom airflow_provider_batch.cli import main\n"
        f"try:\n    print('status', main({command!r}))\nexcept SystemExit as e:\n    print('status', e.code)\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('airflow', 'sqlalchemy')])"
    )
    ended = python(code)
    assert ended.stdout.splitlines()[-2:] == ["status 0", "[]"], ended.stderr


def test_the_list_of_commands_loads_no_client_and_no_server():
    code = (
        "import sys\nfrom airflow_provider_batch.cli.airflow_commands import _options\n"
        "from airflow_provider_batch.cli.parsers import COMMANDS\n"
        "print(len([_options(c) for c in COMMANDS]))\n"
        "print([m for m in ('httpx', 'pydantic', 'msgspec', 'rich', 'starlette', 'upath') if m in sys.modules])"
    )
    assert python(code).stdout.splitlines() == ["13", "[]"]


def test_a_connection_is_named_by_its_id_and_wins_over_the_variable(ab, rows, gemini_emulator, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    fields = {"conn_type": "gemini", "host": gemini_emulator.base_url, "password": KEY}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(fields))
    ended = ab(*SUBMIT, "--conn-id", "other")
    assert ended.status == 0, ended.err
    assert ended.out.splitlines()[-1] == "next: airflow-batch wait out --conn-id other"
    assert ab("wait", "out", "--conn-id", "other", "--poll-interval", "1").status == 0


def test_the_default_connection_is_taken_where_there_is_no_variable(cli, connection):
    connection(password=KEY)
    assert cli("list").status == 0


def test_a_default_connection_of_another_type_is_not_passed_over(cli, connection):
    connection(conn_type="aws", password=KEY)
    ended = cli("list")
    assert (ended.status, "of type 'aws', not 'gemini'" in ended.err) == (2, True)


def test_without_any_credential_it_says_what_to_do(cli):
    ended = cli("list")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("error: AGB-C01 There is no key: GEMINI_API_KEY is not set")
    assert "export GEMINI_API_KEY=" in ended.err


def test_an_empty_variable_is_no_key(cli, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "")
    assert cli("list").status == 2


def test_reconcile_and_sweep_keep_to_the_default_connection_beside_a_variable(
    ab, connection, monkeypatch, tmp_path
):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    connection(password=KEY)
    for command in ("reconcile", "sweep"):
        ended = ab(command, str(tmp_path), "--json")
        assert (ended.status, ended.json["ledgers"]) == (0, 0), ended.err


def test_reconcile_and_sweep_work_with_the_variable_alone(ab, rows, calls, tmp_path, gemini_emulator):
    ab(*SUBMIT)
    (job,) = calls("batches.create")
    ab("wait", job, "--poll-interval", "1")
    told = ab("reconcile", ".")
    assert (told.status, told.out.startswith(f"unlanded    {job} is ")) == (1, True)
    swept = ab("sweep", str(tmp_path), "--older-than-hours", "0", "--json")
    assert (swept.status, swept.json["landed"]) == (0, [f"{tmp_path}/out/results.jsonl"])


def test_a_sweep_says_what_is_too_young_and_from_which_age_it_is_taken(ab, rows, calls):
    ab(*SUBMIT)
    (job,) = calls("batches.create")
    ab("wait", job, "--poll-interval", "1")
    said = ab("sweep", ".", "--older-than-hours", "1.5").out
    assert "too young   1 batch is left to the tasks; a sweep takes one 1.5 h after its last job ended" in said
    assert said.endswith("1 ledger, 1 job, 1 finding\n")
    report = ab("sweep", ".", "--json").json
    assert (len(report["too_young"]), report["taken_after_s"], report["landed"]) == (1, 21600, [])
    assert ab("sweep", ".", "--older-than-hours", "0", "--json").json["too_young"] == []


def test_a_job_that_runs_is_not_called_too_young(ab, rows, gemini_emulator):
    gemini_emulator.add_fault(action="job", state="STUCK", times=None)
    ab(*SUBMIT)
    assert "too young" not in ab("sweep", ".").out


def test_a_file_that_cannot_be_opened_wins_over_bad_rows(ab, rows, tmp_path):
    (tmp_path / "bad.jsonl").write_text("{}\n")
    assert ab("validate", "bad.jsonl").status == 1
    assert ab("validate", "bad.jsonl", "nothing://x").status == 2


@pytest.mark.parametrize("hours", ["nan", "-5", "inf", "soon"])
def test_a_sweep_takes_no_number_of_hours_that_is_none(ab, tmp_path, hours):
    ended = ab("sweep", str(tmp_path), f"--older-than-hours={hours}")
    assert ended.status == 2
    assert f"'{hours}' is not a number of hours from 0" in ended.err


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ("nonsense",),
        ("list", "--limit", "x"),
        ("wait", "out", "--timeout", "0"),
        ("submit", "rows.jsonl"),
        ("reconcile", "nowhere/at/all"),
    ],
)
def test_wrong_usage_is_an_error_in_one_line(ab, wrong):
    ended = ab(*wrong)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1


def test_where_nobody_answers_the_status_is_another_one(ab, monkeypatch):
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)
    ended = ab("show", "batches/x")
    assert (ended.status, "No answer from the Gemini API" in ended.err) == (3, True)
    assert ab("reconcile", "/nowhere").status == 2


@pytest.mark.parametrize("gemini_emulator", [{"api_keys": ["another"]}], indirect=True)
def test_a_wrong_key_is_told_without_the_key(ab):
    ended = ab("list")
    assert ended.status == 3
    assert ended.err.startswith("error: The Gemini API answered list batches with 4")


def test_a_crash_is_no_finding_and_shows_nothing_of_what_it_held(capsys):
    crashing = Command("crash", "", lambda _: None, "json:loads")
    assert run(crashing, Namespace(debug=False)) == 2
    assert capsys.readouterr().err.startswith("error: something unexpected went wrong (TypeError). --debug shows")


def test_where_an_error_comes_from_is_shown_if_that_is_wanted(ab):
    plain, debugged = ab("show", "batches/nowhere"), ab("show", "batches/nowhere", "--debug")
    assert ("Traceback" in plain.err, "Traceback" in debugged.err) == (False, True)
    assert debugged.err.endswith(plain.err)


def test_a_key_that_cannot_be_one_is_not_shown(cli, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", f"{KEY}\n")
    assert cli("list", "--debug").status == 2


def test_every_command_has_a_help_that_names_its_options(cli):
    for command in COMMANDS:
        ended = cli(command.name, "--help")
        assert (ended.status, "--debug" in ended.out) == (0, True)
        assert ("--json" in ended.out) == command.prints


def test_the_emulator_runs_as_one_of_the_commands(tmp_path):
    command = [sys.executable, "-m", "airflow_provider_batch.cli", "emulator", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout.readline().startswith("Gemini Batch emulator listening on http://127.0.0.1:")
    process.terminate()
    assert process.wait(10) == 0
    assert subprocess.run([*command, "--host", "0.0.0.0"], capture_output=True, check=False).returncode == 2


def test_columns_stand_under_each_other_and_numbers_on_the_right(capsys):
    table(("NAME", "N"), [("a", "1"), ("long", "1,000")])
    assert capsys.readouterr().out == "NAME      N\na         1\nlong  1,000\n"


def test_what_steers_a_terminal_is_shown_as_an_escape():
    assert printable("a\x1b[31m\u202eb\n") == "a\\x1b[31m\\u202eb\n"


def test_the_version_is_that_of_the_package(capsys):
    from airflow_provider_batch import __version__
    from airflow_provider_batch.cli.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"airflow-batch {__version__}\n")
