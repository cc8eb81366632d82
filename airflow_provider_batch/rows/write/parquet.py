"""Results as a Parquet file, and a Parquet file as results.

There are two passes over the rows. The first finds out which kept columns there are, of what kind, and how long
the vectors are. The second writes block by block. So the types follow the data, and memory does not grow with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from airflow_provider_batch.errors import ConfigError
from airflow_provider_batch.rows.dialect import NULL, ResultRow, RowError, RowStatus, Usage
from airflow_provider_batch.rows.output.schemas import Schema
from airflow_provider_batch.rows.read.lines import read_lines
from airflow_provider_batch.rows.write.parsed_columns import EXACT_IN_A_FLOAT, LARGEST, ParsedColumns, ParsedReader

if TYPE_CHECKING:
    import pyarrow

BLOCK_ROWS = 1_024
"""Rows that are read at a time. A block with vectors of 3,072 numbers takes some 100 MB as Python values."""

BLOCK_BYTES = 8 * 1024 * 1024
"""Of the lines that become one row group: some 4,000 answers of 2 KB, or 250 vectors of 3,072 numbers."""

SOURCE_PREFIX = "source_"
"""What the name of a kept column begins with, so that it cannot meet a column of ours."""

_FIXED = {
    "key": "string",
    "status": "string",
    "text": "string",
    "finish_reason": "string",
    "input_tokens": "int64",
    "cached_tokens": "int64",
    "output_tokens": "int64",
    "thinking_tokens": "int64",
    "audio_tokens": "int64",
    "error_code": "int64",
    "error_message": "string",
}
_encode = msgspec.json.Encoder().encode


def require_pyarrow() -> None:
    """Make sure before any money is spent that the results can be written.

    :raises ConfigError: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ConfigError(
            "Parquet needs pyarrow.", code="AGB-C11", remedy='Install "airflow-provider-batch[parquet]".'
        ) from None


class Surveyed(msgspec.Struct):
    """What of a row decides about columns."""

    parsed: Any = None
    note: str | None = None
    source: dict[str, Any] | None = None
    vector: list[float] | None = None


@dataclass
class Survey:
    """What the rows hold beside what all rows have."""

    parsed: ParsedColumns
    kinds: dict[str, set[str]] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)
    has_notes: bool = False

    def add(self, row: ResultRow | Surveyed) -> None:
        """Note what this row holds."""
        self.parsed.note(row.parsed)
        self.has_notes = self.has_notes or row.note is not None
        if row.vector is not None:
            self.lengths.add(len(row.vector))
        for name, value in (row.source or {}).items():
            kinds = self.kinds.setdefault(name, set())
            if value is not None:
                kinds.add(_kind(value))


def write_parquet(lines: BinaryIO, out: BinaryIO, output_schema: Schema | None = None) -> None:
    """Write result rows, JSON Lines as they were landed, as one Parquet file.

    :param lines: Seekable. Read twice from the beginning.
    :param output_schema: JSON Schema of the answers, for the types of their columns.
    """
    from pyarrow import parquet

    survey = survey_of(_surveyed(lines), output_schema)
    with parquet.ParquetWriter(out, _schema(survey), compression="zstd") as writer:
        for block in _blocks(lines):
            writer.write_batch(record_batch(block, survey))


def survey_of(rows: Iterable[ResultRow | Surveyed], output_schema: Schema | None = None) -> Survey:
    """The first pass.

    :param output_schema: JSON Schema of the answers.
    """
    survey = Survey(ParsedColumns(output_schema))
    for row in rows:
        survey.add(row)
    return survey


def record_batch(rows: list[ResultRow], survey: Survey) -> pyarrow.RecordBatch:
    """Rows as Arrow columns."""
    import pyarrow

    schema = _schema(survey)
    columns = _columns(rows, survey)
    return pyarrow.record_batch([pyarrow.array(columns[field.name], field.type) for field in schema], schema)


def read_parquet(file: BinaryIO) -> Iterator[ResultRow]:
    """Stream the rows that :func:`write_parquet` wrote."""
    from pyarrow import parquet

    source = parquet.ParquetFile(file)
    parsed = ParsedReader(source.schema_arrow)
    for batch in source.iter_batches(batch_size=BLOCK_ROWS):
        for columns in batch.to_pylist():
            yield _row(columns, parsed)


