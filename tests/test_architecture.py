"""What the documentation says of the rooms is enforced: each rule is broken once, in a copy, and noticed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="the linters are in the extra [dev], for one Python only")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The package and its settings."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "pyproject.toml", folder)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "airflow_provider_batch", folder / "airflow_provider_batch", ignore=ignored)
    return folder


@pytest.fixture
def with_line(copy):
    """Put a line at the top of a module, which may be new; afterwards all is as before."""
    changed = {}

    def put(module, line):
        path = copy / "airflow_provider_batch" / module
        changed[path] = path.read_text() if path.exists() else None
        path.write_text(f"{line}\n{changed[path] or ''}")
        return path

    yield put
    for path, text in changed.items():
        path.unlink() if text is None else path.write_text(text)


def contracts(copy):
    """Which contracts the package keeps, by their names."""
    code = "from importlinter.cli import lint_imports_command as run; run()"
    command = [sys.executable, "-c", code, "--no-cache"]
    env = os.environ | {"PYTHONPATH": str(copy)}
    said = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
    found = re.findall(r"^(.+) (KEPT|BROKEN)\b", said.stdout, re.MULTILINE)
    assert found, said.stdout + said.stderr
    return {name: word == "KEPT" for name, word in found}


def test_the_package_keeps_its_contracts(copy):
    kept = contracts(copy)
    assert len(kept) == 5
    assert all(kept.values())


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("batch/run.py", "from airflow_provider_batch.gemini import wire", "rooms"),
        ("contract.py", "from airflow_provider_batch.rows import storage", "rooms"),
        ("hooks/gemini.py", "from airflow_provider_batch.operators import gemini", "rooms"),
        ("emulator/app.py", "from airflow_provider_batch import errors", "rooms"),
        ("new_room.py", "from airflow_provider_batch.rows import storage", "rooms"),
        ("batch/decide/next_step.py", "from airflow_provider_batch.batch.send import start", "rooms of a batch"),
        ("batch/new_room.py", "from airflow_provider_batch.batch.ledger import names", "rooms of a batch"),
        ("batch/run.py", "from airflow.sdk import DAG", "Airflow only at the surface"),
        ("web/webhooks.py", "from airflow.models import Variable", "Airflow only at the surface"),
        ("rows/storage.py", "import httpx", "httpx only in the client"),
        ("gemini/rows/dialect.py", "import httpx", "httpx only in the client"),
        (
            "hooks/gemini.py",
            "from airflow_provider_batch.emulator import process",
            "nothing of ours knows the emulator but the command line",
        ),
    ],
)
def test_a_wrong_import_breaks_its_contract(copy, with_line, module, line, contract):
    with_line(module, line)
    assert contracts(copy)[contract] is False


@pytest.mark.parametrize("module", ["operators/gemini.py", "rows/read/files.py", "batch/run.py"])
def test_a_heavy_import_at_the_top_of_a_module_is_refused(copy, with_line, module):
    path = with_line(module, "import pyarrow")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", path]
    said = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert "TID253" in said.stdout


OF_AIRFLOW = re.compile(
    r"GeminiBatch|GeminiEmbeddings|\w(Operator|Sensor)\b|trigger_rule|\{\{ *(run_id|ds|ti|try_number)\b"
)


def said_in(path):
    """The texts of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    notes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in notes]
    return [text for text in texts if isinstance(text, str)]


def test_no_message_of_a_neutral_room_names_a_class_or_template_of_airflow():
    package = ROOT / "airflow_provider_batch"
    rooms = [package / "contract.py", package / "errors.py"]
    rooms += [*(package / "batch").rglob("*.py"), *(package / "rows").rglob("*.py")]
    assert [(path.name, text) for path in rooms for text in said_in(path) if OF_AIRFLOW.search(text)] == []
