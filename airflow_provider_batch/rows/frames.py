"""Results as Arrow batches and as a pandas data frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from upath import UPath

from airflow_provider_batch.rows.manifest import Manifest
from airflow_provider_batch.rows.results import read_results

if TYPE_CHECKING:
    import pandas
    import pyarrow

BATCH_ROWS = 10_000


def to_arrow_batches(
    manifest: Manifest | dict[str, Any], batch_rows: int = BATCH_ROWS, *, path_type: Callable[[str], Any] = UPath
) -> Iterator[pyarrow.RecordBatch]:
    """Stream the results as Arrow record batches, with the columns of a Parquet file of them.

    Only ``batch_rows`` rows are in memory at a time. Kept columns and vectors are typed by all of the results, so
    all batches have one schema; for that the results are read twice.

    :param batch_rows: Most rows in one batch.
    :param path_type: As for :func:`read_results`.
    :raises ConfigError: pyarrow is not installed, or ``manifest`` is not a manifest.
    """
    from airflow_provider_batch.rows.sinks.parquet import record_batch, require_pyarrow, survey_of

    require_pyarrow()
    survey = survey_of(read_results(manifest, path_type=path_type))
    rows = iter(read_results(manifest, path_type=path_type))
    while block := list(islice(rows, batch_rows)):
        yield record_batch(block, survey)


def to_pandas(manifest: Manifest | dict[str, Any], *, path_type: Callable[[str], Any] = UPath) -> pandas.DataFrame:
    """All results as one pandas data frame. Needs memory for all rows at once; pandas must be installed.

    :raises ConfigError: pyarrow is not installed, or ``manifest`` is not a manifest.
    """
    import pyarrow

    return pyarrow.Table.from_batches(to_arrow_batches(manifest, path_type=path_type)).to_pandas()