def _blocks(lines: BinaryIO) -> Iterator[list[ResultRow]]:
    """Rows that are in memory at a time."""
    decode = msgspec.json.Decoder(ResultRow).decode
    block, size = [], 0
    lines.seek(0)
    for _, data in read_lines(lines):
        block.append(decode(data or b""))
        size += len(data or b"")
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _surveyed(lines: BinaryIO) -> Iterator[Surveyed]:
    decode = msgspec.json.Decoder(Surveyed).decode
    lines.seek(0)
    for _, data in read_lines(lines):
        yield decode(data or b"")


def _schema(survey: Survey) -> pyarrow.Schema:
    import pyarrow

    fields = [pyarrow.field(name, getattr(pyarrow, kind)()) for name, kind in _FIXED.items()]
    fields += [*survey.parsed.fields(), pyarrow.field("response", pyarrow.string())]
    if survey.has_notes:
        fields.append(pyarrow.field("note", pyarrow.string()))
    if survey.lengths:
        # A result with vectors of several lengths is odd, but it was paid for.
        length = survey.lengths.copy().pop() if len(survey.lengths) == 1 else -1
        fields.append(pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), length)))
    fields += [
        pyarrow.field(SOURCE_PREFIX + name, getattr(pyarrow, _arrow_kind(kinds))())
        for name, kinds in survey.kinds.items()
    ]
    return pyarrow.schema(fields)


def _kind(value: object) -> str:
    """What a value needs. A whole number may be exact in a float, or too large for a float, or for any number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if abs(value) <= EXACT_IN_A_FLOAT else "long" if -LARGEST <= value < LARGEST else "text"
    return type(value).__name__


def _arrow_kind(kinds: set[str]) -> str:
    """One type for all values of a column. Text where there is none."""
    if kinds == {"bool"}:
        return "bool_"
    if kinds and kinds <= {"int", "long"}:
        return "int64"
    return "float64" if kinds and kinds <= {"int", "float"} else "string"


def _columns(rows: list[ResultRow], survey: Survey) -> dict[str, list[object]]:
    usages, errors = [row.usage for row in rows], [row.error for row in rows]
    columns: dict[str, list[object]] = {
        "key": [row.key for row in rows],
        "status": [row.status.value for row in rows],
        "text": [row.text for row in rows],
        "finish_reason": [row.finish_reason for row in rows],
        "input_tokens": [usage and _int64(usage.input) for usage in usages],
        "cached_tokens": [usage and _int64(usage.cached) for usage in usages],
        "output_tokens": [usage and _int64(usage.output) for usage in usages],
        "thinking_tokens": [usage and _int64(usage.thinking) for usage in usages],
        "audio_tokens": [usage and _int64(usage.audio) for usage in usages],
        "error_code": [error and _int64(error.code) for error in errors],
        "error_message": [error and error.message for error in errors],
        "response": [None if (response := bytes(row.response)) == b"null" else response for row in rows],
        "note": [row.note for row in rows],
        "vector": [row.vector for row in rows],
        **survey.parsed.columns([row.parsed for row in rows]),
    }
    for name, kinds in survey.kinds.items():
        values = [(row.source or {}).get(name) for row in rows]
        columns[SOURCE_PREFIX + name] = [*map(_as_text, values)] if _arrow_kind(kinds) == "string" else values
    return columns


def _int64(number: int) -> int:
    """A number as a column can hold it. What is beyond is as good as not known."""
    return number if -LARGEST <= number < LARGEST else 0


def _as_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else _encode(value).decode()


def _row(columns: dict[str, Any], parsed: ParsedReader) -> ResultRow:
    status = RowStatus(columns["status"])
    counts = [columns[f"{name}_tokens"] for name in Usage.__struct_fields__]
    kept = {n.removeprefix(SOURCE_PREFIX): v for n, v in columns.items() if n.startswith(SOURCE_PREFIX)}
    response = columns["response"]
    return ResultRow(
        columns["key"],
        status,
        text=columns["text"],
        finish_reason=columns["finish_reason"],
        usage=Usage(*counts) if counts[0] is not None else None,
        error=RowError(columns["error_code"], columns["error_message"])
        if columns["error_code"] is not None
        else None,
        parsed=parsed.value(columns) if status is RowStatus.SUCCESS else None,
        note=columns.get("note"),
        source=kept or None,
        vector=columns.get("vector"),
        response=msgspec.Raw(response.encode()) if response is not None else NULL,
    )
