"""Every block of README and docs is run, or says why not; every command exists with its options."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml
from airflow.configuration import conf
from airflow.sdk import DAG

from airflow_provider_batch.cli.parsers import build
from tests.docs.blocks import ALL, PAGES, ROOT, block, commands

OLDER = "tests/airflow/test_pages.py"
HERE = "tests/docs/test_blocks.py"

RUN = {
    ("README.md", 0): (OLDER, "test_the_dag_of_the_readme_runs"),
    ("docs/use.md", 0): (OLDER, "test_the_tasks_that_a_page_shows_can_be_put_into_a_dag"),
    ("docs/use.md", 1): (OLDER, "test_the_tasks_that_a_page_shows_can_be_put_into_a_dag"),
    ("docs/use.md", 2): (OLDER, "test_the_asset_of_the_page_is_watched"),
    ("docs/use.md", 3): (OLDER, "test_the_test_that_a_page_shows_passes_with_the_shipped_fixture"),
    ("docs/emulator.md", 0): (OLDER, "test_the_sdk_is_pointed_at_the_emulator_as_the_page_says"),
    ("docs/emulator.md", 1): (OLDER, "test_the_test_that_a_page_shows_passes_with_the_shipped_fixture"),
    ("docs/emulator.md", 2): (OLDER, "test_the_fault_test_for_a_dag_of_ones_own_passes"),
    ("docs/emulator.md", 3): (OLDER, "test_the_answer_function_of_the_page_answers_rows"),
    ("docs/index.md", 0): (HERE, "test_the_dag_of_the_first_page_is_one"),
    ("docs/quickstart.md", 0): (HERE, "test_the_dag_of_the_quickstart_runs_on_its_rows"),
    ("docs/how-to/text-files.md", 0): (HERE, "test_two_hundred_text_files_become_as_many_summaries"),
    ("docs/common-ai.md", 0): (HERE, "test_the_dag_with_common_ai_is_one"),
    ("docs/webhooks.md", 0): (HERE, "test_a_webhook_is_registered_as_the_page_says"),
}
"""Python blocks by page and number, and the test that runs them. Included example DAGs have their own."""

SHOWN = {
    ("docs/how-to/ready-by.md", 0): ("tests/airflow/test_example_dags.py", "test_a_batch_is_tried_and_in_time"),
    ("docs/how-to/ready-by.md", 1): ("tests/airflow/test_example_dags.py", "test_a_batch_is_tried_and_in_time"),
}
"""What a log says, by page and number, and the test that compares it with a real one."""

NOT_RUN: dict[tuple[str, str, int], str] = {
    ("docs/dependencies.md", "console", 0): "it asks a package index for all versions",
}
"""Blocks that no test runs, and why; each is marked so in its page."""

PYTHON = [one for one in ALL if one.language == "python"]
SHELL = [one for one in ALL if one.language in ("bash", "console")]


def test_every_block_that_is_not_run_is_listed_with_its_reason():
    assert {one[:3]: one.not_run for one in ALL if one.not_run} == NOT_RUN


def test_every_block_has_a_language_that_is_looked_at_here():
    looked_at = {"python", "bash", "console", "json", "yaml", "csv", "text"}
    assert {one.place for one in ALL if one.language not in looked_at} == set()


def test_every_text_that_a_page_shows_has_a_test_that_compares_it():
    assert {one[:3:2] for one in ALL if one.language == "text"} == set(SHOWN)
    for path, name in SHOWN.values():
        assert f"def {name}(" in (ROOT / path).read_text()


def test_every_python_block_has_a_test_that_runs_it():
    own = {(one.page, one.number) for one in PYTHON if not one.included and not one.not_run}
    assert own == set(RUN)
    for path, name in RUN.values():
        assert f"def {name}(" in (ROOT / path).read_text()


def test_every_included_file_is_an_example_that_has_a_test():
    tested = (ROOT / "tests/airflow/test_example_dags.py").read_text()
    included = [name for one in ALL for name in one.included]
    assert included == [name for name in included if (ROOT / name).is_file() and f'"{Path(name).stem}"' in tested]
    assert sorted(included) == sorted(f"example_dags/{path.name}" for path in (ROOT / "example_dags").glob("*.py"))


@pytest.mark.parametrize("one", PYTHON, ids=lambda one: one.place)
def test_every_python_block_compiles(one):
    compile(one.source if not one.included else "", one.place, "exec")


@pytest.mark.parametrize(
    "one", [one for one in ALL if one.language in ("json", "yaml", "csv")], ids=lambda one: one.place
)
def test_every_block_of_data_can_be_read(one):
    if one.language == "json":
        assert all(json.loads(line) for line in one.source.splitlines())
    elif one.language == "yaml":
        assert yaml.safe_load(one.source)
    else:
        assert len({len(row) for row in csv.reader(one.source.splitlines())}) == 1


@pytest.mark.parametrize("one", [one for one in SHELL if not one.not_run], ids=lambda one: one.place)
def test_every_command_of_a_block_exists_with_its_options(one):
    shown = commands(one)
    assert shown
    for words in shown:
        CHECKS[words[0]](words)


def _make(words):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words[1:]) <= set(targets)


def _airflow_batch(words):
    build("airflow-batch").parse_args([word for word in words[1:] if word != "&"])


def _pip(words):
    assert words[1] == "install"
    for wanted in words[2:]:
        name, *extras = re.split(r"[\[\],]+", wanted.rstrip("]"))
        assert set(extras) <= set(metadata(name).get_all("Provides-Extra"))


def _export(words):
    for word in words[1:]:
        name, is_set, _ = word.partition("=")
        assert is_set
        section = re.fullmatch(r"AIRFLOW__([A-Z]+)__([A-Z_]+)", name)
        if section:
            assert conf.has_option(section[1].lower(), section[2].lower()), name
        else:
            assert name in OTHER_VARIABLES, name


OTHER_VARIABLES = {
    "AIRFLOW_CONN_GEMINI_DEFAULT",
    "GEMINI_API_KEY",
    "GOOGLE_GEMINI_BASE_URL",
    # OpenTelemetry's own, by its specification.
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
}


def _python(words):
    module = words[words.index("-m") + 1]
    if module == "pytest":
        assert all((ROOT / word).exists() for word in words[3:] if not word.startswith("-"))
        return
    shown = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
    assert [word for word in words if word.startswith("--") and word not in shown.stdout] == []


def _pre_commit(words):
    assert "pre-commit>=" in (ROOT / "pyproject.toml").read_text()
    assert (ROOT / ".pre-commit-config.yaml").exists()


def _curl(words):
    """The address is one of the emulator's, whose calls another test makes."""
    (address,) = [word for word in words if word.startswith("http")]
    assert address.startswith(("http://127.0.0.1:8484/emulator/", "http://127.0.0.1:8484/v1beta/models/"))
    assert "def test_the_calls_of_the_page_are_accepted(" in (ROOT / OLDER).read_text()


