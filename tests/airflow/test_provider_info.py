"""What Airflow reads about the provider, held against Airflow's own schema and hook."""

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import jsonschema
import pytest

from airflow_provider_batch.hooks.gemini import GeminiBatchHook
from airflow_provider_batch.provider_info import get_provider_info

pytestmark = pytest.mark.matrix


def test_it_validates_against_the_schema_that_airflow_ships():
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    assert jsonschema.validate(get_provider_info(), schema) is None


def test_airflow_finds_it_by_its_entry_point():
    points = entry_points(group="apache_airflow_provider")
    assert get_provider_info in [p.load() for p in points if p.value.startswith("airflow_provider_batch")]


def test_every_module_that_it_names_can_be_imported():
    info = get_provider_info()
    kinds = ("hooks", "operators", "sensors", "triggers")
    named = [module for kind in kinds for entry in info[kind] for module in entry["python-modules"]]
    assert len(named) == 7
    assert all(importlib.import_module(name) for name in named)


def test_the_connection_form_says_the_same_in_both_places_that_airflow_looks():
    (kind,) = get_provider_info()["connection-types"]
    from_hook = GeminiBatchHook.get_ui_field_behaviour()
    assert kind["connection-type"] == GeminiBatchHook.conn_type
    assert kind["hook-name"] == GeminiBatchHook.hook_name
    assert kind["ui-field-behaviour"] == {key.replace("_", "-"): value for key, value in from_hook.items()}
    assert kind["ui-field-behaviour"]["relabeling"]["password"] == "API key"


def test_airflow_lists_the_connection_type_and_its_hook(airflow_db):
    command = [sys.executable, "-m", "airflow", "providers", "hooks", "--output", "json"]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    (ours,) = [hook for hook in listed if hook["connection_type"] == "gemini"]
    assert ours["class"] == "airflow_provider_batch.hooks.gemini.GeminiBatchHook"


def test_importing_the_surface_loads_no_client_and_no_server():
    code = (
        "import sys, airflow_provider_batch.operators.gemini, airflow_provider_batch.sensors.gemini; "
        "print([m for m in ('httpx', 'starlette', 'uvicorn', 'google.auth', 'sqlite3') "
        "if m in sys.modules and m not in before])"
    )
    before = (
        "import sys, airflow.sdk as s, airflow.triggers.base; s.BaseOperator, s.BaseHook, s.BaseSensorOperator; "
    )
    command = [sys.executable, "-c", f"{before} before = set(sys.modules); {code}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
