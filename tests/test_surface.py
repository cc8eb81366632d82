"""What others import: the names of the package itself, and the modules of its rooms."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import airflow_provider_batch

HERE = Path(__file__).parents[1]
PACKAGE = HERE / "airflow_provider_batch"

NAMES = {
    "BatchError",
    "EstimateOptions",
    "FailureOptions",
    "GeminiBatchEventTrigger",
    "GeminiBatchFetchResultsOperator",
    "GeminiBatchHook",
    "GeminiBatchOperator",
    "GeminiBatchSensor",
    "GeminiEmbeddingsBatchOperator",
    "GeminiResultsToSqlOperator",
    "Manifest",
    "MediaOptions",
    "ResultRow",
    "ResultOptions",
    "RowStatus",
    "SingleCalls",
    "SqlQuery",
    "read_results",
    "to_arrow_batches",
    "to_pandas",
}


def test_the_public_names_are_these():
    assert set(airflow_provider_batch.__all__) == NAMES
    assert set(dir(airflow_provider_batch)) >= NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_public_name_is_what_its_module_has(name):
    found = getattr(airflow_provider_batch, name)
    assert found.__name__ == name
    assert found is getattr(sys.modules[found.__module__], name)


def test_a_name_that_is_none_of_them_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'GeminiOperator'"):
        airflow_provider_batch.GeminiOperator  # noqa: B018


def test_importing_the_package_imports_nothing_else():
    heavy = ("airflow", "httpx", "pydantic", "msgspec", "upath")
    code = f"import sys, airflow_provider_batch; print(*(name for name in {heavy} if name in sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == ""


def test_a_type_of_rows_is_there_without_airflow():
    code = "from airflow_provider_batch import ResultRow; import sys; print('airflow' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


ROOMS = {
    ".".join(path.parent.relative_to(HERE).parts): path
    for path in sorted(PACKAGE.rglob("__init__.py"))
    if path.parent != PACKAGE
}
WITH_NAMES = {"airflow_provider_batch.cli", "airflow_provider_batch.emulator", "airflow_provider_batch.rows.read"}
"""Rooms that hold names beside their modules."""


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_offers_just_the_modules_that_others_import(room):
    modules = {path.stem for path in ROOMS[room].parent.iterdir() if path.suffix == ".py" or path.is_dir()}
    offered = set(import_module(room).__all__)
    assert offered & modules == imported_from_outside()[room] & modules


@pytest.mark.parametrize("room", sorted(WITH_NAMES))
def test_names_that_others_import_from_a_room_are_offered(room):
    modules = {path.stem for path in ROOMS[room].parent.iterdir()}
    offered = set(import_module(room).__all__)
    assert imported_from_outside()[room] <= offered
    assert all(hasattr(import_module(room), name) for name in offered - modules)


@pytest.mark.parametrize("room", sorted(ROOMS.keys() - WITH_NAMES))
def test_other_rooms_load_nothing_by_themselves(room):
    words, offered = ast.parse(ROOMS[room].read_text(encoding="utf-8")).body
    assert isinstance(words, ast.Expr)
    assert ast.unparse(offered).startswith("__all__ = ")


@cache
def imported_from_outside() -> dict[str, set[str]]:
    """What is imported of each room by code outside it, also by examples, pages and entry points."""
    found: dict[str, set[str]] = defaultdict(set)
    for who, what in _imports():
        parts = what.split(".")
        for length in range(2, len(parts)):
            room = ".".join(parts[:length])
            if room in ROOMS and not f"{who}.".startswith(f"{room}."):
                found[room].add(parts[length])
    return found


def _imports() -> Iterator[tuple[str, str]]:
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(HERE).with_suffix("").parts).removesuffix(".__init__")
        yield from ((module, name) for name in _of_python(path))
    # What Airflow and Python are told: class paths and entry points.
    entry_points, _, _ = (HERE / "pyproject.toml").read_text(encoding="utf-8").partition("[tool.")
    told = entry_points + (PACKAGE / "provider_info.py").read_text(encoding="utf-8")
    yield from (("airflow", name) for name in _paths_in(told))
    for folder in ("example_dags", "demo"):
        yield from (("user", name) for path in (HERE / folder).rglob("*.py") for name in _of_python(path))
    for page in [HERE / "README.md", *(HERE / "docs").rglob("*.md")]:
        yield from (("user", name) for name in _paths_in(page.read_text(encoding="utf-8")))


def _of_python(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{one.name}" for one in node.names)


def _paths_in(text: str) -> Iterator[str]:
    for path in re.findall(r"airflow_provider_batch(?:[.:]\w+)+", text):
        yield path.replace(":", ".")