def _airflow(words):
    """Airflow's own: the quickstart's DAG, which another test runs."""
    assert words[1:] == ["dags", "test", "quickstart"]
    subprocess.run([sys.executable, "-m", "airflow", "dags", "test", "--help"], capture_output=True, check=True)


CHECKS = {
    "airflow": _airflow,
    "make": _make,
    "airflow-batch": _airflow_batch,
    "pip": _pip,
    "export": _export,
    "python": _python,
    ".venv/bin/python": _python,
    ".venv/bin/pre-commit": _pre_commit,
    "curl": _curl,
}


def test_commands_in_the_text_exist_too():
    for page in PAGES:
        text = (ROOT / page).read_text()
        for command in re.findall(r"`airflow-batch ([a-z]+)", text):
            build("airflow-batch")._subparsers._group_actions[0].choices[command]


def test_the_dag_of_the_first_page_is_one():
    shown: dict = {}
    exec(block("docs/index.md", "python", 0), shown)
    assert shown["dag"].task_ids == ["label"]


def test_the_dag_with_common_ai_is_one():
    pytest.importorskip("airflow.providers.common.ai.operators.llm_batch")
    shown: dict = {}
    exec(block("docs/common-ai.md", "python", 0), shown)
    (task,) = shown["dag"].tasks
    assert (task.llm_conn_id, task.model_id) == ("gemini_default", "google:gemini-2.5-flash")


def test_the_dag_of_the_quickstart_runs_on_its_rows(run_dag, tmp_path):
    (tmp_path / "reviews.csv").write_text(block("docs/quickstart.md", "csv", 0))
    (Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / "quickstart.py").write_text(
        block("docs/quickstart.md", "python", 0)
        .replace("/data/", f"{tmp_path}/")
        .replace("deferrable=True,", "deferrable=True, poll_interval=1,")
        + "\nDAG = label.dag\n"
    )
    subprocess.run([sys.executable, "-m", "airflow", "dags", "reserialize"], check=True, capture_output=True)
    run = run_dag("quickstart.py", "DAG")
    assert run.state == "success", run.log
    assert run.xcom["label"]["counts"] == {"success": 2}


def test_two_hundred_text_files_become_as_many_summaries(run_dag, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "summaries").mkdir()
    for number in range(200):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"text {number}")
    (tmp_path / "texts" / "latin.txt").write_bytes(b"caf\xe9")
    (Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / "summaries.py").write_text(
        block("docs/how-to/text-files.md", "python", 0)
        .replace("/data/", f"{tmp_path}/")
        .replace("deferrable=True,", "deferrable=True, poll_interval=1,")
        + "\nDAG = summarise.dag\n"
    )
    subprocess.run([sys.executable, "-m", "airflow", "dags", "reserialize"], check=True, capture_output=True)
    run = run_dag("summaries.py", "DAG")
    assert run.state == "success", run.log
    assert (run.xcom["summarise"]["counts"], run.xcom["summarise"]["skipped"]) == ({"success": 200}, 1)
    assert len(list((tmp_path / "summaries").glob("*.txt"))) == 200


def test_a_webhook_is_registered_as_the_page_says(gemini_emulator, monkeypatch, capsys):
    monkeypatch.setenv("GEMINI_API_KEY", "any")
    source = block("docs/webhooks.md", "python", 0)
    live = 'ApiKey(os.environ["GEMINI_API_KEY"])'
    assert live in source
    exec(source.replace(live, f'{live}, base_url="{gemini_emulator.base_url}"'), {})
    name, secret = capsys.readouterr().out.split()
    assert name.startswith("webhooks/")
    assert secret


def test_parameters_that_the_text_names_are_those_of_the_operator():
    from airflow_provider_batch.operators import options
    from airflow_provider_batch.operators.gemini import GeminiBatchOperator

    with DAG("named"):
        task = GeminiBatchOperator(task_id="t", model="m", requests="/r", result_path="/p")
    groups = (options.MediaOptions, options.ResultOptions, options.FailureOptions, options.EstimateOptions)
    known = {*vars(task), *(name for group in groups for name in group.checks)}
    named = re.findall(
        r"`(on_[a-z_]+|max_[a-z_]+|cancel_on_[a-z]+|keep_[a-z_]+)(?:=[^`]*)?`",
        "".join((ROOT / page).read_text() for page in PAGES),
    )
    connection = {"max_enqueued_tokens"}
    common_ai = {"on_stale_state", "on_orphaned_intent", "max_tokens"}
    assert set(named) - known <= connection | common_ai
