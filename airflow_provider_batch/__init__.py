"""Airflow provider for the Batch Mode of the Gemini API: one JSONL file in, parsed results out.

Importing this package imports nothing else. A name is imported from its module when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_batch.errors import BatchError
    from airflow_provider_batch.hooks.gemini import GeminiBatchHook
    from airflow_provider_batch.operators.embeddings import GeminiEmbeddingsBatchOperator
    from airflow_provider_batch.operators.fetch import GeminiBatchFetchResultsOperator
    from airflow_provider_batch.operators.gemini import GeminiBatchOperator
    from airflow_provider_batch.operators.options import (
        EstimateOptions,
        FailureOptions,
        MediaOptions,
        ResultOptions,
        SingleCalls,
    )
    from airflow_provider_batch.rows.dialect import ResultRow, RowStatus
    from airflow_provider_batch.rows.frames import to_arrow_batches, to_pandas
    from airflow_provider_batch.rows.manifest import Manifest
    from airflow_provider_batch.rows.read.tables import SqlQuery
    from airflow_provider_batch.rows.results import read_results
    from airflow_provider_batch.sensors.gemini import GeminiBatchSensor
    from airflow_provider_batch.transfers.gemini import GeminiResultsToSqlOperator
    from airflow_provider_batch.triggers.events import GeminiBatchEventTrigger

__version__ = "0.1.0"

__all__ = [
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
    "ResultOptions",
    "ResultRow",
    "RowStatus",
    "SingleCalls",
    "SqlQuery",
    "read_results",
    "to_arrow_batches",
    "to_pandas",
]

_MODULES = {
    "BatchError": "errors",
    "EstimateOptions": "operators.options",
    "FailureOptions": "operators.options",
    "GeminiBatchEventTrigger": "triggers.events",
    "GeminiBatchFetchResultsOperator": "operators.fetch",
    "GeminiBatchHook": "hooks.gemini",
    "GeminiBatchOperator": "operators.gemini",
    "GeminiBatchSensor": "sensors.gemini",
    "GeminiEmbeddingsBatchOperator": "operators.embeddings",
    "GeminiResultsToSqlOperator": "transfers.gemini",
    "Manifest": "rows.manifest",
    "MediaOptions": "operators.options",
    "ResultOptions": "operators.options",
    "ResultRow": "rows.dialect",
    "RowStatus": "rows.dialect",
    "SingleCalls": "operators.options",
    "SqlQuery": "rows.read.tables",
    "read_results": "rows.results",
    "to_arrow_batches": "rows.frames",
    "to_pandas": "rows.frames",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
