"""Answers of an output type as typed Arrow columns.

An object becomes a column for each of its properties, ``parsed_<name>``. Any other type becomes one column,
``parsed``. Whole numbers, numbers, booleans, texts, lists and nested objects have their own Arrow types. What has
none (unions, maps, recursion) is JSON text. A whole column becomes JSON text as soon as one value does not fit its
type. So nothing that was paid for is dropped or changed. Dates stay texts, as the model wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_provider_batch.rows.output.schemas import Schema, resolved

if TYPE_CHECKING:
    import pyarrow

COLUMN = "parsed"
PREFIX = "parsed_"
"""What the name of a property's column begins with, so that it cannot meet a column of ours."""

_AS_JSON = {b"airflow_provider_batch": b"json"}
"""Field metadata of a column that holds JSON text."""

LARGEST = 2**63
"""Whole numbers from here on have no Arrow type."""

EXACT_IN_A_FLOAT = 2**53
"""Up to here every whole number is."""

_encode = msgspec.json.Encoder().encode


class ParsedColumns:
    """The columns of answers, by their schema and by what they are.

    :param schema: JSON Schema of the answers, None = there is no output type.
    """

    def __init__(self, schema: Schema | None) -> None:
        root = schema or {}
        node, above = _plain(root, root, ())
        properties = node.get("properties") if _kinds(node) == {"object"} else None
        self._by_name = bool(properties)
        # None stands for JSON text.
        self._types = (
            {name: _arrow_type(part, root, above) for name, part in properties.items()}
            if properties
            else {COLUMN: _arrow_type(root, root, ())}
        )

    def note(self, value: Any) -> None:
        """The first pass: a column whose type does not fit becomes text."""
        if value is None:
            return
        if self._by_name and not (isinstance(value, dict) and value.keys() <= self._types.keys()):
            self._by_name, self._types = False, {COLUMN: None}
        for name, kind in self._types.items():
            if kind is not None and not _fits(value.get(name) if self._by_name else value, kind):
                self._types[name] = None

    def fields(self) -> list[pyarrow.Field]:
        """The columns, after all values were noted."""
        import pyarrow

        return [
            pyarrow.field(self._column(name), pyarrow.string(), metadata=_AS_JSON)
            if kind is None
            else pyarrow.field(self._column(name), kind)
            for name, kind in self._types.items()
        ]

    def columns(self, values: list[Any]) -> dict[str, list[Any]]:
        """The values of rows by column."""
        columns = {}
        for name, kind in self._types.items():
            column = [None if one is None else one.get(name) for one in values] if self._by_name else values
            columns[self._column(name)] = column if kind is not None else [*map(_as_text, column)]
        return columns

    def _column(self, name: str) -> str:
        return PREFIX + name if self._by_name else COLUMN


class ParsedReader:
    """Rows' values from the columns that :class:`ParsedColumns` made.

    :param schema: Of the file.
    """

    def __init__(self, schema: pyarrow.Schema) -> None:
        names = [name for name in schema.names if name == COLUMN or name.startswith(PREFIX)]
        self._names = {name: (schema.field(name).metadata or {}) == _AS_JSON for name in names}

    def value(self, columns: Mapping[str, Any]) -> object:
        """The answer of a row that is a success. A property that it did not have is None."""
        found = {
            name: msgspec.json.decode(columns[name]) if as_json and columns[name] is not None else columns[name]
            for name, as_json in self._names.items()
        }
        if COLUMN in found:
            return found[COLUMN]
        return {name.removeprefix(PREFIX): value for name, value in found.items()}


def _as_text(value: object) -> str | None:
    return None if value is None else _encode(value).decode()


def _arrow_type(node: object, root: Schema, above: tuple[str, ...]) -> pyarrow.DataType | None:
    """The Arrow type of a schema, None if there is none.

    :param above: References that led here.
    """
    import pyarrow

    node, above = _plain(node, root, above)
    kinds = _kinds(node)
    if kinds == {"object"}:
        return _struct(node, root, above)
    if kinds == {"array"}:
        items = _arrow_type(node.get("items"), root, above)
        return None if items is None else pyarrow.list_(items)
    simple = {
        frozenset({"string"}): pyarrow.string(),
        frozenset({"boolean"}): pyarrow.bool_(),
        frozenset({"integer"}): pyarrow.int64(),
        frozenset({"number"}): pyarrow.float64(),
        frozenset({"number", "integer"}): pyarrow.float64(),
    }
    return simple.get(frozenset(kinds))


def _struct(node: Schema, root: Schema, above: tuple[str, ...]) -> pyarrow.DataType | None:
    import pyarrow

    kinds = {name: _arrow_type(part, root, above) for name, part in (node.get("properties") or {}).items()}
    return None if None in kinds.values() or not kinds else pyarrow.struct(list(kinds.items()))


def _plain(node: object, root: Schema, above: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
    """A schema without references and without the choice of being null. Empty if that leads nowhere."""
    while isinstance(node, dict):
        reference = node.get("$ref")
        if isinstance(reference, str):
            if reference in above:
                return {}, above
            node, above = resolved(root, reference), (*above, reference)
            continue
        given = node.get("anyOf") or node.get("oneOf") or []
        choices = [one for one in given if one != {"type": "null"}]
        if len(choices) != 1:
            return ({}, above) if choices else (node, above)
        node = choices[0]
    return {}, above


def _kinds(node: Schema) -> set[str]:
    given = node.get("type")
    kinds = set(given) if isinstance(given, list) else {given} if given else set()
    if not kinds:
        values = node.get("enum", [node["const"]] if "const" in node else [])
        kinds = {"string"} if values and all(isinstance(one, str) for one in values) else set()
    return kinds - {"null"}


def _fits(value: object, kind: pyarrow.DataType) -> bool:
    """The value can be written as the type and read back as it was."""
    from pyarrow import types

    if value is None:
        return True
    if types.is_struct(kind):
        parts = {field.name: field.type for field in kind}
        return (
            isinstance(value, dict)
            and value.keys() <= parts.keys()
            and all(_fits(one, parts[name]) for name, one in value.items())
        )
    if types.is_list(kind):
        return isinstance(value, list) and all(_fits(one, kind.value_type) for one in value)
    if types.is_string(kind):
        return isinstance(value, str)
    if types.is_boolean(kind):
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if types.is_int64(kind):
        return value == int(value) and -LARGEST <= value < LARGEST
    return isinstance(value, float) or abs(value) <= EXACT_IN_A_FLOAT
