"""The names that users import from the package itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

import airflow_provider_batch

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
