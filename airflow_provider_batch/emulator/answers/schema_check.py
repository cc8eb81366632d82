"""What the API refuses when a batch is created: rows that do not fit the published schema.

The table of fields is ``schema_fields.json``, derived from the published document (revision
20251218) with the descriptions removed. Arbitrary JSON (schemas, function arguments, metadata) is
not looked into. Unknown fields beside ``key`` and ``request`` are tolerated, as the live API was
reported to do.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from airflow_provider_batch.emulator.answers.texts import prompt_tokens
from airflow_provider_batch.emulator.state.disk import read_json
from airflow_provider_batch.emulator.state.records import Kind
from airflow_provider_batch.emulator.wire.json import Message, camel_case, field, repeated

MAX_REPORTED_LINES = 20
MAX_DIMENSION = 3072

_ROOTS: dict[Kind, str] = {"generate": "GenerateContentRequest", "embed": "EmbedContentRequest"}

# Fields that official clients send and that the dated document does not have yet.
_LATER_FIELDS: dict[str, dict[str, str]] = {
    "GenerateContentBatch": {"webhookConfig": "object"},
    "GenerationConfig": {
        "responseFormat": "any",
        "audioTranscriptionConfig": "any",
        "translationConfig": "any",
    },
    "Part": {"toolCall": "any", "toolResponse": "any", "mediaProcessing": "any", "audioTranscription": "any"},
    "Tool": {"exaAiSearch": "any", "parallelAiSearch": "any"},
    "ToolConfig": {"includeServerSideToolInvocations": "boolean"},
}

_NOT_FINITE = {"NaN", "Infinity", "-Infinity"}
_INT64 = range(-(2**63), 2**63)


class RowError(Exception):
    """Why a row is refused. ``field_name`` locates the place in the line if there is one."""

    def __init__(self, reason: str, field_name: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field_name = field_name


class InputRow(msgspec.Struct, frozen=True):
    """One request of a batch: the user's key if there is one, and the request itself."""

    request: Message
    key: str | None = None
    metadata: Message | None = None


def read_row(line: bytes) -> InputRow:
    """Read one line of an input file. A line without ``request`` is the request itself.

    :raises RowError: the line is not a JSON object, or its key is not a string.
    """
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise RowError(f"invalid JSON: {problem}") from None
    if not isinstance(row, dict):
        raise RowError("invalid JSON: expected an object")
    key = row.get("key")
    if key is not None and not isinstance(key, str):
        raise RowError("invalid value for the string field 'key'", "key")
    if not isinstance(row.get("metadata") or {}, dict):
        raise RowError("field 'metadata' is not an object", "metadata")
    if "request" not in row:
        return InputRow({name: value for name, value in row.items() if name != "key"}, key)
    if not isinstance(row["request"], dict):
        raise RowError("field 'request' is not an object", "request")
    metadata = row.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise RowError("field 'metadata' is not an object", "metadata")
    return InputRow(row["request"], key, metadata)


def check_message(type_name: str, message: Message) -> None:
    """Check a message of a published type: the fields that it has, and their types.

    :raises RowError: an unknown field, or a value of the wrong type.
    """
    fields = _fields()[type_name]
    for name, value in message.items():
        kind = fields.get(name) or fields.get(camel_case(name))
        if kind is None:
            raise RowError(f"no such field: '{name}'", name)
        if value is not None:
            _check_value(kind, name, value)


def check_request(kind: Kind, request: Message) -> None:
    """Check one request against the published schema and the rules between its fields.

    :raises RowError: an unknown field, a value of the wrong type, or a forbidden combination.
    """
    check_message(_ROOTS[kind], request)
    if kind == "embed":
        if not 1 <= int(field(request, "outputDimensionality", MAX_DIMENSION)) <= MAX_DIMENSION:
            raise RowError(f"output_dimensionality must be between 1 and {MAX_DIMENSION}")
        if not _has_parts(field(request, "content")):
            raise RowError("content is not specified")
        return
    contents = repeated(request, "contents")
    if not contents:
        raise RowError("contents is not specified")
    if not all(_has_parts(content) for content in contents):
        raise RowError("contents.parts must not be empty")
    if field(request, "cachedContent") and _excluded_by_cache(request):
        raise RowError(
            "CachedContent can not be used with GenerateContent request setting "
            "system_instruction, tools or tool_config."
        )


class InputFacts(NamedTuple):
    """A whole input: rows (blank lines are none), their tokens, and up to 20 error texts."""

    rows: int
    tokens: int
    errors: list[str]


def check_lines(kind: Kind, lines: Iterable[bytes]) -> InputFacts:
    """Check a whole input, one line at a time."""
    rows = tokens = 0
    errors: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        rows += 1
        try:
            request = read_row(line).request
            check_request(kind, request)
            tokens += sum(prompt_tokens(request))
        except RowError as fault:
            errors.append(f"Error on line {number}: {_located(fault, line)}")
        if len(errors) == MAX_REPORTED_LINES:
            break
    return InputFacts(rows, tokens, errors)


def _located(fault: RowError, line: bytes) -> str:
    if fault.field_name is None:
        return fault.reason
    column = line.find(f'"{fault.field_name}"'.encode()) + 1
    return f"invalid JSON, near column {column}: {fault.reason}"


@functools.cache
def _fields() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = read_json(Path(__file__).with_name("schema_fields.json"))
    return {name: {**fields, **_LATER_FIELDS.get(name, {})} for name, fields in table.items()}


def _check_value(kind: str, name: str, value: object) -> None:
    if kind == "any":
        return
    if kind.startswith("["):
        for item in value if isinstance(value, list) else [value]:
            _check_value(kind[1:-1], name, item)
    elif kind in _SCALARS:
        if not _SCALARS[kind](value):
            raise RowError(f"invalid value for the {kind} field '{name}'", name)
    elif not isinstance(value, dict):
        raise RowError(f"field '{name}' is not an object", name)
    elif kind != "object":
        check_message(kind, value)


def _is_integer(value: object) -> bool:
    """Say whether protobuf JSON takes the value for an int64: numbers may be written as strings."""
    if isinstance(value, str):
        return re.fullmatch(r"-?[0-9]{1,19}", value) is not None and int(value) in _INT64
    if isinstance(value, float):
        return value.is_integer() and int(value) in _INT64
    # Python takes true for a number. JSON does not.
    return isinstance(value, int) and not isinstance(value, bool) and value in _INT64


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        try:
            return value in _NOT_FINITE or math.isfinite(float(value))
        except ValueError:
            return False
    return isinstance(value, int | float) and not isinstance(value, bool)


_SCALARS: dict[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
}


def _has_parts(content: object) -> bool:
    return isinstance(content, dict) and any(repeated(content, "parts"))


def _excluded_by_cache(request: Message) -> bool:
    return any(field(request, name) for name in ("systemInstruction", "tools", "toolConfig"))
