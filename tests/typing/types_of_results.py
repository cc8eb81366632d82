"""What a downstream task's own type checker says of results. Only mypy reads this file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pandas
import pyarrow
from pydantic import BaseModel
from typing_extensions import assert_type
from upath import UPath

from airflow_provider_batch import Manifest, ResultRow, RowStatus, read_results, to_arrow_batches, to_pandas
from airflow_provider_batch.rows.dialect import RowError, Usage


class Label(BaseModel):
    sentiment: str


def a_row_of_a_model_has_an_instance_or_nothing(manifest: Manifest) -> None:
    rows = read_results(manifest, Label)
    assert_type(rows, Iterator[ResultRow[Label]])
    for row in rows:
        assert_type(row.parsed, Label | None)
        if row.parsed is not None:
            assert_type(row.parsed.sentiment, str)
        row.parsed.sentiment  # type: ignore[union-attr]  # a row that is no success has none


def a_row_without_a_type_has_any_json(manifest: Manifest) -> None:
    rows = read_results(manifest)
    assert_type(rows, Iterator[ResultRow[Any]])
    assert_type(rows, Iterator[ResultRow])
    assert_type(next(rows).parsed, Any | None)


def a_row_says_what_else_there_is(row: ResultRow) -> None:
    assert_type(row.key, str)
    assert_type(row.status, RowStatus)
    assert_type(row.text, str | None)
    assert_type(row.finish_reason, str | None)
    assert_type(row.usage, Usage | None)
    assert_type(row.error, RowError | None)
    assert_type(row.note, str | None)
    assert_type(row.source, dict[str, Any] | None)
    assert_type(row.vector, list[float] | None)
    assert_type(row.response, msgspec.Raw)
    row.answer  # type: ignore[attr-defined]  # it is called text
    row.key = "other"  # type: ignore[misc]  # rows are frozen


def a_manifest_may_be_what_xcom_gave(xcom: dict[str, Any], loaded: dict[str, object]) -> None:
    assert_type(read_results(xcom, Label), Iterator[ResultRow[Label]])
    assert_type(read_results(loaded), Iterator[ResultRow])
    read_results("s3://bucket/results.jsonl")  # type: ignore[call-overload]  # a path is no manifest


def a_type_may_be_a_schema_or_a_name(manifest: Manifest, schema: dict[str, str]) -> None:
    assert_type(read_results(manifest, schema), Iterator[ResultRow])
    assert_type(read_results(manifest, "package.module.Label"), Iterator[ResultRow])
    read_results(manifest, Label(sentiment="good"))  # type: ignore[call-overload]  # an instance is no type
    read_results(manifest, dict)  # type: ignore[type-var]  # only a pydantic model is


def a_path_type_opens_a_uri(manifest: Manifest) -> None:
    assert_type(read_results(manifest, Label, path_type=UPath), Iterator[ResultRow[Label]])
    read_results(manifest, path_type=str)  # type: ignore[arg-type]  # a text is no path


def frames_are_those_of_their_libraries(manifest: Manifest) -> None:
    assert_type(to_arrow_batches(manifest, Label), Iterator[pyarrow.RecordBatch])
    assert_type(to_pandas(manifest), pandas.DataFrame)
    to_arrow_batches(manifest, None, "many")  # type: ignore[arg-type]


def a_manifest_says_how_it_went(manifest: Manifest) -> None:
    assert_type(manifest.counts, dict[RowStatus, int])
    assert_type(manifest.cost_usd, float | None)
    assert_type(manifest.failed_uri, str | None)
    assert_type(manifest.to_xcom(), dict[str, object])
    assert_type(Manifest.load({}), Manifest)
