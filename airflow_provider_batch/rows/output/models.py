"""Instances of a pydantic model as the values that its JSON Schema describes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo
    from pydantic.json_schema import GenerateJsonSchema

Path = tuple[int | str, ...]


def as_described(instance: BaseModel) -> object:
    """An instance as a value with the names of its model's JSON Schema.

    A model may read a field by one name and write it by another. The schema, which the answers follow, has the
    names of reading.
    """
    value = instance.model_dump(mode="json", by_alias=True, round_trip=True, warnings=False)
    return _renamed(value, instance)


def _renamed(value: object, instance: Any) -> object:
    """What was written, with the names of reading. As it is where a serializer of the user made another shape."""
    if getattr(type(instance), "__pydantic_root_model__", False):
        return _renamed(value, instance.root)
    if isinstance(value, list) and isinstance(instance, list | tuple) and len(value) == len(instance):
        return [_renamed(one, made) for one, made in zip(value, instance, strict=True)]
    if not isinstance(value, dict):
        return value
    fields = getattr(type(instance), "__pydantic_fields__", None)
    if fields is None:
        inside = instance if isinstance(instance, dict) else {}
        return {name: _renamed(one, inside.get(name)) for name, one in value.items()}
    written = {info.serialization_alias or name: (name, info) for name, info in fields.items()}
    made = {}
    for alias, one in value.items():
        if alias in written:
            name, info = written[alias]
            made[_name_in_schema(name, info)] = _renamed(one, getattr(instance, name, None))
        else:
            made[alias] = one
    return made


def _name_in_schema(name: str, info: FieldInfo) -> str:
    """As pydantic's JSON Schema names a field: the first of several names that is not a path."""
    alias = info.validation_alias
    if alias is None or isinstance(alias, str):
        return alias or name
    paths: Sequence[str | int | list[str | int]] = alias.convert_to_aliases()
    # A path by itself is one list, a choice is a list of them.
    for path in paths if paths and isinstance(paths[0], list) else [paths]:
        if isinstance(path, list) and len(path) == 1 and isinstance(path[0], str):
            return path[0]
    return name


def untitled() -> type[GenerateJsonSchema]:
    """What makes the JSON Schema of a model, without titles that only repeat the names of fields."""
    from pydantic.json_schema import GenerateJsonSchema

    class Untitled(GenerateJsonSchema):
        def field_title_should_be_set(self, schema: object) -> bool:
            return False

    return Untitled


def not_finite(value: object, path: Path = ()) -> Path | None:
    """Where a number is that JSON cannot hold, None if there is none."""
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for name, one in inside if (found := not_finite(one, (*path, name))) is not None), None)
