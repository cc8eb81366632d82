"""The page of the command line: its examples run, and its tables are those of the code."""

from __future__ import annotations

import re
import shlex

import pytest

from airflow_provider_batch.cli import running
from airflow_provider_batch.cli.parsers import COMMANDS, build
from tests.airflow.test_pages import ROOT, blocks, words

PAGE = "docs/cli.md"


def examples():
    return [line[1:] for line in words(PAGE, "console") if line[0] == "airflow-batch"]


def test_the_examples_of_the_page_run_one_after_the_other(ab, rows, job, tmp_path):
    (tmp_path / "reviews.csv").write_text("id,text\n1,I like it\n2,Broken\n")
    (tmp_path / "feel.txt").write_text("What does the customer feel? {text}")
    (tmp_path / "label.json").write_text('{"type": "object", "properties": {"mood": {"type": "string"}}}')
    (tmp_path / "labels").mkdir()
    name = job()
    for line in examples():
        arguments = [word.replace("batches/JOB", name).replace("/data", str(tmp_path)) for word in line]
        ended = ab(*arguments)
        assert ended.status == 0, (shlex.join(arguments), ended.out, ended.err)
    assert (tmp_path / "answers.jsonl").exists()


def test_every_command_has_an_example():
    shown = {line[0] for line in examples()} | {
        line[1] for line in words(PAGE, "bash") if line[0] == "airflow-batch"
    }
    assert shown == {command.name for command in COMMANDS}


def test_the_emulator_takes_the_options_of_the_page():
    (line,) = [line for line in words(PAGE, "bash") if line[0] == "airflow-batch"]
    options = build("airflow-batch").parse_args([word for word in line[1:] if word != "&"])
    assert options.port == 8484


def test_every_option_that_the_page_names_exists():
    text = (ROOT / PAGE).read_text()
    known = {flag for command in COMMANDS for flag in _flags(command)}
    assert set(re.findall(r"--[a-z][a-z-]*", text)) <= known


def _flags(command):
    from airflow_provider_batch.cli.airflow_commands import _options

    return [flag for flags, _ in _options(command) for flag in flags]


def test_the_exit_statuses_of_the_page_are_those_of_the_code():
    listed = re.findall(r"^\| (\d+) \|", (ROOT / PAGE).read_text(), re.M)
    assert [int(number) for number in listed] == [
        running.WELL,
        running.LOOK,
        running.WRONG,
        running.NO_ANSWER,
        running.UNFINISHED,
        running.STOPPED,
    ]


@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"])
def test_the_variables_of_the_page_are_those_of_the_code(variable):
    from airflow_provider_batch.cli import access

    assert variable in {access.KEY, access.BASE_URL}
    assert any(variable in block for block in blocks(PAGE, "bash"))
