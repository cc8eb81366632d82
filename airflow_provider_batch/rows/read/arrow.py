"""Arrow batches as rows of Python's own values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow


def rows_of(batch: pyarrow.RecordBatch) -> list[dict[str, object]]:
    """The rows of a batch. Maps are dicts, as they are objects in JSON.

    :raises KeyError: A map has one key twice.
    """
    has_maps = any(_has_map(field.type) for field in batch.schema)
    rows: list[dict[str, object]] = batch.to_pylist(maps_as_pydicts="strict") if has_maps else batch.to_pylist()
    return rows


def _has_map(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return types.is_map(kind) or any(_has_map(kind.field(index).type) for index in range(kind.num_fields))
