"""A small valid JSON value for a response schema, of either dialect.

``responseSchema`` is OpenAPI-like (``"type": "OBJECT"``, ``nullable``, limits as strings),
``responseJsonSchema`` is JSON Schema (``$ref``, ``$defs``, ``type`` lists). Patterns are not
honoured: a string field gets the given text, cut or padded to its length limits.
"""

from __future__ import annotations

from airflow_provider_batch.emulator.wire.json import Message

# A schema that refers to itself ends here: deeper optional parts are left out.
_MAX_DEPTH = 12


def instance_of(schema: object, text: str) -> object:
    """Build a value that the schema accepts.

    :param schema: the schema as the request carried it.
    :param text: what string fields say, so that a reader sees which prompt was answered.
    """
    return _build(schema, schema, text, 0)


def _build(schema: object, root: object, text: str, depth: int) -> object:
    if not isinstance(schema, dict):
        return text
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for branches in ("anyOf", "any_of", "oneOf"):
        if schema.get(branches):
            return _build(schema[branches][0], root, text, depth + 1)
    kind = _kind(schema)
    if kind == "object":
        return _object(schema, root, text, depth)
    if kind == "array":
        return _array(schema, root, text, depth)
    return _scalar(kind, schema, text)


def _resolved(schema: Message, root: object) -> Message:
    for _ in range(_MAX_DEPTH):
        if "$ref" in schema:
            schema = {**_follow(root, schema["$ref"]), **_without(schema, "$ref")}
        elif schema.get("allOf"):
            merged: Message = {}
            for part in schema["allOf"]:
                merged.update(part)
            schema = {**merged, **_without(schema, "allOf")}
        else:
            break
    return schema


def _without(schema: Message, name: str) -> Message:
    return {key: value for key, value in schema.items() if key != name}


def _follow(root: object, reference: str) -> Message:
    target = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            target = target.get(step, {}) if isinstance(target, dict) else {}
    return target if isinstance(target, dict) else {}


def _kind(schema: Message) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if str(name).lower() != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind).lower()


def _object(schema: Message, root: object, text: str, depth: int) -> Message:
    properties = schema.get("properties") or {}
    required = set(schema.get("required") or ())
    order = schema.get("propertyOrdering") or schema.get("property_ordering") or list(properties)
    names = [name for name in order if name in properties]
    names += [name for name in properties if name not in names]
    return {
        name: _build(properties[name], root, text, depth + 1)
        for name in names
        if name in required or depth < _MAX_DEPTH // 3
    }


def _array(schema: Message, root: object, text: str, depth: int) -> list[object]:
    least = _limit(schema, "minItems", 0)
    most = _limit(schema, "maxItems", None)
    wanted = least or (1 if depth < _MAX_DEPTH // 3 else 0)
    length = wanted if most is None else min(wanted, most)
    prefix = schema.get("prefixItems") or []
    items = schema.get("items", {})
    length = max(length, len(prefix))
    return [
        _build(prefix[index] if index < len(prefix) else items, root, text, depth + 1) for index in range(length)
    ]


def _scalar(kind: str, schema: Message, text: str) -> object:
    if kind == "null":
        return None
    if kind == "boolean":
        return True
    if kind in {"integer", "number"}:
        return _number(kind, schema)
    return _string(schema, text)


def _number(kind: str, schema: Message) -> int | float:
    step = 1 if kind == "integer" else 0.5
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and schema.get("exclusiveMinimum") is not None:
        low = schema["exclusiveMinimum"] + step
    if high is None and schema.get("exclusiveMaximum") is not None:
        high = schema["exclusiveMaximum"] - step
    value = 1 if low is None else max(low, 1)
    value = value if high is None else min(value, high)
    multiple = schema.get("multipleOf")
    if multiple:
        value = -(-value // multiple) * multiple
    return int(value) if kind == "integer" else float(value)


_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "user@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}


def _string(schema: Message, text: str) -> str:
    known = _FORMATS.get(str(schema.get("format")))
    if known is not None:
        return known
    longest = _limit(schema, "maxLength", None)
    shortest = _limit(schema, "minLength", 0) or 0
    return text[:longest].ljust(shortest, ".")


def _limit(schema: Message, name: str, default: int | None) -> int | None:
    snake = {
        "minItems": "min_items",
        "maxItems": "max_items",
        "minLength": "min_length",
        "maxLength": "max_length",
    }
    value = schema.get(name, schema.get(snake[name]))
    return default if value is None else int(value)
