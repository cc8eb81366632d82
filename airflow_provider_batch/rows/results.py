"""Reading landed results in a downstream task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, TypeVar, overload
from urllib.parse import urlsplit

import msgspec
from upath import UPath

from airflow_provider_batch.errors import BatchError, ConfigError
from airflow_provider_batch.rows.dialect import ResultRow, RowStatus
from airflow_provider_batch.rows.manifest import Manifest
from airflow_provider_batch.rows.output.type import CODE, NotOfTypeError, OutputType
from airflow_provider_batch.rows.read.lines import read_lines
from airflow_provider_batch.rows.storage import opened, path_of
from airflow_provider_batch.rows.write.parquet import read_parquet

if TYPE_CHECKING:
    import pyarrow
    from pydantic import BaseModel

log = logging.getLogger(__name__)
Model = TypeVar("Model", bound="BaseModel")


@overload
def read_results(
    manifest: Manifest | Mapping[str, object],
    output_type: type[Model],
    *,
    path_type: Callable[[str], UPath] = path_of,
) -> Iterator[ResultRow[Model]]: ...


@overload
def read_results(
    manifest: Manifest | Mapping[str, object],
    output_type: str | Mapping[str, object] | None = None,
    *,
    path_type: Callable[[str], UPath] = path_of,
) -> Iterator[ResultRow]: ...


def read_results(
    manifest: Manifest | Mapping[str, object],
    output_type: type[BaseModel] | str | Mapping[str, object] | None = None,
    *,
    path_type: Callable[[str], UPath] = path_of,
) -> Iterator[ResultRow]:
    """Stream the rows of a batch, one for each input row, in no particular order unless asked for.

    :param manifest: What the task of the batch returned.
    :param output_type: Makes ``row.parsed`` of each success an instance of this pydantic model.
    :param path_type: Opens the result URI. Default where Airflow runs: as the operator does, so that a connection
        in it (``s3://my_conn@bucket/labels/``) is used. Default elsewhere: ``upath.UPath``.
    :return: ``row.key``, ``row.status``, ``row.text``, ``row.usage``, ``row.finish_reason``, ``row.error``,
        ``row.parsed`` (if there is an ``output_type``), ``row.source`` (kept columns), ``row.vector``.
    :raises ConfigError: ``manifest`` is not a manifest, or ``output_type`` not a type.
    :raises BatchError: The file is gone, or is not what the manifest describes. Or a success is not of the type.
    """
    wanted = Manifest.load(manifest)
    rows = _stream(path_type(wanted.result_uri), wanted)
    return rows if output_type is None else _typed(rows, OutputType.of(output_type))


MAX_EARLIER_ROWS = 2000
"""Earlier answers that an estimate looks at."""


def output_tokens(folder: UPath) -> list[int]:
    """Output tokens of the first answers of a run, thinking included. None if there are no results.

    :param folder: Of the results.
    """
    manifest = Manifest.read(folder)
    if manifest is None:
        log.warning("There are no results in %s to estimate from.", folder)
        return []
    rows = islice(read_results(manifest), MAX_EARLIER_ROWS)
    return [row.usage.output + row.usage.thinking for row in rows if row.usage is not None]


def _typed(rows: Iterator[ResultRow], output: OutputType) -> Iterator[ResultRow]:
    for row in rows:
        if row.status is not RowStatus.SUCCESS:
            yield row
            continue
        try:
            # From the text: what the model wrote as JSON need not be what it reads.
            parsed = output.read(row.text or "")
        except NotOfTypeError as fault:
            raise BatchError(
                f"The answer of row {ascii(row.key)[:80]} is not of the given output_type: {fault.reason}.",
                code=CODE,
                remedy="Give the output_type that the rows were sent with, or none to read them as they are.",
            ) from None
        yield msgspec.structs.replace(row, parsed=parsed)


def parquet_batches(path: UPath, manifest: Manifest, batch_rows: int) -> Iterator[pyarrow.RecordBatch]:
    """Stream a Parquet file of results as it is.

    :param path: Of the results that ``manifest`` describes.
    :param batch_rows: Most rows in one batch.
    :raises BatchError: The file is gone, or is not what the manifest describes.
    """
    from pyarrow import parquet

    with _opened(path, manifest) as file:
        source = parquet.ParquetFile(file)
        _ensure_complete(path, manifest, source.metadata.num_rows)
        yield from source.iter_batches(batch_size=batch_rows)


def _stream(path: UPath, manifest: Manifest) -> Iterator[ResultRow]:
    count = 0
    with _opened(path, manifest) as file:
        for row in read_parquet(file) if path.suffix == ".parquet" else _lines(path, file):
            count += 1
            yield row
    _ensure_complete(path, manifest, count)


@contextmanager
def _opened(path: UPath, manifest: Manifest) -> Iterator[BinaryIO]:
    with ExitStack() as stack:
        try:
            there = Manifest.read(path.parent)
            file = stack.enter_context(opened(path))
        except FileNotFoundError:
            if isinstance(path, UPath) and "@" in urlsplit(manifest.result_uri).netloc:
                raise _elsewhere(manifest.result_uri) from None
            raise _damaged(path, f"the file of {manifest.job_name} is gone") from None
        except (OSError, ValueError) as error:
            raise _damaged(path, f"they cannot be opened ({type(error).__name__}: {error})") from error
        if there is not None and there.job_name != manifest.job_name:
            raise _damaged(path, f"they were replaced by those of {there.job_name}")
        yield file


def _ensure_complete(path: UPath, manifest: Manifest, count: int) -> None:
    if count != manifest.request_count:
        raise _damaged(path, f"{count} rows where the manifest says {manifest.request_count}")


def _lines(path: UPath, file: BinaryIO) -> Iterator[ResultRow]:
    decode = msgspec.json.Decoder(ResultRow).decode
    for number, data in read_lines(file):
        try:
            row = decode(data or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _damaged(path, f"line {number} is not a result row ({error})") from None
        yield row


def _elsewhere(uri: str) -> BatchError:
    return ConfigError(
        f"Results {uri} need the Airflow connection that is named before the @.",
        code="AGB-C08",
        remedy="Read the results in a task, or pass path_type, a function that opens the URI with its rights.",
    )


def _damaged(path: UPath, what: str) -> BatchError:
    return BatchError(
        f"Results {path}: {what}.",
        code="AGB-R11",
        remedy="Restore the file: results that were deleted after they had landed cannot be fetched again.",
    )
