"""Results as Arrow batches and as a pandas data frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_batch.rows.manifest import Manifest
from airflow_provider_batch.rows.output.type import OutputType
from airflow_provider_batch.rows.results import parquet_batches, read_results
from airflow_provider_batch.rows.storage import path_of

if TYPE_CHECKING:
    import pandas
    import pyarrow
    from pydantic import BaseModel
    from upath import UPath

BATCH_ROWS = 10_000


def to_arrow_batches(
    manifest: Manifest | Mapping[str, object],
    output_type: type[BaseModel] | str | Mapping[str, object] | None = None,
    batch_rows: int = BATCH_ROWS,
    *,
    path_type: Callable[[str], UPath] = path_of,
) -> Iterator[pyarrow.RecordBatch]:
    """Stream the results as Arrow record batches, with the columns of a Parquet file of them.

    Only ``batch_rows`` rows are in memory at a time. All batches have one schema. Kept columns, answers and
    vectors are typed by all of the results. So results that are not in a Parquet file are read twice.

    :param output_type: What the rows were sent with, for typed columns ``parsed_<name>``. A Parquet file has its
        columns already.
    :param batch_rows: Most rows in one batch.
    :param path_type: As for :func:`read_results`.
    :raises ConfigError: pyarrow is not installed, or ``manifest`` is not a manifest.
    """
    from airflow_provider_batch.rows.write.parquet import record_batch, require_pyarrow, survey_of

    require_pyarrow()
    wanted = Manifest.load(manifest)
    path = path_type(wanted.result_uri)
    if path.suffix == ".parquet":
        yield from parquet_batches(path, wanted, batch_rows)
        return
    schema = None if output_type is None else OutputType.of(output_type).json_schema
    survey = survey_of(read_results(wanted, path_type=path_type), schema)
    rows = iter(read_results(wanted, path_type=path_type))
    while block := list(islice(rows, batch_rows)):
        yield record_batch(block, survey)


def to_pandas(
    manifest: Manifest | Mapping[str, object],
    output_type: type[BaseModel] | str | Mapping[str, object] | None = None,
    *,
    path_type: Callable[[str], UPath] = path_of,
) -> pandas.DataFrame:
    """All results as one pandas data frame. Needs memory for all rows at once. ``pandas`` must be installed.

    :param output_type: As for :func:`to_arrow_batches`.
    :raises ConfigError: pyarrow is not installed, or ``manifest`` is not a manifest.
    """
    import pyarrow

    return pyarrow.Table.from_batches(to_arrow_batches(manifest, output_type, path_type=path_type)).to_pandas()
