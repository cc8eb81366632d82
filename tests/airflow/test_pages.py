"""What README and docs show works as shown."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pytest
from airflow.sdk import DAG

from airflow_provider_batch.emulator.process import running_emulator
from airflow_provider_batch.hooks.gemini import GeminiBatchHook

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def words(page, language):
    """The commands of a page, without prompts and comments, split as a shell does."""
    text = "\n".join(blocks(page, language)).replace("\\\n", " ")
    lines = [line.removeprefix("$ ") for line in text.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_into_the_repository_leads_somewhere(page):
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_dag_of_the_readme_runs(run_dag, tmp_path):
    source, *_ = blocks("README.md", "python")
    (Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]) / "readme.py").write_text(
        source.replace("/data/", f"{tmp_path}/").replace("deferrable=True,", "deferrable=True, poll_interval=1,")
        + "\nDAG = label.dag\n"
    )
    (tmp_path / "requests").mkdir()
    row = {"key": "r1", "request": {"contents": [{"parts": [{"text": "Is this a complaint?"}]}]}}
    (tmp_path / "requests" / "2026-02-01.jsonl").write_text(json.dumps(row) + "\n")
    subprocess.run([sys.executable, "-m", "airflow", "dags", "reserialize"], check=True, capture_output=True)
    run = run_dag("readme.py", "DAG", at=datetime(2026, 2, 1, tzinfo=timezone.utc))
    assert run.state == "success", run.log
    assert re.search(r"r1 \S*success\S* Answer to: Is this a complaint", run.log, re.IGNORECASE), run.log


def test_the_tasks_that_a_page_shows_can_be_put_into_a_dag(airflow_db):
    shown = {}
    with DAG("shown"):
        exec(blocks("docs/use.md", "python")[0], shown)
        shown["stories"]()
        exec(blocks("docs/use.md", "python")[1], shown)
    assert shown["caption"].media.columns == ["photo"]
    assert shown["label"].prompt.format(text="x") == "What does the customer feel? x"


@pytest.mark.parametrize(("page", "number"), [("docs/use.md", 3), ("docs/emulator.md", 1)])
def test_the_test_that_a_page_shows_passes_with_the_shipped_fixture(tmp_path, page, number):
    shown = tmp_path / "test_shown.py"
    shown.write_text(blocks(page, "python")[number])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(shown)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in ended.stdout, ended.stdout


def test_the_asset_of_the_page_is_watched():
    shown: dict = {}
    exec(blocks("docs/use.md", "python")[2], shown)
    (watcher,) = shown["research"].watchers
    assert watcher.trigger.serialize()[1]["display_name_prefix"] == "research."


def test_the_fault_test_for_a_dag_of_ones_own_passes(airflow_db, gemini_emulator, monkeypatch, tmp_path):
    monkeypatch.setenv("GEMINI_BATCH_EXAMPLE_DIR", str(tmp_path))
    monkeypatch.syspath_prepend(os.environ["AIRFLOW__CORE__DAGS_FOLDER"] + "/example_dags")
    source = blocks("docs/emulator.md", "python")[2]
    names: dict = {}
    exec(source.replace("my_dags.nightly import dag", "gemini_batch_nightly import DAG as dag"), names)
    names["test_a_lost_answer_is_not_paid_twice"](gemini_emulator, monkeypatch)


def test_the_answer_function_of_the_page_answers_rows():
    *_, source = blocks("docs/emulator.md", "python")
    names: dict = {}
    exec(source, names)
    assert names["answer"]({}, "broken") == {"error": {"code": 3, "message": "bad part"}}
    assert names["answer"]({}, "k") == "any text"


def test_the_sdk_is_pointed_at_the_emulator_as_the_page_says(gemini_emulator):
    source, *_ = blocks("docs/emulator.md", "python")
    names: dict = {}
    exec(source.replace("http://127.0.0.1:8484", gemini_emulator.base_url), names)
    assert len(list(names["client"].models.list())) > 0


@pytest.mark.parametrize("page", ["docs/connect.md", "docs/emulator.md"])
def test_the_connections_of_the_pages_are_complete(page, monkeypatch):
    exported = [line[1] for kind in ("bash", "console") for line in words(page, kind) if line[0] == "export"]
    (value,) = [line.removeprefix("AIRFLOW_CONN_GEMINI_DEFAULT=") for line in exported]
    monkeypatch.setenv("AIRFLOW_CONN_GEMINI_DEFAULT", value)
    with GeminiBatchHook().get_conn():
        assert json.loads(value)["conn_type"] == "gemini"


def test_the_calls_of_the_page_are_accepted(gemini_emulator):
    curls = [line for line in words("docs/emulator.md", "bash") if line[0] == "curl"]
    headers = {"x-goog-api-key": "k"}
    row = {"request": {"contents": [{"parts": [{"text": "hi"}]}]}}
    batch = {"batch": {"displayName": "d", "inputConfig": {"requests": {"requests": [row]}}}}
    create = f"{gemini_emulator.base_url}/v1/models/gemini-2.5-flash:batchGenerateContent"
    made = httpx.post(create, json=batch, headers=headers).json()["name"]
    for line in curls:
        url = next(word for word in line if word.startswith("http"))
        url = url.replace("http://127.0.0.1:8484", gemini_emulator.base_url)
        url = url.replace("BATCH_ID", made.removeprefix("batches/"))
        body = line[line.index("-d") + 1] if "-d" in line else None
        method = line[line.index("-X") + 1] if "-X" in line else "GET" if body is None else "POST"
        given = dict([line[line.index("-H") + 1].split(": ")]) if "-H" in line else {}
        assert httpx.request(method, url, content=body, headers=given).status_code == 200, line
    assert len(curls) == 8


def test_the_faults_of_the_page_can_be_armed(gemini_emulator):
    faults = [json.loads(line) for block in blocks("docs/emulator.md", "json") for line in block.splitlines()]
    faults += [
        json.loads(cell) for cell in re.findall(r"\| `(\{.*\})` \|", (ROOT / "docs/emulator.md").read_text())
    ]
    for fault in faults:
        gemini_emulator.add_fault(**fault)
    assert len(faults) == 14


def test_every_make_target_of_the_pages_exists():
    text = "\n".join(page.read_text() for page in PAGES)
    asked = set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", text, re.M))
    assert asked >= {"demo", "test", "airflow", "bench"}
    assert asked <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def test_the_emulator_starts_with_the_options_of_the_page():
    commands = [line for line in words("docs/emulator.md", "bash") if "-m" in line]
    command, asked = commands[0], {word for line in commands for word in line if word.startswith("--")}
    shown = subprocess.run([sys.executable, *command[1:3], "--help"], capture_output=True, text=True, check=True)
    assert asked == {word for word in asked if word in shown.stdout}
    with running_emulator() as emulator:
        assert emulator.base_url.startswith("http://127.0.0.1:")
